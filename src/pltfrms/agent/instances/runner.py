"""Drive one allocation: start its instance, probe it, restart it, stop it.

Whenever an instance must not get traffic any more, its routes go first, and only then anything
is done to it. A ready one that is to go for good is drained before that.
"""

import asyncio
import math
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Final

from pltfrms.agent.instances.beside import first_done
from pltfrms.agent.instances.drains import Arrivals, InstanceDrain, connections_left
from pltfrms.agent.instances.orders import Order, Surroundings, addresses_of
from pltfrms.drivers.clock import wait_event
from pltfrms.drivers.workload.instance.instance_files import fingerprint_of
from pltfrms.errors import InvariantError, PltfrmsError
from pltfrms.model.running.machine import Instance, InstanceSpec, Outgoing
from pltfrms.model.running.plan import Allocation
from pltfrms.model.running.state import InstanceStatus, Phase
from pltfrms.model.running.texts import shortened
from pltfrms.model.services.service import Probe, Service
from pltfrms.planner.instances.health import (
    adopted,
    draining,
    ended,
    failure_of,
    first_start,
    found_alive,
    held,
    lost,
    probe_delay_seconds,
    probed,
    restart_due,
    restarted,
    stands_by,
    stopping,
    wanted_again,
    withdrawn,
)
from pltfrms.planner.instances.liveness import Liveness, asked_alive, is_lifeless, life_due_at
from pltfrms.planner.instances.mass import share_of

SPREAD_SECONDS: Final = 0.3
"""From our withdrawal until every edge has stopped sending."""
HURRY_MS: Final = 1000
"""Longest grace of an instance that does not answer: nothing is served while it lasts."""
FAILURE_MAX: Final = 300
"""Characters of how an instance failed: a line of `status`."""
_COUNT_SECONDS = 0.25
"""A draining instance is asked for its connections this often."""
_SAY_SECONDS = 10.0
"""How often it is said that there are still some."""
_RETRY_SECONDS = 0.5
_DEVICE_SECONDS = 0.05
_RENUMBER_SECONDS = 5.0
"""After a failure, or where others may undo it, and the next probe."""


class Runner:
    """One allocation and its instance."""

    def __init__(
        self,
        name: str,
        surroundings: Surroundings,
        found: Instance | None = None,
        *,
        announced: bool = False,
        stood_by: bool = False,
        delay: float = 0.0,
    ) -> None:
        """Take over the instance `found` running, if any; `announced`: it had its route.

        `stood_by`: it had it as one that is unwell.

        If it was draining, it goes on with that. Else it is started after `delay` seconds.
        """
        self.name = name
        self.instance = found
        self.order: Order | None = None
        self.allocation: Allocation | None = None
        """Of the last order; None for an instance that nobody here ever ordered."""
        self.service: Service | None = None
        """Likewise."""
        self._grace_ms = found.stop_grace_ms if found else 0
        self._around = surroundings
        self._world = surroundings.world
        self._revised = asyncio.Event()
        self._outgoing: Outgoing | None = None
        """What it was given; of one that was found, none."""
        self._renumber_at: float | None = None
        """When its addresses are to be tried again; None: they are as wanted."""
        now = self._world.clock.monotonic()
        share = share_of(name)
        self.health = replace(first_start(now, share), resume_at=now + delay)
        self._leaving = False
        """Whether it is drained before a restart."""
        self._life = Liveness(since=now, lived=announced)
        # When it is to be asked at the latest, however often something else is wanted.
        self._probe_by = math.inf
        if found:
            self.health = adopted(now, announced=announced, stood_by=stood_by, share=share)
        drain = surroundings.drains.of(found) if found else None
        self._asking = drain if drain and drain.asked else None
        """Of one whose hooks are run before it ends, however it is meanwhile."""
        self._drain = None if self._asking else drain
        self._recall(drain, now)

    def _recall(self, drain: InstanceDrain | None, now: float) -> None:
        """Go on with what an agent before us began."""
        if drain is None:
            return
        self.allocation, self.service = drain.allocation, drain.service
        self._grace_ms = drain.service.spec.run.stop_grace_ms  # records of before say none
        if not drain.asked:
            self.health = draining(self.health, now, drain.why)

    @property
    def ready(self) -> bool:
        """Whether the instance is to get traffic."""
        return self.instance is not None and self.health.phase is Phase.READY

    @property
    def draining(self) -> bool:
        """Whether the instance is to keep the traffic it has, and get no more."""
        going = self._leaving or self.health.phase is Phase.DRAINING
        return self.instance is not None and going

    @property
    def standing_by(self) -> bool:
        """Whether the instance is to get traffic where nobody better is."""
        return self.instance is not None and not self._leaving and stands_by(self.health)

    @property
    def status(self) -> InstanceStatus:
        """What to report."""
        now = self._world.clock.monotonic()
        return InstanceStatus(
            allocation=self.name,
            phase=self.health.phase,
            restarts=self.health.restarts,
            slot=self.allocation.slot if self.allocation else 0,
            detail=self._doing or self.health.sentence,
            unwell=self.standing_by,
            failure=shortened(failure_of(self.health, now), FAILURE_MAX),
        )

    @property
    def _doing(self) -> str:
        order = self.order
        if order is None or self.instance is not None:
            return ""
        return self._world.workload.doing(order.spec)

    def revise(self, order: Order | None) -> None:
        """Change what is wanted; None = stop and end."""
        if order != self.order:
            self._revised.set()
        self.order = order
        if order is not None:
            self.allocation, self.service = order.allocation, order.service
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
        for part in (self.name, *map(self._part, ("addresses", "ports", "secrets"))):
            self._around.problems.set(part, "")

    def _part(self, what: str) -> str:
        """Return how problems call what goes wrong with something of it."""
        return f"{what} of {self.name}"

    async def _turn(self, order: Order | None, instance: Instance | None) -> None:
        if instance is None:
            if order is not None:
                await self._start(order)
        elif order is None:
            await self._retire(instance, "not wanted any more")
        elif order.exact and instance.fingerprint != fingerprint_of(order.spec):
            await self._retire(instance, "what it is started from has changed")
        elif self._drain is not None or self._asking is not None:
            await self._call_off()
        elif self._restart_due(order):
            await self._restart(order, instance)
        else:
            await self._renumber(order.spec, instance)
            if order.exact:
                await self._answer_on(order.spec, instance)
                await self._renew_secrets(order.spec, instance)
            await self._live(order, instance)

    # ---- starting --------------------------------------------------------------------------

    async def _start(self, order: Order) -> None:
        wait = self.health.resume_at - self._world.clock.monotonic()
        if wait > 0:
            await wait_event(self._revised, self._world.clock, wait)
        elif not self._around.is_free(order.spec):
            await self._world.clock.sleep(_DEVICE_SECONDS)
        else:
            await self._start_now(order.spec)

    async def _start_now(self, spec: InstanceSpec) -> None:
        now = self._world.clock.monotonic()
        if self.health.phase in {Phase.UNHEALTHY, Phase.BACKOFF}:
            self.health = restarted(self.health, now)
        elif self.health.phase is Phase.STARTING:  # it may have waited before it
            self.health = replace(self.health, since=now)
        elif self.health.phase is Phase.STOPPING:
            fresh = first_start(now, self.health.share)
            self.health = replace(fresh, restarts=self.health.restarts + 1)
        try:
            if not await self._fetch(spec):
                return
            self.instance = await self._world.workload.start(spec)
            self._life = Liveness(since=self._world.clock.monotonic())
            self._probe_by = math.inf
            self._outgoing = spec.outgoing
        except (PltfrmsError, OSError) as error:
            now = self._world.clock.monotonic()
            self.health = ended(self.health, now, f"could not be started: {error}")
            self._say("instance not started")
            return
        self._say("instance started")
        await self._around.settle()

    async def _fetch(self, spec: InstanceSpec) -> bool:
        """Have what the start needs; False if something else is to be started meanwhile.

        The time that this takes is not the instance's.
        """
        fetching = asyncio.ensure_future(self._world.workload.fetch(spec))
        revised = asyncio.ensure_future(self._revised.wait())
        try:
            while self.order is not None and self.order.spec == spec:
                await asyncio.wait({fetching, revised}, return_when=asyncio.FIRST_COMPLETED)
                if fetching.done():
                    fetching.result()  # raises what went wrong, if anything did
                    self.health = replace(self.health, since=self._world.clock.monotonic())
                    return True
                self._revised.clear()
                revised = asyncio.ensure_future(self._revised.wait())
            self._revised.set()
            return False
        finally:
            for task in (fetching, revised):
                task.cancel()
            await asyncio.gather(fetching, revised, return_exceptions=True)

    # ---- living ----------------------------------------------------------------------------

    async def _live(self, order: Order, instance: Instance) -> None:
        """Return when it ended, must be restarted, or something else is wanted."""
        asking = self._probe(order, instance)
        await self._beside(instance, self._with_life(asking, order.service, instance))

    def _with_life(
        self, asking: Coroutine[Any, Any, None], service: Service, instance: Instance
    ) -> Coroutine[Any, Any, None]:
        """Ask that, and whether it lives, if that is another question."""
        if service.spec.liveness is None:
            return asking
        return first_done(asking, self._see_life(service, instance, service.spec.liveness))

    async def _beside(self, instance: Instance, work: Coroutine[Any, Any, None]) -> bool:
        """Work until that is done (True), the instance ends, or something else is wanted."""
        end = asyncio.ensure_future(self._world.workload.wait(instance))
        working = asyncio.ensure_future(work)
        revised = asyncio.ensure_future(self._revised.wait())
        try:
            await asyncio.wait({end, working, revised}, return_when=asyncio.FIRST_COMPLETED)
            if end.done():
                await self._fell(end.result())
                return False
            if working.done():
                working.result()  # raises what went wrong, if anything did
            return working.done()
        finally:
            for task in (end, working, revised):
                task.cancel()
            await asyncio.gather(end, working, revised, return_exceptions=True)

    async def _renumber(self, spec: InstanceSpec, instance: Instance) -> None:
        """Let it speak with the internet from what is wanted now; it serves in any case."""
        self._renumber_at = None
        if spec.outgoing == self._outgoing:
            self._around.problems.set(self._part("addresses"), "")
            return
        with self._around.problems.watch(self._part("addresses")) as outcome:
            await self._world.workload.renumber(instance, spec)
            self._outgoing = spec.outgoing
        if outcome.failed:
            self._renumber_at = self._world.clock.monotonic() + _RENUMBER_SECONDS

    async def _answer_on(self, spec: InstanceSpec, instance: Instance) -> None:
        """Let it answer on the ports that are wanted now; it goes on as before if it cannot."""
        with self._around.problems.watch(self._part("ports")) as outcome:
            await self._world.workload.answer_on(instance, spec)
        if outcome.failed or spec.elsewhere:  # others may flush what is not inside an instance
            self._renumber_at = self._world.clock.monotonic() + _RENUMBER_SECONDS

    async def _renew_secrets(self, spec: InstanceSpec, instance: Instance) -> None:
        with self._around.problems.watch(self._part("secrets")) as outcome:
            if await self._world.workload.renew_secrets(instance, spec):
                self._say("instance signalled: secrets have other values")
        if outcome.failed:
            self._renumber_at = self._world.clock.monotonic() + _RENUMBER_SECONDS

    async def _probe(self, order: Order, instance: Instance) -> None:
        """Probe until a restart is due, or its addresses are to be tried again."""
        clock = self._world.clock
        while not self._restart_due(order):
            ill = self.health.phase is Phase.UNHEALTHY
            by = self.health.resume_at if ill else math.inf
            await self._probe_once(order.service, instance, by)
            if self._renumber_at is not None and clock.monotonic() >= self._renumber_at:
                return

    async def _probe_once(
        self, service: Service, instance: Instance, by: float = math.inf
    ) -> None:
        """Wait for its next probe, or until `by`, and let routes follow what comes of it."""
        clock, probe = self._world.clock, service.spec.readiness
        delay = probe_delay_seconds(self.health, probe, clock.monotonic())
        delay = min(delay, max(0.0, min(self._probe_by, by) - clock.monotonic()))
        await clock.sleep(delay)
        said = await self._world.prober.probe(instance, probe, addresses_of(service))
        before, stood_by = self.health.phase, self.standing_by
        now = clock.monotonic()
        self._probe_by = now + probe.interval_ms / 1000
        self.health = probed(self.health, probe, now, said.failure, unwell=said.unwell)
        if self.standing_by is not stood_by or self.health.phase is not before:
            await self._around.settle()
        if self.health.phase is not before:
            self._say(f"instance {self.health.phase}")

    async def _see_life(self, service: Service, instance: Instance, liveness: Probe) -> None:
        """Ask whether it lives, until it does not."""
        clock, addresses = self._world.clock, addresses_of(service)
        while True:
            await clock.sleep(max(0.0, life_due_at(self._life, liveness) - clock.monotonic()))
            said = await self._world.prober.probe(instance, liveness, addresses)
            now = clock.monotonic()
            self._life = asked_alive(self._life, liveness, now, said)
            if is_lifeless(self._life, liveness) is self.health.lifeless:
                continue
            if self.health.lifeless:
                self.health = found_alive(self.health)
                continue
            why = f"{self._life.failures} liveness probes failed in a row, the last one: "
            why += said.failure
            self.health = lost(self.health, liveness, now, why, unwell=said.unwell)
            await self._around.settle()
            self._say(f"instance {self.health.phase}")
            return

    def _restart_due(self, order: Order) -> bool:
        now = self._world.clock.monotonic()
        if not restart_due(self.health, now):
            return False
        rises = self.health.successes > 0 and not self.health.lifeless
        if self.standing_by and (rises or self._around.stays(order, self.health.streak)):
            self.health = held(self.health, order.service.spec.probe, now)
            return False
        return True

    async def _restart(self, order: Order, instance: Instance) -> None:
        """End an instance that failed. One that answers may have traffic, and is drained."""
        grace_ms = self._grace_ms
        if not self.standing_by:
            grace_ms = min(HURRY_MS, grace_ms)
        elif await self._leaves(order, instance):
            await self._around.settle()
            await self._world.clock.sleep(SPREAD_SECONDS)
        else:
            return
        await self._end(instance, grace_ms)

    async def _leaves(self, order: Order, instance: Instance) -> bool:
        """Drain an instance that stands by; return whether nothing else came up meanwhile."""
        if self._around.drainable(order.service, instance):
            drain = self._remembered(instance, self.health.sentence)
            self._leaving = True
            try:
                await self._around.settle()
                if not await self._beside(instance, self._wait_for_connections(drain)):
                    return False
            finally:
                self._leaving = False
        self.health = withdrawn(self.health)
        return True

    async def _fell(self, how: str) -> None:
        now = self._world.clock.monotonic()
        self.instance = None
        self.health = (stopping if self._drain else ended)(self.health, now, how)
        self._forget_drain()
        await self._around.settle()
        self._say("instance ended")

    # ---- draining --------------------------------------------------------------------------

    def _remembered(self, instance: Instance, why: str) -> InstanceDrain:
        """Return what a drain of it is that begins now; somebody has ordered it."""
        service, allocation = self.service, self.allocation
        if service is None or allocation is None:
            raise InvariantError(f"{self.name} was never ordered, and is no one's to drain")
        now = self._world.clock.monotonic()
        return InstanceDrain(
            instance=instance, allocation=allocation, service=service, why=why, begun_at=now
        )

    async def _begin_drain(self, instance: Instance, why: str) -> None:
        """Let a ready instance have no new flows, if those that it has would still find it."""
        if self.service is None or not self._around.drainable(self.service, instance):
            return
        self._drain = self._remembered(instance, why)
        self._around.drains.keep(self._drain)
        self.health = draining(self.health, self._drain.begun_at, why)
        await self._around.settle()

    async def _wait_for_connections(self, drain: InstanceDrain) -> None:
        """Return when it has none left and gets no new ones, or has had time enough."""
        clock = self._world.clock
        arrivals, next_words_at = Arrivals(self._world.workload, drain), clock.monotonic()
        await clock.sleep(SPREAD_SECONDS)
        while True:
            left = await self._world.prober.connections(drain.instance, drain.addresses)
            now = clock.monotonic()
            rest = drain.ends_at - now
            if (arrivals.ceased(now) and not left) or rest <= 0:
                words = f"{connections_left(left)} after {now - drain.begun_at:.1f} s"
                self.health = replace(self.health, sentence=f"{drain.why}: {words}")
                return
            if now >= next_words_at:
                words = f"{connections_left(left)}, for {rest:.0f} s at most"
                self.health = replace(self.health, sentence=f"{drain.why}: {words}")
                self._say("instance draining")
                next_words_at = now + _SAY_SECONDS
            await clock.sleep(min(_COUNT_SECONDS, rest))

    async def _call_off(self) -> None:
        drained = self._drain is not None
        self._forget_drain()
        if drained:
            self.health = wanted_again(self.health, self._world.clock.monotonic())
            await self._around.settle()
            self._say("instance ready")

    def _forget_drain(self) -> None:
        for drain in (self._drain, self._asking):
            if drain is not None:
                self._around.drains.forget(drain)
        self._drain = self._asking = None

    # ---- stopping --------------------------------------------------------------------------

    async def _retire(self, instance: Instance, why: str) -> None:
        """Stop an instance that may still be getting traffic."""
        asked = self._asking is not None or self._around.hooks.due(self.name)
        if asked and not await self._ask(instance, why):
            return
        if self.ready or self.standing_by:
            await self._begin_drain(instance, why)
        if self._drain is not None:
            if not await self._beside(instance, self._wait_for_connections(self._drain)):
                return
            why = self.health.sentence
            self._forget_drain()
        spoken = self.health.phase is Phase.STOPPING
        self.health = stopping(self.health, self._world.clock.monotonic(), why)
        await self._around.settle()
        if not spoken:
            self._say("instance stopping")
        await self._world.clock.sleep(SPREAD_SECONDS)
        await self._end(instance, self._grace_ms)

    async def _ask(self, instance: Instance, why: str) -> bool:
        """Run its hooks; return whether it may end. An agent after us asks as well."""
        self._asking = replace(self._remembered(instance, why), asked=True)
        self._around.drains.keep(self._asking)
        asking = self._around.hooks.run_due(self.name)
        watching = self._watch(self._asking.service, instance)
        done = await self._beside(instance, first_done(asking, watching))
        if done:  # not if we are ended meanwhile
            self._forget_drain()
        return done

    async def _watch(self, service: Service, instance: Instance) -> None:
        """Probe it as ever, until it does not live: a hook may take long."""
        while not self.health.lifeless:
            with self._around.problems.watch(self.name) as outcome:
                await self._with_life(self._probe_on(service, instance), service, instance)
            if outcome.failed:
                await self._world.clock.sleep(_RETRY_SECONDS)

    async def _probe_on(self, service: Service, instance: Instance) -> None:
        while True:
            await self._probe_once(service, instance)

    async def _end(self, instance: Instance, grace_ms: int) -> None:
        how = await self._world.workload.stop(instance, grace_ms)
        self.instance = None
        await self._around.settle()
        if how:
            self.health = replace(self.health, sentence=f"{self.health.sentence}; {how}")
        self._say("instance stopped")

    def _say(self, what: str) -> None:
        self._around.journal.say(self.name, what, self.health.sentence)
