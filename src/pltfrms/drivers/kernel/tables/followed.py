"""What is known of the host routes of a table: told by the kernel, and checked. Pure.

Shared by the kernel's driver and its twin in memory, so that both believe the same. The kernel
tells of a route with all of its hops when one comes, and of the hops that go when one goes.
"""

from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv6Address
from typing import NamedTuple

Key = tuple[bytes, int]
"""Address and metric."""


class HostRoute(NamedTuple):
    """A kernel route to a single IPv6 address."""

    address: bytes
    metric: int
    hops: frozenset[bytes]
    """Where it leads, in any form that two equal hops share; empty: `unreachable`."""


class RouteBook:
    """The host routes of one table."""

    def __init__(self) -> None:
        """Know of none."""
        self._routes: dict[bytes, dict[int, frozenset[bytes]]] = {}
        """Hops, by address and metric."""
        self._count = 0
        self._news: dict[bytes, None] = {}
        self._touched: set[bytes] = set()
        """Told of since `begin_audit`."""
        self.told = 0
        """How often something was told, or lost."""
        self.unsure = False
        """Whether something was told that only a look at the table can explain."""

    def put(self, route: HostRoute) -> None:
        """Hear that a route is there, with all of its hops."""
        self._touch(route.address)
        self._put(route)

    def delete(self, route: HostRoute) -> None:
        """Hear that these hops of a route are gone; mostly they are all it has."""
        self._touch(route.address)
        hops = self._routes.get(route.address, {}).get(route.metric)
        if hops is None:
            return
        if hops - route.hops:
            self.unsure = True
        else:
            self._delete(route.address, route.metric)

    def lose(self) -> None:
        """Hear that something was told that nobody has heard."""
        self.told += 1
        self.unsure = True

    def begin_audit(self) -> None:
        """Be sure again, and note from now on what is told."""
        self.unsure = False
        self._touched.clear()

    def differs(self, route: HostRoute) -> bool:
        """Return whether nobody has told of this route of the table."""
        return self._routes.get(route.address, {}).get(route.metric) != route.hops

    def settle(self, found: Collection[Key], differing: Iterable[HostRoute]) -> None:
        """Believe that the table has exactly these routes, but for what was told meanwhile.

        Of `differing`, which are among them, that they are as they were found. Costs nothing
        if all is as it was told.
        """
        for route in differing:
            if self.differs(route) and route.address not in self._touched:
                self._put(route)
        if self._count == len(found):
            return
        gone = [
            (address, metric)
            for address, metrics in self._routes.items()
            for metric in metrics
            if (address, metric) not in found and address not in self._touched
        ]
        for address, metric in gone:
            self._delete(address, metric)

    def news(self) -> Mapping[IPv6Address, tuple[int, ...]]:
        """Return the metrics of each address whose metrics may have changed since last time."""
        news, self._news = self._news, {}
        return {IPv6Address(each): tuple(self._routes.get(each, ())) for each in news}

    def _touch(self, address: bytes) -> None:
        self.told += 1
        self._touched.add(address)

    def _put(self, route: HostRoute) -> None:
        metrics = self._routes.setdefault(route.address, {})
        self._count += route.metric not in metrics
        metrics[route.metric] = route.hops
        self._news[route.address] = None

    def _delete(self, address: bytes, metric: int) -> None:
        metrics = self._routes[address]
        del metrics[metric]
        self._count -= 1
        if not metrics:
            del self._routes[address]
        self._news[address] = None
