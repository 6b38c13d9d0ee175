"""Drive one allocation: start its instance, probe it, restart it, stop it.

Whenever an instance must not get traffic any more, its routes go first, and only then anything
is done to it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.drivers.clock import wait_event
from pltfrms.drivers.instance_files import fingerprint_of
from pltfrms.errors import PltfrmsError
from pltfrms.model.machine import Instance, InstanceSpec
from pltfrms.model.plan import Allocation
from pltfrms.model.service import Probe
from pltfrms.model.state import InstanceStatus, Phase
from pltfrms.planner.health import (
    adopted,
    ended,
    first_start,
    probe_delay_seconds,
    probed,
    restart_due,
    restarted,
    stopping,
)

SPREAD_SECONDS: Final = 0.3
"""From our withdrawal until every edge has stopped sending."""
HURRY_MS: Final = 1000
"""Longest grace of an instance that does not answer: nothing is served while it lasts."""
_ORPHAN_GRACE_MS = 5000
_RETRY_SECONDS = 0.5
_DEVICE_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to run for one allocation."""

    allocation: Allocation
    spec: InstanceSpec
    probe: Probe
    exact: bool
    """The spec is of the allocation's own version; else that version is not known here, and
    an instance that runs is left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a runner needs of its agent."""

    world: World
    journal: Journal
    problems: Problems
    settle: Callable[[], Awaitable[None]]
    """Make routes follow who is ready and attached; returns when they do."""
    device_free: Callable[[str], bool]
    """Whether no other instance uses the veth of that name."""


class Runner:
    """One allocation and its instance."""

    def __init__(
        self,
        name: str,
        surroundings: Surroundings,
        found: Instance | None = None,
        *,
        announced: bool = False,
    ) -> None:
        """Take over the instance `found` running, if any; `announced`: it had its route."""
        self.name = name
        self.instance = found
        self.order: Order | None = None
        self.allocation: Allocation | None = None
        """Of the last order; None for an instance that nobody here ever ordered."""
        self._grace_ms = _ORPHAN_GRACE_MS
        self._around = surroundings
        self._world = surroundings.world
        self._revised = asyncio.Event()
        now = self._world.clock.monotonic()
        self.health = adopted(now, announced=announced) if found else first_start(now)

    @property
    def ready(self) -> bool:
        """Whether the instance is to get traffic."""
        return self.instance is not None and self.health.phase is Phase.READY

    @property
    def status(self) -> InstanceStatus:
        """What to report."""
        return InstanceStatus(
            allocation=self.name,
            phase=self.health.phase,
            restarts=self.health.restarts,
            detail=self.health.sentence,
        )

    def revise(self, order: Order | None) -> None:
        """Change what is wanted; None = stop and end."""
        if order != self.order:
            self._revised.set()
        self.order = order
        if order is not None:
            self.allocation = order.allocation
            self._grace_ms = order.spec.stop_grace_ms

    async def run(self) -> None:
        """Drive the instance until it is neither wanted nor there."""
        if self.instance is not None:
            self._say("instance adopted")
        while self.order is not None or self.instance is not None:
            self._revised.clear()
            with self._around.problems.watch(self.name) as outcome:
                await self._turn(self.order, self.instance)
            if outcome.failed:
                await self._world.clock.sleep(_RETRY_SECONDS)
        self._around.problems.set(self.name, "")

    async def _turn(self, order: Order | None, instance: Instance | None) -> None:
        if instance is None:
            if order is not None:
                await self._start(order)
        elif order is None:
            await self._retire(instance, "not wanted any more")
        elif order.exact and instance.fingerprint != fingerprint_of(order.spec):
            await self._retire(instance, "what it is started from has changed")
        elif restart_due(self.health, self._world.clock.monotonic()):
            await self._end(instance, min(HURRY_MS, self._grace_ms))
        else:
            await self._live(order, instance)

    # ---- starting --------------------------------------------------------------------------

    async def _start(self, order: Order) -> None:
        wait = self.health.resume_at - self._world.clock.monotonic()
        if wait > 0:
            await wait_event(self._revised, self._world.clock, wait)
        elif not self._around.device_free(order.spec.device):
            await self._world.clock.sleep(_DEVICE_SECONDS)
        else:
            await self._start_now(order.spec)

    async def _start_now(self, spec: InstanceSpec) -> None:
        now = self._world.clock.monotonic()
        if self.health.phase in {Phase.UNHEALTHY, Phase.BACKOFF}:
            self.health = restarted(self.health, now)
        elif self.health.phase is Phase.STOPPING:
            self.health = replace(first_start(now), restarts=self.health.restarts + 1)
        try:
            self.instance = await self._world.workload.start(spec)
        except (PltfrmsError, OSError) as error:
            now = self._world.clock.monotonic()
            self.health = ended(self.health, now, f"could not be started: {error}")
            self._say("instance not started")
            return
        self._say("instance started")
        await self._around.settle()

    # ---- living ----------------------------------------------------------------------------

    async def _live(self, order: Order, instance: Instance) -> None:
        """Return when it ended, must be restarted, or something else is wanted."""
        end = asyncio.ensure_future(self._world.workload.wait(instance))
        probing = asyncio.ensure_future(self._probe(order, instance))
        revised = asyncio.ensure_future(self._revised.wait())
        try:
            await asyncio.wait({end, probing, revised}, return_when=asyncio.FIRST_COMPLETED)
            if end.done():
                await self._fell(end.result())
            elif probing.done():
                probing.result()  # raises what went wrong, if anything did
        finally:
            for task in (end, probing, revised):
                task.cancel()
            await asyncio.gather(end, probing, revised, return_exceptions=True)

    async def _probe(self, order: Order, instance: Instance) -> None:
        """Probe until a restart is due."""
        clock = self._world.clock
        addresses = tuple(each.ip for each in order.spec.service_addresses)
        while not restart_due(self.health, clock.monotonic()):
            delay = probe_delay_seconds(self.health, order.probe)
            if self.health.phase is Phase.UNHEALTHY:
                delay = min(delay, self.health.resume_at - clock.monotonic())
            await clock.sleep(delay)
            failure = await self._world.prober.probe(instance, order.probe, addresses)
            before = self.health.phase
            self.health = probed(self.health, order.probe, clock.monotonic(), failure)
            if self.health.phase is not before:
                await self._around.settle()
                self._say(f"instance {self.health.phase}")

    async def _fell(self, how: str) -> None:
        self.instance = None
        self.health = ended(self.health, self._world.clock.monotonic(), how)
        await self._around.settle()
        self._say("instance ended")

    # ---- stopping --------------------------------------------------------------------------

    async def _retire(self, instance: Instance, why: str) -> None:
        """Stop an instance that may still be getting traffic."""
        spoken = self.health.phase is Phase.STOPPING
        self.health = stopping(self.health, self._world.clock.monotonic(), why)
        await self._around.settle()
        if not spoken:
            self._say("instance stopping")
        await self._world.clock.sleep(SPREAD_SECONDS)
        await self._end(instance, self._grace_ms)

    async def _end(self, instance: Instance, grace_ms: int) -> None:
        await self._world.workload.stop(instance, grace_ms)
        self.instance = None
        await self._around.settle()
        self._say("instance stopped")

    def _say(self, what: str) -> None:
        self._around.journal.say(self.name, what, self.health.sentence)
