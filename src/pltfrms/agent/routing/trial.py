"""Drive one trial of a routing configuration: begin, look, and confirm or go back."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from pltfrms.agent.world import World
from pltfrms.errors import ConflictError, UnavailableError
from pltfrms.model.addresses import Prefix
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.topology import Platform
from pltfrms.planner.routing.trial import Before, Observation, Trial, TrialAction, expect, judge

LOOK_SECONDS: Final = 0.5
ANSWERED_SECONDS: Final = 10.0
"""A controller that answered within this time before the trial must answer again."""
_SESSION = re.compile(r"^protocol bgp '([^']+)'", re.MULTILINE)
_NEIGHBOUR = re.compile(r"^protocol bgp '([^']+)'[^}]*?^  neighbou?r ([^;]+);", re.MULTILINE)
"""A session, and the address and ASN of its neighbour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What is tried."""

    machine: str
    platforms: tuple[Platform, Platform]
    """Whose policy runs, and whose is wanted."""
    interventions: Interventions
    text: str
    announced: AbstractSet[Prefix]
    """Aggregates that this machine means to announce."""
    controller_at: Callable[[], float | None]
    """Tells when (monotonic) the last heartbeat was sent that a controller has answered."""


async def try_out(world: World, attempt: Attempt) -> str:
    """Put a configuration in force, look, and confirm it; return `` or why it was reverted.

    If we end in between, however, BIRD goes back by itself.

    Raises:
        UnavailableError: BIRD does not answer; nothing was tried.
        InvariantError: BIRD refuses the text.
    """
    answered_at = attempt.controller_at()
    begun_at = world.clock.monotonic()
    before = Before(
        sessions=await world.bird.sessions(),
        announced=attempt.announced,
        controller=answered_at is not None and begun_at - answered_at <= ANSWERED_SECONDS,
        renamed=renamed(await world.bird.running(), attempt.text),
    )
    seconds = attempt.platforms[1].timers.confirm_seconds
    expectation = expect(
        attempt.machine,
        attempt.platforms,
        before,
        frozenset(_SESSION.findall(attempt.text)),
        (attempt.interventions, world.clock.unix_ms()),
    )
    await world.bird.apply(attempt.text, revert_after_seconds=seconds)
    trial = Trial(expectation=expectation, begun_at=begun_at, deadline_at=begun_at + seconds)
    try:
        return await _watch(world, attempt, trial)
    except Exception:
        await world.bird.revert()
        raise


def renamed(old: str, new: str) -> Mapping[str, str]:
    """Return which sessions get another name with the same neighbour: the new by the old."""
    before, after = _neighbours(old), _neighbours(new)
    return {
        name: after[neighbour]
        for neighbour, name in before.items()
        if after.get(neighbour, name) != name
    }


def _neighbours(text: str) -> Mapping[str, str]:
    """Return the names of the sessions of a configuration by their neighbours.

    Without neighbours that several sessions have, such as the same link-local address on
    several ports.
    """
    found: Sequence[tuple[str, str]] = _NEIGHBOUR.findall(text)
    count = Counter(neighbour for _, neighbour in found)
    return {neighbour: name for name, neighbour in found if count[neighbour] == 1}


async def _watch(world: World, attempt: Attempt, trial: Trial) -> str:
    while True:
        trial, judgement = judge(trial, await _observe(world, attempt))
        if judgement is TrialAction.BAD:
            return f"{trial.lack} ({await world.bird.revert()})"
        if judgement is TrialAction.GOOD:
            try:
                await world.bird.confirm()
            except ConflictError as error:
                return str(error)
            except UnavailableError:
                pass  # it may answer when it is looked at next, which is before the deadline
            else:
                return ""
        await world.clock.sleep(LOOK_SECONDS)


async def _observe(world: World, attempt: Attempt) -> Observation:
    try:
        sessions = await world.bird.sessions()
    except UnavailableError:
        sessions = None
    return Observation(
        at=world.clock.monotonic(), sessions=sessions, controller_at=attempt.controller_at()
    )
