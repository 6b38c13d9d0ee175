"""Which runs a node is told of."""

from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.jobs import OVER, RunOrder


def orders_of(snapshot: Snapshot, node: str) -> tuple[RunOrder, ...]:
    """Return the runs that a node has, sorted; those that are over are no more among them."""
    return tuple(
        RunOrder(run=run, stop=bool(run.stop_by))
        for _, run in sorted(snapshot.runs.items())
        if run.node == node and run.state not in OVER
    )
