"""The target of a machine, of a snapshot alone."""

from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import Snapshot
from pltfrms.planner.placement.target import Makings


def make_target(snapshot: Snapshot, machine: str) -> Target:
    """Return what a machine is to be made, at the snapshot's own time."""
    return Makings(snapshot, snapshot.revision).target(machine, snapshot.now_ms)
