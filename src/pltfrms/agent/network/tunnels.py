"""Keep the WireGuard links of an edge as they are wanted, and change their keys in time."""

import asyncio
from collections.abc import Sequence
from typing import Final

from pltfrms.agent.freeze import Frost
from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.drivers.clock import wait_event
from pltfrms.drivers.ports import Clock
from pltfrms.drivers.wireguard.ports import Sight, TunnelDriver
from pltfrms.model.network.topology import Platform
from pltfrms.model.network.tunnels import (
    FRESH_SECONDS,
    ROTATION_SECONDS,
    Tunnel,
    tunnel_keys,
    tunnels_of,
)
from pltfrms.planner.routing.rotation import (
    ANSWER_SECONDS,
    TRIES,
    KeyState,
    epoch_at,
    first_keys,
    next_keys,
    seconds_to_next_try,
)
from pltfrms.planner.upkeep.ports import wanted_ports

LOOK_SECONDS: Final = 2.0
LATER_SECONDS: Final = 0.2
"""By so much one end of a link changes its keys after the other. If both did it at once, each
might answer the other's handshake and so forget its own: silence for WireGuard's 5 s, or more.
Longer than a packet is on its way, and than two agents on time differ."""


class Tunnels:
    """All WireGuard links of one edge. Their addresses and MTUs are the kernel part's."""

    def __init__(
        self,
        driver: TunnelDriver,
        clock: Clock,
        journal: Journal,
        problems: Problems,
        frost: Frost,
        period_seconds: int = ROTATION_SECONDS,
    ) -> None:
        """Change keys every `period_seconds`, the same for both ends of a link."""
        self._driver = driver
        self._clock = clock
        self._journal = journal
        self._problems = problems
        self._frost = frost
        self._period_seconds = period_seconds
        self._machine = ""
        self._tunnels: tuple[Tunnel, ...] = ()
        self._states: dict[str, KeyState] = {}
        self._silent_since: dict[str, float] = {}
        """When the far end was last known to answer, or we began to ask."""
        self._used = True
        """Whether there may be interfaces of ours."""
        self._made: set[str] = set()
        """Interfaces that we made or took over in this life, and that may be there."""
        self._foreign: set[str] = set()
        """Ports that the operating system has for us, whatever they are called: if one is a
        WireGuard interface, somebody else made it, and keeps it when we need it no more."""
        self._wake = asyncio.Event()

    def want(self, platform: Platform, machine: str) -> None:
        """Have the tunnels of this platform from now on."""
        self._machine = machine
        self._tunnels = tunnels_of(platform, machine)
        self._foreign |= {port.name for port in wanted_ports(platform, machine)}
        self._wake.set()

    async def run(self) -> None:
        """Reconcile every two seconds, on a new platform, and when keys are due, for ever."""
        while True:
            self._wake.clear()
            await self.reconcile()
            await wait_event(self._wake, self._clock, min(LOOK_SECONDS, self._seconds_to_try()))

    async def reconcile(self) -> None:
        """Make one pass; what fails becomes a problem, and what works stays as it is.

        While frozen nothing is done: a tunnel that comes or goes moves routes.
        """
        tunnels = self._tunnels
        if self._frost.reason or not (tunnels or self._used):
            return
        self._forget(tunnels)
        for tunnel in tunnels:
            with self._problems.watch(f"tunnel {tunnel.interface}"):
                await self._reconcile(tunnel)
        with self._problems.watch("tunnels"):
            names = [tunnel.interface for tunnel in tunnels]
            self._made.update(names)
            if self._used:
                kept = {*names, *(self._foreign - self._made)}
                self._say(await self._driver.remove_others(kept))
            self._made.intersection_update(names)
            self._say(await self._driver.clamp(names))
            self._used = bool(tunnels)

    async def _reconcile(self, tunnel: Tunnel) -> None:
        secret = self._driver.secret()
        sight = await self._driver.look(tunnel.interface)
        now, key_time = self._now(), self._key_time(tunnel)
        before = self._states.get(tunnel.interface)
        if before is None:
            found = self._epoch_of(secret, tunnel, sight, key_time)
            before = first_keys(found, key_time, self._period_seconds)
        handshake_at = sight.handshake_at if sight else 0
        state = next_keys(before, key_time, handshake_at, self._period_seconds)
        self._states[tunnel.interface] = state
        keys = tunnel_keys(secret, self._machine, tunnel, state.epoch)
        done = await self._driver.apply(tunnel, keys, now)
        searching = self._is_silent(tunnel, handshake_at, now) and sight is not None
        if not searching:  # then keys change all the time
            self._say(done, f"link/{tunnel.link}", f", epoch {state.epoch}")

    def _is_silent(self, tunnel: Tunnel, handshake_at: int, now: float) -> bool:
        """Return whether the far end has not answered for a while, and make it a problem."""
        name = tunnel.interface
        if now - handshake_at <= FRESH_SECONDS:
            self._silent_since[name] = now
        silent = now - self._silent_since.setdefault(name, now) >= ANSWER_SECONDS
        sentence = f"no answer from {tunnel.far_end} at {tunnel.far_endpoint}"
        self._problems.set(f"handshake {name}", sentence if silent else "")
        return silent

    def _epoch_of(
        self, secret: bytes, tunnel: Tunnel, sight: Sight | None, key_time: float
    ) -> int | None:
        """Return the epoch of the keys that an interface has; None if it is none we know."""
        newest = epoch_at(key_time, self._period_seconds)
        if sight is not None:
            for epoch in range(newest, max(-1, newest - TRIES), -1):
                if tunnel_keys(secret, self._machine, tunnel, epoch).ours == sight.key:
                    return epoch
        return None

    def _forget(self, tunnels: Sequence[Tunnel]) -> None:
        names = {tunnel.interface for tunnel in tunnels}
        for name in self._states.keys() - names:
            del self._states[name]
            self._silent_since.pop(name, None)
            for part in ("tunnel", "handshake"):
                self._problems.set(f"{part} {name}", "")
            self._used = True

    def _say(self, sentences: Sequence[str], about: str = "", end: str = "") -> None:
        if sentences:
            about = about or f"machine/{self._machine}"
            self._journal.say(about, "tunnel changed", "; ".join(sentences) + end)

    def _seconds_to_try(self) -> float:
        """Return in how many seconds the newest keys are due next."""
        times = [self._key_time(tunnel) for tunnel in self._tunnels] or [self._now()]
        return min(seconds_to_next_try(time, self._period_seconds) for time in times)

    def _key_time(self, tunnel: Tunnel) -> float:
        """Return the time by which the keys of a tunnel are chosen, in Unix seconds."""
        later = self._machine > tunnel.far_end  # both ends agree on who is the later one
        return self._now() - (LATER_SECONDS if later else 0)

    def _now(self) -> float:
        return self._clock.unix_ms() / 1000
