"""OSPF costs of this edge's backbone links, from round trip times measured all the time."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address

from pltfrms import codec
from pltfrms.agent.freeze import Frost
from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.drivers.clock import wait_event
from pltfrms.errors import UsageError
from pltfrms.model.network.links import Link
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.machine import BfdState
from pltfrms.model.running.state import LinkStatus
from pltfrms.planner.routing.ospf_cost import (
    LinkCost,
    asked,
    cost_of,
    link_status,
    measured,
)
from pltfrms.render.kernel import network_state

COSTS_FILE = "costs.json"
_PERIOD_SECONDS = 1.0
_NEAR_MS = 300.0
"""Round trip time up to which an echo is not waited for as long as for one from afar."""


@dataclass(frozen=True, slots=True)
class _FarEnd:
    interface: str
    """Our port of the link."""
    address: IPv6Address
    """Link-local, of the machine at the other end."""


class Costs:
    """The costs by link name, remembered on disk: a restart of ours must not move traffic."""

    def __init__(
        self,
        world: World,
        journal: Journal,
        problems: Problems,
        machine: str,
        frost: Frost,
        poke: Callable[[], None],
    ) -> None:
        """Read the disk; `poke` is called when there is something to report."""
        self._world = world
        self._journal = journal
        self._problems = problems
        self._machine = machine
        self._frost = frost
        self._poke = poke
        self.changed = asyncio.Event()
        """Set when a cost has changed; whoever configures BIRD clears it."""
        self._far_ends: Mapping[str, _FarEnd] = {}
        self._hint = asyncio.Event()
        self._heard: frozenset[str] = frozenset()
        """Interfaces over which BFD hears somebody."""
        self._silent: frozenset[str] = frozenset()
        """Those over which it did, and does not any more."""
        now = world.clock.monotonic()
        self._links = {
            name: LinkCost(cost=cost, changed_at=now) for name, cost in self._stored().items()
        }

    def apply(self, platform: Platform) -> None:
        """Measure the links of this platform from now on.

        Raises:
            KeyError: a far end is no machine; nothing is changed.
        """
        self._far_ends = {
            link.name: _far_end(platform, link, self._machine)
            for link in platform.links_of(self._machine)
        }

    def by_link(self) -> Mapping[str, int]:
        """Return the costs known so far, by link name."""
        return {
            name: state.cost
            for name, state in sorted(self._links.items())
            if state.cost is not None
        }

    @property
    def statuses(self) -> Mapping[str, LinkStatus]:
        """What is known of each link now."""
        known = ((name, link_status(self._links[name])) for name in sorted(self._links))
        return {name: status for name, status in known if status and name in self._far_ends}

    async def run(self) -> None:
        """Measure every second, for ever; while frozen a cost stays what it is."""
        while True:
            self._hint.clear()
            with self._problems.watch("link costs"):
                await self._measure(self._far_ends)
            await wait_event(self._hint, self._world.clock, _PERIOD_SECONDS)

    def hear(self, liveness: frozenset[BfdState] | None) -> None:
        """Take what BFD says, None: nothing. Links that have just fallen silent are asked now.

        It is no proof: where only the other end's BIRD has ended, the link still answers.
        """
        if liveness is None:
            self._heard, self._silent = frozenset(), frozenset()
            return
        heard = frozenset(each.interface for each in liveness if each.up)
        ended = self._heard - heard
        self._heard, self._silent = heard, (self._silent | ended) - heard
        if any(each.interface in ended for each in self._far_ends.values()):
            self._hint.set()

    async def _measure(self, far_ends: Mapping[str, _FarEnd]) -> None:
        rtts = await asyncio.gather(*(self._ping(*each) for each in far_ends.items()))
        before, seen = self.by_link(), self.statuses
        now = self._world.clock.monotonic()
        for name, rtt_ms in zip(far_ends, rtts, strict=True):
            state = self._links.get(name, LinkCost())
            silent = far_ends[name].interface in self._silent
            self._links[name] = (
                asked(state, answered=rtt_ms is not None, silent=silent)
                if self._frost.reason
                else measured(state, rtt_ms, now, silent=silent)
            )
        if self.statuses != seen:
            self._poke()
        after = self.by_link()
        for name in sorted(name for name in after if after[name] != before.get(name)):
            detail = f"{before.get(name, 'not measured')} -> {after[name]}"
            self._journal.say(f"link/{name}", "link cost changed", detail)
        if after != before:
            self.changed.set()
            self._world.disk.write(COSTS_FILE, codec.encode(dict(after), dict[str, int]))

    async def _ping(self, name: str, far_end: _FarEnd) -> float | None:
        cost = self._links.get(name, LinkCost()).cost

        def in_doubt() -> bool:
            """Return whether BFD is silent, on a line whose echo would be here by now."""
            near = cost is not None and cost <= cost_of(_NEAR_MS)
            return near and far_end.interface in self._silent

        try:
            return await self._world.pinger.ping(far_end.interface, far_end.address, in_doubt)
        except OSError:
            return None  # a port that is down; the kernel part says so

    def _stored(self) -> Mapping[str, int]:
        text = self._world.disk.read(COSTS_FILE)
        try:
            return codec.decode(dict[str, int], text) if text else {}
        except UsageError:
            return {}  # they are measured again in three seconds


def _far_end(platform: Platform, link: Link, machine: str) -> _FarEnd:
    name = link.far_end(machine)
    port = link.interface_at(name)
    addresses = (
        address.ip
        for device in network_state(platform, name).devices
        for address in device.addresses
        if device.name == port
    )
    address = next(each for each in addresses if isinstance(each, IPv6Address))
    return _FarEnd(link.interface_at(machine), address)
