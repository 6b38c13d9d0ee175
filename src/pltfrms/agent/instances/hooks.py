"""Run the hooks of services inside the instances of a node, before what is planned is done.

Nothing here delays a repair: who does not serve is ended without being asked.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from pltfrms.agent.instances.runner import Runner
from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.errors import PltfrmsError
from pltfrms.model.running.machine import Instance
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import Phase
from pltfrms.model.running.texts import shortened
from pltfrms.model.running.volumes import VolumeState
from pltfrms.model.services.hooks import HookMoment, InstanceHook
from pltfrms.model.services.service import Probe, ProbeKind

AGAIN_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 1.0
_ROLE_SECONDS: Final = 0.1
_WORDS_MAX: Final = 200


class HookKeeper:
    """Which hooks are due, which failed, and why planned work waits. An `orders.BeforeEnd`."""

    def __init__(
        self,
        world: World,
        journal: Journal,
        problems: Problems,
        runners: Mapping[str, Runner],
        holds: Callable[[str], bool],
    ) -> None:
        """Run nothing yet; `holds` tells who has a role that one alone may have."""
        self._world = world
        self._journal = journal
        self._problems = problems
        self._runners = runners
        self._holds = holds
        self._target: Target | None = None
        self._joined: dict[str, Instance] = {}
        self._again_at: dict[str, float] = {}
        self._held_up: dict[str, str] = {}
        self._asked: set[str] = set()
        """In whom one runs, or who is asked before their end: never two in one instance."""

    def follow(self, target: Target) -> None:
        """Know what is wanted from now on: hooks are always those of the newest version."""
        self._target = target

    def held_up(self, name: str) -> str:
        """Say why what is planned around an instance has to wait; empty: it has not."""
        return self._held_up.get(name, "")

    def gone(self, name: str) -> None:
        """Forget an instance that has ended."""
        self._set(name, "")
        self._joined.pop(name, None)
        self._again_at.pop(name, None)

    # ---- before an end ---------------------------------------------------------------------

    def due(self, name: str) -> bool:
        """See `orders.BeforeEnd`."""
        return self._serves(name) and next(self._before_end(name), None) is not None

    async def run_due(self, name: str) -> None:
        """See `orders.BeforeEnd`. Who fails is asked again, until it does not serve."""
        while name in self._asked:  # one that it was given before is over soon
            await self._world.clock.sleep(_ROLE_SECONDS)
        self._asked.add(name)
        try:
            await self._run_due(name)
        finally:  # also if it is wanted again
            self._asked.discard(name)
            self._set(name, "")

    async def _run_due(self, name: str) -> None:
        done: set[HookMoment] = set()
        while hook := next((e for e in self._before_end(name) if e.moment not in done), None):
            if await self._run(name, hook):
                done.add(hook.moment)
            elif await self._is_ill_before_it_is_asked_again(name):
                break

    def _before_end(self, name: str) -> Iterator[InstanceHook]:
        runner = self._runners.get(name)
        if runner is None or not self._has_volume(runner):
            return
        hooks = self._hooks(runner)
        hand_over, leave = hooks.get(HookMoment.HAND_OVER), hooks.get(HookMoment.LEAVE)
        if hand_over is not None and self._holds(name):
            yield hand_over
        if leave is not None and self._is_last(runner):
            yield leave

    def _has_volume(self, runner: Runner) -> bool:
        """Return whether it is its replica: of who has given up its volume another one is."""
        target, one = self._target, runner.allocation
        return one is not None and any(
            each.id == one.volume and each.state is VolumeState.HELD
            for each in (target.volumes if target else ())
        )

    def _is_last(self, runner: Runner) -> bool:
        """Return whether its replica is wanted here no more, in no version."""
        one = runner.allocation
        return one is not None and not any(
            (each.service, each.datacenter, each.replica)
            == (one.service, one.datacenter, one.replica)
            for each in (self._target.allocations if self._target else ())
        )

    def _serves(self, name: str) -> bool:
        runner = self._runners.get(name)
        return runner is not None and runner.ready

    async def _is_ill_before_it_is_asked_again(self, name: str) -> bool:
        """Wait for the next try. Who was just found, and not probed, is not known to be ill."""
        clock = self._world.clock
        until = clock.monotonic() + AGAIN_SECONDS
        while clock.monotonic() < until:
            runner = self._runners.get(name)
            if runner is None or runner.health.phase not in {Phase.READY, Phase.STARTING}:
                return True
            await clock.sleep(_LOOK_SECONDS)
        return False

    # ---- while they run --------------------------------------------------------------------

    async def run(self) -> None:
        """Let who is ready join, and who is on a drained node hand over, for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                for name in self._runners:
                    self._look(name, tasks)
                await self._world.clock.sleep(_LOOK_SECONDS)

    def _look(self, name: str, tasks: asyncio.TaskGroup) -> None:
        if name in self._asked:
            return
        hook = self._wanted(name)
        if hook is None:  # nor is that wanted any more which has failed
            self._set(name, "")
        elif self._world.clock.monotonic() >= self._again_at.get(name, 0.0):
            self._asked.add(name)
            tasks.create_task(self._try(name, hook))

    def _wanted(self, name: str) -> InstanceHook | None:
        runner = self._runners[name]
        if runner.order is None or not runner.ready:
            return None
        hooks = self._hooks(runner)
        if HookMoment.HAND_OVER in hooks and self._is_drained and self._holds(name):
            return hooks[HookMoment.HAND_OVER]
        joined = self._joined.get(name) == runner.instance
        return None if joined else hooks.get(HookMoment.JOIN)

    @property
    def _is_drained(self) -> bool:
        target = self._target
        if target is None:
            return False
        now_ms, here = self._world.clock.unix_ms(), target.platform.machine(target.machine)
        places = {(here.name, ""), ("", here.datacenter)}
        drains = (each for each in target.interventions.drains if each.holds(now_ms))
        return any((each.node, each.datacenter) in places for each in drains)

    async def _try(self, name: str, hook: InstanceHook) -> None:
        runner = self._runners.get(name)
        instance = runner.instance if runner else None
        try:
            if await self._run(name, hook):
                self._set(name, "")
                if hook.moment is HookMoment.JOIN and instance is not None:
                    self._joined[name] = instance
            else:
                self._again_at[name] = self._world.clock.monotonic() + AGAIN_SECONDS
        finally:
            self._asked.discard(name)
            if name not in self._runners:
                self.gone(name)

    # ---- running ---------------------------------------------------------------------------

    def _hooks(self, runner: Runner) -> Mapping[HookMoment, InstanceHook]:
        """Return the hooks of the newest version that is known; a deleted service has none."""
        target, service = self._target, runner.service
        if target is None or service is None:
            return {}
        if service.id not in {each.id for each in target.balanced}:
            return {}
        newest = next((e for e in target.services if e.name == service.name), service)
        return {each.moment: each for each in newest.spec.hooks}

    async def _run(self, name: str, hook: InstanceHook) -> bool:
        """Run one; return whether it has done what it is for."""
        runner = self._runners.get(name)
        if runner is None or runner.instance is None:
            return True
        self._held_up.setdefault(name, f"{hook.moment} runs")
        ms = hook.timeout_ms  # also as `grace_max`, so that what it says is heard
        asked = Probe(kind=ProbeKind.EXEC, command=hook.command, timeout_ms=ms, grace_max_ms=ms)
        try:
            failure = (await self._world.prober.probe(runner.instance, asked, ())).failure
        except PltfrmsError as error:  # as where no process can be begun
            failure = str(error)
        if not failure and hook.moment is HookMoment.HAND_OVER:
            failure = await self._still_holds(name, hook.timeout_ms / 1000)
        if failure:
            self._set(name, f"{hook.moment} failed: {shortened(failure, _WORDS_MAX)}")
            return False
        self._journal.say(name, f"hook {hook.moment} done", "")
        return True

    async def _still_holds(self, name: str, seconds: float) -> str:
        """Wait until it has its role no more; return what is wrong if it keeps it."""
        clock = self._world.clock
        until = clock.monotonic() + seconds
        while self._holds(name):
            if clock.monotonic() >= until:
                return f"it ended well, and the instance still has its role after {seconds:g} s"
            await clock.sleep(_ROLE_SECONDS)
        return ""

    def _set(self, name: str, words: str) -> None:
        if words:
            self._held_up[name] = words
        else:
            self._held_up.pop(name, None)
        self._problems.set(f"hooks of {name}", words)
