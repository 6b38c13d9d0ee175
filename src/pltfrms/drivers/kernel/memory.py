"""The twin of the kernel's network in memory, for tests and simulation."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

from pltfrms.drivers.kernel.devices import here_end
from pltfrms.drivers.kernel.tables.followed import HostRoute, RouteBook
from pltfrms.drivers.kernel.tables.routes import OUR_PROTOS, compare, describe, normal
from pltfrms.errors import UnavailableError
from pltfrms.model.addresses import Address, Interface
from pltfrms.model.network.ports import SeenPort
from pltfrms.model.running.machine import DeviceState, NetworkState, Route, Rule

_MTU = 1500
_IPV6 = 6
_MAIN = 254


class MemoryNetwork:
    """`ports.Network` without a kernel. Methods after `close` are the world's, not ours."""

    def __init__(self, devices: Iterable[str] = (), sysctls: Iterable[str] = ()) -> None:
        """Start with these devices (down) and these sysctl paths (empty)."""
        self.addresses: dict[str, set[Interface]] = {name: set() for name in devices}
        """By device."""
        self.up: set[str] = set()
        self.mtus: dict[str, int] = {}
        """Only what somebody set; others are 1500."""
        self.instances: dict[str, int] = {}
        """Process at the far end, by device."""
        self.rules: set[Rule] = set()
        self.sysctls: dict[str, str] = dict.fromkeys(sysctls, "")
        self._routes: set[Route] = set()
        self._listeners: dict[asyncio.Event, int] = {}
        """Which table each listens to; 0: to everything."""
        self._followers: set[MemoryHostRoutes] = set()
        self.deaf = False
        """Whether followers are told of nothing, and do not know."""
        self.silence = ""
        """Why an audit gets no answer; `` if it does."""

    async def apply_state(self, state: NetworkState) -> tuple[str, ...]:
        """See `ports.Network`."""
        sentences = [self._set_sysctl(path, value) for path, value in state.sysctls]
        for device in state.devices:
            sentences += self._apply_device(device)
        sentences += self._apply_rules(set(state.rules))
        return self._told(sentence for sentence in sentences if sentence)

    async def ports(self) -> tuple[SeenPort, ...]:
        """See `ports.PortReader`; nothing has a kind, and nobody else manages it."""
        return tuple(
            SeenPort(
                name=name,
                up=name in self.up,
                carrier=name in self.up,
                mtu=self.mtus.get(name, _MTU),
                addresses=tuple(sorted(addresses, key=str)),
            )
            for name, addresses in self.addresses.items()
        )

    async def apply_routes(
        self, tables: Sequence[int], routes: Sequence[Route]
    ) -> tuple[str, ...]:
        """See `ports.Network`."""
        have = {
            route
            for route in self._routes
            if route.table in tables and route.proto in OUR_PROTOS
        }
        changes = compare(have, routes, self._why_unusable)
        for route in changes.put:
            self._put(route)
        for route in changes.delete:
            self._delete(route)
        return (
            *changes.missing,
            *(f"put {describe(route)}" for route in changes.put),
            *(f"deleted {describe(route)}" for route in changes.delete),
        )

    async def routes(self, table: int) -> tuple[Route, ...]:
        """See `ports.Network`."""
        found = (route for route in self._routes if route.table == table)
        return tuple(sorted(found, key=describe))

    async def leading(self, address: Address) -> Route | None:
        """See `ports.Network`: by table 254 alone."""
        fits = [
            route for route in self._routes if route.table == _MAIN and address in route.prefix
        ]
        if not fits:
            return None
        best = max(fits, key=lambda route: (route.prefix.prefixlen, -route.metric))
        usable = any(not self._why_unusable(hop.device) for hop in best.nexthops)
        return best if usable else None

    async def attach_instance(self, device: str, pid: int) -> None:
        """See `ports.Network`."""
        self.remove_device(device)
        self.addresses[device] = set()
        self.up.add(device)
        self.instances[device] = pid
        self._tell()

    async def attach_here(self, device: str, addresses: Sequence[Interface]) -> None:
        """See `ports.Network`."""
        await self.detach_instance(device)
        far_end = here_end(device)
        self.addresses |= {device: set(), far_end: set(addresses)}
        self.up |= {device, far_end}
        self._tell()

    async def detach_instance(self, device: str) -> None:
        """See `ports.Network`."""
        for each in (device, here_end(device)):
            self.remove_device(each)

    def changes(self) -> AsyncIterator[None]:
        """See `ports.Network`."""
        return self._listen(0)

    def table_changes(self, table: int) -> AsyncIterator[None]:
        """See `ports.Network`."""
        return self._listen(table)

    def follow(self, table: int) -> "MemoryHostRoutes":
        """See `ports.Network`."""
        follower = MemoryHostRoutes(self, table)
        self._followers.add(follower)
        return follower

    def forget(self, follower: "MemoryHostRoutes") -> None:
        """Tell a follower nothing any more."""
        self._followers.discard(follower)

    async def close(self) -> None:
        """Release nothing: what was made stays, as in the kernel."""

    # ---- what the world does ---------------------------------------------------------------

    def add_device(self, device: str) -> None:
        """Plug in a device; it has a carrier, and is down."""
        self.addresses.setdefault(device, set())
        self._tell()

    def remove_device(self, device: str) -> None:
        """Unplug a device, or end the instance behind it; what used it goes with it.

        As in the kernel, an IPv4 route with several nexthops goes with the first of them.
        """
        if device not in self.addresses:
            return
        del self.addresses[device]
        self.mtus.pop(device, None)
        self.up.discard(device)
        self.instances.pop(device, None)
        gone = [r for r in self._routes if device in {h.device for h in r.nexthops}]
        for route in gone:
            hops = tuple(hop for hop in route.nexthops if hop.device == device)
            rest = tuple(hop for hop in route.nexthops if hop.device != device)
            self._delete(route, normal(replace(route, nexthops=hops)))
            if rest and route.prefix.version == _IPV6:
                self._routes.add(normal(replace(route, nexthops=rest)))
        self._tell()

    def set_route(self, route: Route) -> None:
        """Let somebody else put a route."""
        self._put(normal(route))

    def delete_route(self, route: Route) -> None:
        """Let somebody else delete a route."""
        self._delete(normal(route))

    def overrun(self) -> None:
        """Let followers lose what they have not heard yet, and know that they have."""
        for follower in self._followers:
            follower.lose()

    # ---- inside ----------------------------------------------------------------------------

    def _put(self, route: Route) -> None:
        key = (route.table, route.prefix, route.metric)
        self._routes = {r for r in self._routes if (r.table, r.prefix, r.metric) != key}
        self._routes.add(route)
        self._tell(route.table if route.prefix.version == _IPV6 else 0)
        for follower in self._told_of(route):
            follower.hear(route, there=True)

    def _delete(self, route: Route, told: Route | None = None) -> None:
        """Delete a route; `told` of it is what goes, if that is not all."""
        if route in self._routes:
            self._routes.discard(route)
            self._tell(route.table if route.prefix.version == _IPV6 else 0)
            for follower in self._told_of(route):
                follower.hear(told or route, there=False)

    def _told_of(self, route: Route) -> Iterable["MemoryHostRoutes"]:
        return () if self.deaf else [f for f in self._followers if f.table == route.table]

    def _why_unusable(self, device: str) -> str:
        if device not in self.addresses:
            return "no such device"
        return "" if device in self.up else "down"

    def _apply_device(self, device: DeviceState) -> list[str]:
        if device.name not in self.addresses:
            return [f"missing device {device.name}"]
        have = self.addresses[device.name]
        sentences = [
            f"added {address} to {device.name}"
            for address in device.addresses
            if address not in have
        ]
        have.update(device.addresses)
        if device.mtu and device.mtu != self.mtus.get(device.name, _MTU):
            self.mtus[device.name] = device.mtu
            sentences.append(f"{device.name} has MTU {device.mtu} now")
        if device.name not in self.up:
            self.up.add(device.name)
            sentences.append(f"{device.name} up")
        return sentences

    def _apply_rules(self, wanted: set[Rule]) -> list[str]:
        sentences: list[str] = []
        for preference in sorted({rule.preference for rule in wanted}):
            here = {rule for rule in self.rules if rule.preference == preference}
            ours = {rule for rule in wanted if rule.preference == preference}
            self.rules = (self.rules - here) | ours
            tables = sorted(rule.table for rule in ours - here)
            for version in (4, 6):
                foreign = f"deleted a foreign IPv{version} rule of preference {preference}"
                sentences += [foreign] * len(here - ours)
                sentences += [
                    f"added IPv{version} rule {preference} lookup {table}" for table in tables
                ]
        return sentences

    def _set_sysctl(self, path: str, value: str) -> str:
        if path not in self.sysctls:
            return f"missing sysctl {path}: this kernel or machine does not have it"
        if self.sysctls[path].split() == value.split():
            return ""
        self.sysctls[path] = value
        return f"set sysctl {path} = {value}"

    def _told(self, sentences: Iterable[str]) -> tuple[str, ...]:
        done = tuple(sentences)
        if any(not sentence.startswith("missing") for sentence in done):
            self._tell()
        return done

    def _tell(self, table: int = 0) -> None:
        """Wake those who listen to everything, or to a table whose IPv6 routes changed."""
        for listener, listened in self._listeners.items():
            if listened in {0, table}:
                listener.set()

    def _listen(self, table: int) -> AsyncIterator[None]:
        listener = asyncio.Event()
        self._listeners[listener] = table
        return self._hints(listener)

    async def _hints(self, listener: asyncio.Event) -> AsyncIterator[None]:
        try:
            while True:
                await listener.wait()
                listener.clear()
                yield
        finally:
            del self._listeners[listener]


class MemoryHostRoutes:
    """`ports.HostRoutes` of a `MemoryNetwork`."""

    def __init__(self, network: MemoryNetwork, table: int) -> None:
        """Know of no route."""
        self.table = table
        self._network = network
        self._book = RouteBook()
        self._heard = asyncio.Event()

    @property
    def unsure(self) -> bool:
        """See `ports.HostRoutes`."""
        return self._book.unsure

    async def wait(self) -> None:
        """See `ports.HostRoutes`."""
        await self._heard.wait()
        self._heard.clear()

    def news(self) -> Mapping[IPv6Address, tuple[int, ...]]:
        """See `ports.HostRoutes`."""
        return self._book.news()

    async def audit(self) -> None:
        """See `ports.HostRoutes`."""
        if self._network.silence:
            raise UnavailableError(self._network.silence)
        self._book.begin_audit()
        routes = map(_host_route, await self._network.routes(self.table))
        found = [route for route in routes if route]
        self._book.settle({route[:2] for route in found}, found)

    def close(self) -> None:
        """See `ports.HostRoutes`."""
        self._network.forget(self)

    def hear(self, route: Route, *, there: bool) -> None:
        """Be told of a route, or of what is gone of it."""
        found = _host_route(route)
        if found is not None:
            (self._book.put if there else self._book.delete)(found)
            self._heard.set()

    def lose(self) -> None:
        """Be told that something was lost."""
        self._book.lose()
        self._heard.set()


def _host_route(route: Route) -> HostRoute | None:
    prefix = route.prefix
    if not isinstance(prefix, IPv6Network) or prefix.prefixlen != prefix.max_prefixlen:
        return None
    hops = frozenset(f"{hop.device} {hop.via}".encode() for hop in route.nexthops)
    return HostRoute(prefix.network_address.packed, route.metric, hops)
