"""Who can serve, by service, as routes tell; and for how long we believe it without them."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from ipaddress import IPv6Address
from typing import Final

from pltfrms.model.running.balancer import Candidate, CandidateState
from pltfrms.planner.balancing.balancing import candidate_of, service_id_of

GONE_SECONDS: Final = 0.010
"""BIRD changes an IPv6 route by deleting and adding it: only what stays away is gone. So long
it drains: nothing new is sent there, and it keeps the flows that it may still have."""
RECENT_SECONDS: Final = 5.0
"""Who was seen so long before we were cut off is remembered."""


class Candidates:
    """What routes have told. Times are in monotonic seconds."""

    def __init__(self) -> None:
        """Know of nobody."""
        self._found: dict[int, dict[IPv6Address, Candidate]] = {}
        """By service."""
        self._leaving: dict[IPv6Address, float] = {}
        """Who has no route now, and when we believe it; the first one first."""
        self._left: dict[IPv6Address, tuple[Candidate, float]] = {}
        """Who has gone lately, and when."""
        self._kept: dict[int, tuple[Candidate, ...]] = {}
        """Those that are believed in because we cannot know, by service."""
        self._changed: set[int] = set()

    @property
    def keeps(self) -> int:
        """How many are believed in without a route."""
        return sum(map(len, self._kept.values()))

    def take_changed(self) -> set[int]:
        """Return the services that have changed since this was asked last."""
        changed, self._changed = self._changed, set()
        return changed

    def services(self) -> set[int]:
        """Return those that have candidates."""
        return {*self._found, *self._kept}

    def hear(self, news: Mapping[IPv6Address, Collection[int]], now: float) -> None:
        """Learn which metrics the routes to these addresses have."""
        for address, metrics in news.items():
            number = service_id_of(address)
            one = candidate_of(address, metrics)
            known = self._found.get(number, {}).get(address)
            if one is not None:
                was_leaving = self._leaving.pop(address, None) is not None
                if one == known and not was_leaving:
                    continue
                self._found.setdefault(number, {})[address] = one
            elif known is not None:
                self._leaving.setdefault(address, now + GONE_SECONDS)
            self._changed.add(number)

    @property
    def due(self) -> float | None:
        """When the next one will have gone, if nothing else is told."""
        return next(iter(self._leaving.values()), None)

    def expire(self, now: float) -> None:
        """Believe that those have gone who stayed away."""
        for address, due in list(self._leaving.items()):
            if due > now:
                return
            del self._leaving[address]
            number = service_id_of(address)
            self._left[address] = (self._found[number].pop(address), now)
            if not self._found[number]:
                del self._found[number]
            self._changed.add(number)

    def of(self, number: int) -> tuple[Candidate, ...]:
        """Return the candidates of a service, sorted by address."""
        some = {one.address: one for one in self._kept.get(number, ())}
        for address, one in self._found.get(number, {}).items():
            gone = address in self._leaving
            some[address] = replace(one, state=CandidateState.DRAINING) if gone else one
        return tuple(sorted(some.values()))

    def are_all_in(self, own: Collection[IPv6Address]) -> bool:
        """Return whether there is nobody but these."""
        return all(address in own for some in self._found.values() for address in some)

    def keep(self, now: float, own: Collection[IPv6Address] | None = None) -> bool:
        """Believe in those that are or were here lately; return whether there are any.

        With `own`, these serve here, and nothing new is sent to the others.
        """
        if not self._kept:
            recent = [one for one, at in self._left.values() if at >= now - RECENT_SECONDS]
            every = {one.address: one for one in recent}
            every |= {a: one for some in self._found.values() for a, one in some.items()}
            if own is not None:
                others = [one for address, one in every.items() if address not in own]
                draining = [replace(one, state=CandidateState.DRAINING) for one in others]
                every = {one.address: one for one in draining}
            for one in every.values():
                number = service_id_of(one.address)
                self._kept[number] = (*self._kept.get(number, ()), one)
            self._changed |= self._kept.keys()
        return bool(self._kept)

    def release(self) -> None:
        """Believe in nobody any more who has no route."""
        self._changed |= self._kept.keys()
        self._kept = {}

    def forget_old(self, now: float) -> None:
        """Forget who has gone too long ago to matter."""
        old = [a for a, (_, at) in self._left.items() if at < now - RECENT_SECONDS]
        for address in old:
            del self._left[address]
