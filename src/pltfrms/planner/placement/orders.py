"""Which runs of jobs nodes are told of."""

from collections.abc import Mapping

from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.jobs import OVER, RunOrder


def orders_of(snapshot: Snapshot) -> Mapping[str, tuple[RunOrder, ...]]:
    """Return the runs that each node has, sorted; none that is over is among them."""
    found: dict[str, tuple[RunOrder, ...]] = {}
    for _, run in sorted(snapshot.runs.items()):
        if run.node and run.state not in OVER:
            order = RunOrder(run=run, stop=bool(run.stop_by))
            found[run.node] = (*found.get(run.node, ()), order)
    return found
