"""Instances of other datacenters whose flows still come here, as clients move in a drain."""

from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Final

from pltfrms.model.running.plan import Target
from pltfrms.planner.balancing.balancing import service_id_of

GUESTS_SECONDS: Final = 60.0
"""After the end of a drain, connections that come back are still brought to where they were."""


class Guests:
    """Those that are wanted now, or were until lately."""

    def __init__(self) -> None:
        """Know of nobody."""
        self.all: tuple[IPv6Address, ...] = ()
        self._until = 0.0
        """Monotonic seconds."""
        self._of: Mapping[int, tuple[IPv6Address, ...]] = {}
        """By service."""

    def of(self, number: int) -> tuple[IPv6Address, ...]:
        """Return the guests of a service."""
        return self._of.get(number, ())

    def see(self, target: Target | None, now: float, unix_ms: int) -> set[int]:
        """Take those of a target, at a monotonic time; return the services that have changed.

        To be asked always: no new target says that a drain has ended by itself.
        """
        moving = target and target.interventions.moves_clients(unix_ms)
        guests = self.all if now < self._until else ()
        if target and target.guests and moving:
            guests, self._until = target.guests, now + GUESTS_SECONDS
        if guests == self.all:
            return set()
        self.all, before = guests, self._of
        found: dict[int, tuple[IPv6Address, ...]] = {}
        for address in guests:
            number = service_id_of(address)
            found[number] = (*found.get(number, ()), address)
        self._of = found
        numbers = found.keys() | before.keys()
        return {n for n in numbers if found.get(n) != before.get(n)}
