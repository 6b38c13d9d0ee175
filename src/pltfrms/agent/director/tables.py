"""The tables that this agent has put, and those that it could not."""

from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from typing import Final

import structlog

from pltfrms.drivers.balancer.ports import Balancer
from pltfrms.drivers.ports import Clock
from pltfrms.errors import UnavailableError
from pltfrms.model.running.balancer import (
    BalancedService,
    BalancerCounts,
    Candidate,
    InstanceCounts,
    ServiceCounts,
    TableView,
)
from pltfrms.planner.balancing.rendezvous import Ranking, make_table, shares, with_guests

RETRY_SECONDS: Final = 30.0
RANKINGS_BYTES: Final = 64 << 20
"""Of rankings we keep so much, 96 KiB for a service of six: who goes is taken out of one in
0.2 ms. Without it, a new one takes 2 ms. Tables themselves are in the kernel alone."""
_NAMED: Final = 3
"""Services in one sentence; of more it says how many."""

_log = structlog.get_logger()
Wanted = tuple[BalancedService, tuple[Candidate, ...], tuple[IPv6Address, ...]]
"""Whose table, who of this datacenter is in it, and who of others may be asked after them."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A table that could not be made; its service is left to the kernel's routes."""

    wanted: Wanted
    why: str
    again_at: float


class PutTables:
    """What the kernel has been told to do with packets to each service."""

    def __init__(self, balancer: Balancer, clock: Clock) -> None:
        """Know of no table, whatever the kernel has."""
        self._balancer = balancer
        self._clock = clock
        self._known: dict[int, Wanted] = {}
        self._shares: dict[int, tuple[float, ...]] = {}
        self._refused: dict[int, _Refusal] = {}
        self._rankings: dict[int, Ranking] = {}
        """The last one used is the last."""
        self._ranked_bytes = 0

    def forget_all(self) -> None:
        """Know of no table any more."""
        self._known, self._shares, self._refused = {}, {}, {}

    def strays(self) -> set[int]:
        """Return the services whose tables in the kernel are not from us."""
        return set(self._balancer.installed() - self._known.keys())

    def is_new(self, number: int, wanted: Wanted) -> bool:
        """Return whether somebody is in it who was not: all else is quick, and urgent."""
        _, some, guests = wanted
        _, before, guests_before = self._known.get(number, (None, (), ()))
        if guests and guests != guests_before:
            return True
        return not _members(some) <= _members(before)

    def needs(self, number: int, wanted: Wanted) -> bool:
        """Return whether this is to be put now."""
        if wanted == self._known.get(number):
            return False
        refusal = self._refused.get(number)
        now = self._clock.monotonic()
        return refusal is None or refusal.wanted != wanted or now >= refusal.again_at

    def due(self) -> set[int]:
        """Return the services that were refused and are to be tried again."""
        if not self._refused:
            return set()
        now = self._clock.monotonic()
        return {number for number, each in self._refused.items() if now >= each.again_at}

    def put(self, number: int, wanted: Wanted) -> None:
        """Make a table; a service that cannot have one is left to the kernel's routes.

        It must not take the others along, which go stale if this does not come to its end.

        Raises:
            UnavailableError: the table that was there cannot be taken away, either.
        """
        try:
            self._put(number, wanted)
        except Exception as error:  # noqa: BLE001 - as in Problems.watch: also a bug of ours
            if not isinstance(error, UnavailableError):
                _log.error("table not made", service=wanted[0].name, exc_info=True)
            self.forget(number)  # rather no table than one that is not right any more
            again_at = self._clock.monotonic() + RETRY_SECONDS
            why = str(error) or type(error).__name__
            self._refused[number] = _Refusal(wanted, why, again_at)
        else:
            self._refused.pop(number, None)

    def forget(self, number: int) -> None:
        """Leave a service to the kernel's routes; who was refused may have room now.

        Raises:
            UnavailableError: the kernel does not let us.
        """
        self._balancer.remove(number)
        self._keep_ranking(number, None)
        self._shares.pop(number, None)
        self._refused.pop(number, None)
        before = self._known.pop(number, None)
        if before is not None:
            now = self._clock.monotonic()
            self._refused = {n: replace(r, again_at=now) for n, r in self._refused.items()}
            _log.info("table removed", service=before[0].name)

    @property
    def refusals(self) -> str:
        """Say which services have no table, and why; `` if all have theirs."""
        if not self._refused:
            return ""
        every = [self._refused[number] for number in sorted(self._refused)]
        names = ", ".join(each.wanted[0].name for each in every[:_NAMED])
        more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
        return f"{names}{more}: left to the kernel's routes, as {every[0].why}"

    def views(self, counts: BalancerCounts) -> tuple[TableView, ...]:
        """Return all tables, to look at."""
        return tuple(
            TableView(
                service=service,
                candidates=some,
                shares=self._shares[number],
                counts=counts.services.get(number, ServiceCounts()),
                instance_counts=tuple(
                    counts.instances.get(str(each.address), InstanceCounts()) for each in some
                ),
            )
            for number, (service, some, _) in sorted(self._known.items())
        )

    def _put(self, number: int, wanted: Wanted) -> None:
        service, some, guests = wanted
        table, ranking = make_table(service, some, self._rankings.get(number))
        self._balancer.put(with_guests(table, guests))
        before = self._known.get(number, (service, (), ()))[1]
        self._keep_ranking(number, ranking)
        self._shares[number] = shares(table)
        self._known[number] = wanted
        # Said in the log alone: every machine does the same, and routes are the news.
        _log.info("table changed", service=service.name, change=_difference(before, some))

    def _keep_ranking(self, number: int, ranking: Ranking | None) -> None:
        before = self._rankings.pop(number, None)
        self._ranked_bytes -= len(before.order) if before else 0
        if ranking is None:
            return
        self._rankings[number] = ranking
        self._ranked_bytes += len(ranking.order)
        while self._ranked_bytes > RANKINGS_BYTES:
            oldest = self._rankings.pop(next(iter(self._rankings)))
            self._ranked_bytes -= len(oldest.order)


def _members(some: tuple[Candidate, ...]) -> set[tuple[IPv6Address, int]]:
    return {(each.address, each.weight) for each in some}


def _difference(before: tuple[Candidate, ...], after: tuple[Candidate, ...]) -> str:
    old, new = ({each.address: each for each in some} for some in (before, after))
    words = [f"+{address}" for address in sorted(new.keys() - old.keys())]
    words += [f"-{address}" for address in sorted(old.keys() - new.keys())]
    words += [
        f"{address} {new[address].state.name.lower()} weight {new[address].weight}"
        for address in sorted(old.keys() & new.keys())
        if old[address] != new[address]
    ]
    return ", ".join(words)
