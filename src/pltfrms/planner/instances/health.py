"""Decide from probe results where an instance is in its life, and when it is restarted.

Pure: the state goes in, the next state comes out; `now` is in monotonic seconds.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from pltfrms.model.running.state import Phase
from pltfrms.model.services.service import Probe
from pltfrms.planner.instances.grace import NOTHING_HEARD, Grace, in_grace

START_INTERVAL_MS: Final = 50
"""A starting instance is asked this often: every instant until READY is lost capacity."""
FIRST_BACKOFF_SECONDS: Final = 0.5
MAX_BACKOFF_SECONDS: Final = 30.0
_CLOCK_ERROR: Final = 1e-4
"""Seconds by which who was to be asked at an instant may be asked before it."""
_SHORTEST_SHARE: Final = 0.4
"""Of its interval a probe waits for at least."""
LOOK_SECONDS: Final = 0.5
"""An instance that answers, unwell, may serve while nobody better does. So long, or as long as
a probe's interval, it is seen whether others are no better, before it is restarted."""
_STOOD_BY_SECONDS: Final = 5.0
"""An agent that starts anew has heard by then how others are."""
FORGIVE_AFTER_SECONDS: Final = 60.0
"""An instance that was READY this long restarts at once again."""
_NEVER: Final = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """All that is remembered about one instance between two probes."""

    phase: Phase
    since: float
    """When the phase began."""
    successes: int = 0
    failures: int = 0
    """In a row, since the phase began."""
    restarts: int = 0
    """Ever."""
    streak: int = 0
    """Restarts that are not forgiven yet; makes the back-off."""
    resume_at: float = 0.0
    """In UNHEALTHY and BACKOFF: when to restart, if ever."""
    sentence: str = ""
    """The last thing that happened to it."""
    failure: str = ""
    """How it failed last; see `failure_of` for whether that still counts."""
    unwell: bool = False
    """The last probe that failed was answered, though not as a healthy one does."""
    lifeless: bool = False
    """It has failed the probe that tells whether it lives, and not succeeded since."""
    start: Grace = NOTHING_HEARD
    """What it has said since its start."""
    share: float = 0.0
    """Of its id, 0 to 1: what many instances wait for at once, each waits for a little more or
    less, so that they do not all begin at one instant."""


def first_start(now: float, share: float = 0.0) -> Health:
    """Return the state of an instance that is started for the first time."""
    return Health(phase=Phase.STARTING, since=now, sentence="started", share=share)


def adopted(
    now: float, *, announced: bool, stood_by: bool = False, share: float = 0.0
) -> Health:
    """Return the state of an instance that already ran when the agent started.

    Whether it is healthy is unknown, so what is stays: READY if it is announced, and standing
    by, restarted once already, if it `stood_by`.
    """
    if stood_by:
        sentence = "found running and standing by"
        health = Health(
            phase=Phase.UNHEALTHY,
            since=now,
            unwell=True,
            streak=1,
            sentence=sentence,
            share=share,
        )
        return replace(health, resume_at=now + _STOOD_BY_SECONDS)
    if announced:
        sentence = "found running and announced"
        return Health(phase=Phase.READY, since=now, sentence=sentence, share=share)
    sentence = "found running, not announced"
    return Health(phase=Phase.STARTING, since=now, sentence=sentence, share=share)


def probed(
    health: Health, probe: Probe, now: float, failure: str, *, unwell: bool = False
) -> Health:
    """Return the state after one probe; `failure` is empty if it succeeded.

    `unwell`: it answered, but not as a healthy one. One that stands by does so until it is
    ready: its first success takes no traffic from it.
    """
    if failure:
        failures = health.failures + 1
        health = replace(health, failures=failures, successes=0, unwell=unwell)
    else:
        health = replace(health, successes=health.successes + 1, failures=0)
    health = _judged(health, probe, now, failure)
    stays = probe.only_announces and not health.lifeless
    if stays and health.phase is Phase.UNHEALTHY:
        return replace(health, resume_at=_NEVER)
    return health


def lost(
    health: Health, probe: Probe, now: float, sentence: str, *, unwell: bool = False
) -> Health:
    """Return the state of one that has failed the probe which tells whether it lives.

    `unwell`: it answered that probe. It is restarted as if it had failed its only one.
    """
    health = replace(health, lifeless=True, unwell=unwell)
    return _failed(health, Phase.UNHEALTHY, now, sentence, _look_seconds(health, probe))


def found_alive(health: Health) -> Health:
    """Return the state of one that was lost, and answers again before its restart."""
    return replace(health, lifeless=False, resume_at=_NEVER)


def ended(health: Health, now: float, how: str) -> Health:
    """Return the state after the instance ended by itself, or could not be started."""
    return _failed(health, Phase.BACKOFF, now, how)


def restarted(health: Health, now: float) -> Health:
    """Return the state of a new start after a failure."""
    return Health(
        phase=Phase.STARTING,
        since=now,
        restarts=health.restarts + 1,
        streak=health.streak + 1,
        sentence=f"restarted: {health.sentence}",
        failure=health.failure,
        share=health.share,
    )


def stands_by(health: Health) -> bool:
    """Return whether it is to serve where nobody better does: it says itself that it is ill."""
    return health.phase is Phase.UNHEALTHY and health.unwell


def held(health: Health, probe: Probe, now: float) -> Health:
    """Return the state of one that is not restarted for now.

    Others are no better, or it is about to be well.
    """
    return replace(health, resume_at=now + _look_seconds(health, probe))


def withdrawn(health: Health) -> Health:
    """Return the state of one that is about to be restarted, and serves no more."""
    return replace(health, phase=Phase.BACKOFF, unwell=False)


def stopping(health: Health, now: float, why: str) -> Health:
    """Return the state of an instance that is being stopped on purpose.

    If it is to be started once more, from something else, it need not have been restarted.
    """
    resume_at = now if health.resume_at == _NEVER else health.resume_at
    return replace(health, phase=Phase.STOPPING, since=now, sentence=why, resume_at=resume_at)


def draining(health: Health, now: float, why: str) -> Health:
    """Return the state of a ready instance that is to be stopped once its flows have ended."""
    return replace(health, phase=Phase.DRAINING, since=now, sentence=why)


def wanted_again(health: Health, now: float) -> Health:
    """Return the state of an instance whose drain is called off: it was ready before."""
    return _ready(health, now, "wanted again")


def restart_due(health: Health, now: float) -> bool:
    """Return whether the instance is to be restarted now."""
    return health.phase in {Phase.UNHEALTHY, Phase.BACKOFF} and now >= health.resume_at


def failure_of(health: Health, now: float) -> str:
    """Return how an instance failed that has not proved itself since; `` if there is none."""
    going = health.phase in {Phase.DRAINING, Phase.STOPPING}
    proven = health.phase is Phase.READY and now - health.since >= FORGIVE_AFTER_SECONDS
    return "" if going or proven else health.failure


def probe_delay_seconds(health: Health, probe: Probe, now: float) -> float:
    """Return how long to wait before the next probe.

    The instances of a node are asked together, at whole intervals of its clock: that costs a
    fraction of asking each at its own instant. So nobody waits longer than the interval, and
    who has answered late is asked in between.
    """
    if health.phase is Phase.STARTING:
        return START_INTERVAL_MS / 1000
    interval = probe.interval_ms / 1000
    ahead = interval + _CLOCK_ERROR - (now + _CLOCK_ERROR) % interval
    soon = ahead < _SHORTEST_SHARE * interval
    return ahead + interval / 2 if soon else ahead


def backoff_seconds(streak: int, share: float = 0.0) -> float:
    """Return the wait before the restart that follows `streak` unforgiven ones.

    0, 0.5, 1, 2, 4 ... 30: the first failure is an accident, the next ones a habit. Guard
    `jittered_recovery`: what ended all of them together does not start all of them together;
    by its `share` each waits for up to half of that less.
    """
    if streak == 0:
        return 0.0
    doublings = min(streak - 1, 16)  # far beyond the maximum; keeps the power small
    whole = min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0**doublings)
    return whole * (1 - share / 2)


def _judged(health: Health, probe: Probe, now: float, failure: str) -> Health:
    if health.phase is Phase.STARTING:
        return _probed_starting(health, probe, now, failure)
    if health.phase is Phase.READY and health.failures >= probe.fall:
        sentence = f"{health.failures} probes failed in a row, the last one: {failure}"
        return _failed(health, Phase.UNHEALTHY, now, sentence, _look_seconds(health, probe))
    rises = health.successes >= probe.rise and not health.lifeless
    if health.phase is Phase.UNHEALTHY and rises:
        return _ready(health, now, f"{health.successes} probes succeeded in a row")
    return health


def _probed_starting(health: Health, probe: Probe, now: float, failure: str) -> Health:
    if not failure:
        return _ready(health, now, "first probe succeeded")
    heard = failure if health.unwell else ""
    health = replace(health, start=health.start.heard(heard, health.since, probe, now))
    if in_grace(health.start, health.since, probe, now):
        return health
    when = "its start" if health.start.moved_at is None else "it last said something new"
    sentence = f"not ready {probe.grace_ms} ms after {when}: {failure}"
    return _failed(health, Phase.UNHEALTHY, now, sentence, _look_seconds(health, probe))


def _ready(health: Health, now: float, sentence: str) -> Health:
    return replace(
        health,
        phase=Phase.READY,
        since=now,
        failures=0,
        unwell=False,
        lifeless=False,
        sentence=sentence,
    )


def _failed(
    health: Health, phase: Phase, now: float, sentence: str, look_seconds: float = 0.0
) -> Health:
    proven = health.phase is Phase.READY and now - health.since >= FORGIVE_AFTER_SECONDS
    streak = 0 if proven else health.streak
    failed_already = health.phase in {Phase.UNHEALTHY, Phase.BACKOFF}
    wait = backoff_seconds(streak, health.share)
    if phase is Phase.UNHEALTHY and health.unwell:
        wait = max(wait, look_seconds)
    resume_at = now + wait
    if failed_already and health.resume_at != _NEVER:
        resume_at = health.resume_at
    return replace(
        health,
        phase=phase,
        since=now,
        successes=0,
        failures=0,
        streak=streak,
        resume_at=resume_at,
        sentence=sentence,
        failure=sentence,
    )


def _look_seconds(health: Health, probe: Probe) -> float:
    """Return how long it takes until others have been asked, too."""
    return max(LOOK_SECONDS, probe.interval_ms / 1000) * (1 + health.share)
