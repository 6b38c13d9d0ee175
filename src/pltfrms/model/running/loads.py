"""What a service has to do, as its spec says and as was measured, and what a replica can do."""

from dataclasses import dataclass
from enum import StrEnum


class LoadKind(StrEnum):
    """What is counted."""

    REQUESTS = "requests"
    """By the second; where they are measured, TCP connections stand for them."""
    CPU = "cpu"
    """Thousandths of a core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLoad:
    """One thing that all replicas of a service have to do together."""

    service: str
    kind: LoadKind
    each: int
    """What one replica can do."""
    declared: int | None = None
    """None: the spec does not say it."""
    measured: int | None = None
    """The sum of the peaks of its instances; None: not known."""
    hours: int = 0
    """Since so many hours at most each of them was measured; 0: not known."""
    unknown: str = ""
    """Why it is not known what was measured."""
    batch: bool = False
    """It is what instances take, and would take of anything: fewer of them do it as well."""

    @property
    def used(self) -> int | None:
        """What is reckoned with: the larger of what is known; None: nothing is."""
        known = [each for each in (self.declared, self.measured) if each is not None]
        return max(known, default=None)

    @property
    def words(self) -> str:
        """What is reckoned with, where it comes from, and what stands beside it."""
        if self.used is None:
            return f"{self.kind}: not known ({self.unknown})"
        measured = f"measured in {self.hours} h"
        if self.batch:
            return f"{self.amount(self.used)} ({measured}; batch: uses all that it may)"
        if self.declared is None:
            return f"{self.amount(self.used)} ({measured})"
        if self.measured is None:
            return f"{self.amount(self.used)} (declared; measured: not known)"
        if self.measured > self.declared:
            return f"{self.amount(self.used)} ({measured}; declared: {self.declared})"
        return f"{self.amount(self.used)} (declared; {measured}: {self.measured})"

    def amount(self, number: int) -> str:
        """Return a number with its unit."""
        if self.kind is LoadKind.CPU:
            return f"{number / 1000:g} cores"
        return f"{number} requests/s"

    def missing(self, left: int) -> int:
        """Return how much of it so many replicas cannot do; 0 also if nobody can say it."""
        return 0 if self.batch else max(0, (self.used or 0) - left * self.each)

    def shortfall(self, left: int) -> str:
        """Say how much of it so many replicas cannot do; empty: nothing, or it is not known."""
        if not self.missing(left):
            return ""
        can = left * self.each
        if self.kind is LoadKind.CPU:
            return f"the {left} replicas left are promised {can / 1000:g} of {self.words}"
        return f"the {left} replicas left answer {can} of {self.words}"
