"""How many copies may begin at once because of what is planned, and not of what failed. Pure.

Guard `move_pace`: of a datacenter a tenth of the replicas, or eight if that is more, begin at
a time because their node is drained, another version comes, or they are spread. Many services
that change at the same moment, or a node that comes back to all of them, are so a sequence that
can be watched and stopped, and no burst of starts. What is lost is replaced, and what goes back
does so, without waiting for it. A copy counts until it was ready or has failed once, and only
on a node that is in contact: what does not come up, or cannot say so, holds nothing up.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Final

from pltfrms.model.running.plan import Allocation, Place, Reason
from pltfrms.model.running.state import Phase, Snapshot
from pltfrms.planner.placement.drafting.draft import Draft

PLANNED: Final = frozenset({Reason.NEW_VERSION, Reason.NODE_DRAINED, Reason.SPREAD})
AT_ONCE: Final = 8
ONE_OF: Final = 10
"""Of so many replicas one may begin at a time, where that is more than `AT_ONCE`."""


class Pace:
    """What begins at once, in each datacenter, as steps are added to a plan."""

    def __init__(self, draft: Draft) -> None:
        """Count nothing before somebody asks: mostly nothing is planned."""
        self._draft = draft
        self._counted = 0
        """Steps of the draft that are in what has begun."""
        self._noted = set[str]()

    @cached_property
    def _recorded(self) -> Counter[str]:
        return Counter(each.datacenter for each in self._draft.snapshot.allocations.values())

    @cached_property
    def _begun(self) -> Counter[str]:
        beginning = filter(self._draft.is_present, _beginning(self._draft.snapshot))
        return Counter(each.datacenter for each in beginning)

    def allows(self, datacenter: str) -> bool:
        """Return whether one more may begin there now; else that is noted."""
        for step in self._draft.steps[self._counted :]:
            if isinstance(step, Place) and step.reason in PLANNED:
                self._begun[step.allocation.datacenter] += 1
        self._counted = len(self._draft.steps)
        begun, most = self._begun[datacenter], most_at_once(self._recorded[datacenter])
        if begun < most:
            return True
        if datacenter not in self._noted:
            self._noted.add(datacenter)
            self._draft.note(datacenter, Reason.PACED, f"{begun} begin, {most} may at once")
        return False


def most_at_once(replicas: int) -> int:
    """Return how many of so many may begin at a time."""
    return max(AT_ONCE, replicas // ONE_OF)


def _beginning(snapshot: Snapshot) -> Iterator[Allocation]:
    """Yield what is to take another copy's place, was not ready yet, and has not failed."""
    for each in snapshot.allocations.values():
        if each.reason in PLANNED and each.replaces in snapshot.allocations:
            said = snapshot.instance(each.id)
            if said is None or (said.phase is Phase.STARTING and not said.restarts):
                yield each
