"""Ask instances what their rollout wants to know, beside their probes. Else nothing is done."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from pltfrms.agent.instances.runner import Runner
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.model.running.inquiries import Inquiry, Tally
from pltfrms.model.running.machine import Instance
from pltfrms.model.running.plan import Target
from pltfrms.model.running.texts import shortened

EACH_SECONDS: Final = 0.0025
"""All instances together are asked so much apart on average: a question costs up to 0.6 ms of
the agent, which has probes to ask and heartbeats to send meanwhile."""
FAILURE_MAX: Final = 200
"""Characters of how an answer failed."""
_Key = tuple[str, Inquiry]


class Inquiring:
    """The inquiries of a node, each of which asks one instance as long as the target has it."""

    def __init__(
        self, world: World, problems: Problems, runner: Callable[[str], Runner | None]
    ) -> None:
        """Ask nothing yet; `runner` knows who drives an allocation."""
        self._world = world
        self._problems = problems
        self._runner = runner
        self._tasks: dict[_Key, asyncio.Task[None]] = {}
        self._tallies: dict[_Key, Tally] = {}
        self._told: dict[str, Tally] = {}

    @property
    def told(self) -> Mapping[str, Tally]:
        """What to report, by allocation id."""
        return self._told

    def follow(self, target: Target, tasks: asyncio.TaskGroup) -> None:
        """Ask what a target says, and nothing else any more."""
        if not (target.inquiries or self._tasks):
            return
        wanted = {
            (allocation.id, inquiry)
            for inquiry in target.inquiries
            for allocation in target.allocations
            if allocation.service == inquiry.service and allocation.version in inquiry.versions
        }
        for key in self._tasks.keys() - wanted:
            self._tasks.pop(key).cancel()
            self._tallies.pop(key, None)
            self._told.pop(key[0], None)
            self._problems.set(_part(key[0]), "")
        for key in wanted - self._tasks.keys():
            self._tasks[key] = tasks.create_task(self._ask(key))

    async def _ask(self, key: _Key) -> None:
        """Ask one instance over and over, whether earlier questions are answered or not."""
        clock, (name, inquiry) = self._world.clock, key
        self._tallies[key] = Tally(inquiry=inquiry.id)
        open_: set[asyncio.Task[None]] = set()
        told = self._turn(inquiry)
        try:
            while True:
                turns = EACH_SECONDS * len(self._tasks)
                await clock.sleep(max(inquiry.interval_ms / 1000, turns))
                if len(open_) < inquiry.at_once:
                    question = asyncio.create_task(self._ask_once(key))
                    open_.add(question)
                    question.add_done_callback(open_.discard)
                turn = self._turn(inquiry)
                if turn != told and self._tallies[key].asked:
                    told, self._told[name] = turn, self._tallies[key]
        finally:
            for question in tuple(open_):
                question.cancel()

    def _turn(self, inquiry: Inquiry) -> int:
        """Return a number that changes when it is time to tell, for all instances at once."""
        return int(self._world.clock.monotonic() * 1000 // inquiry.tell_ms)

    async def _ask_once(self, key: _Key) -> None:
        """Count what a ready instance answers; who is not ready any more is not blamed."""
        name, inquiry = key
        runner = self._runner(name)
        if runner is None or not runner.ready or not runner.instance or not runner.order:
            return
        instance, clock = runner.instance, self._world.clock
        addresses = tuple(each.ip for each in runner.order.spec.service_addresses)
        with self._problems.watch(_part(name)):
            asked_at = clock.monotonic()
            said = await self._world.prober.probe(instance, inquiry.probe, addresses)
            took_ms = (clock.monotonic() - asked_at) * 1000
            tally = self._tallies.get(key)
            if tally is None or not _still(runner, instance):
                return
            self._tallies[key] = (
                tally.with_failure(shortened(said.failure, FAILURE_MAX))
                if said.failure
                else tally.with_answer(took_ms)
            )


def _still(runner: Runner, instance: Instance) -> bool:
    """Return whether an instance that was asked is ready now, too."""
    return runner.ready and runner.instance is instance


def _part(name: str) -> str:
    """Return what goes wrong with an inquiry, as problems call it."""
    return f"inquiry of {name}"
