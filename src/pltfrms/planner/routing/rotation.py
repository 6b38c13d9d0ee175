"""Decide which keys an end of a tunnel uses. Pure; times are in Unix seconds.

Both ends take the keys of a new epoch at the same instant. If the far end's agent is down then,
the new keys get no answer: we go back to the ones that worked, and both try again every so
often. While nothing works, both look for the other by the clock: they use the newest keys in
even turns and others in odd ones.
"""

from dataclasses import dataclass, replace
from typing import Final

from pltfrms.model.network.tunnels import FRESH_SECONDS

ANSWER_SECONDS: Final = 10
"""How long keys are tried; two of WireGuard's attempts at a handshake fit in."""
TRIES: Final = 30
"""So many times per epoch two ends that are behind try the newest keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """What an end uses and remembers."""

    epoch: int
    """Of the keys in use."""
    since: float
    worked: int | None = None
    """The last epoch whose keys made a handshake, as far as we have seen."""
    tries: int = 0
    """Number of the last instant at which the newest keys were due."""


def epoch_at(now: float, period_seconds: int) -> int:
    """Return the number of the epoch."""
    return int(now // period_seconds)


def first_keys(found: int | None, now: float, period_seconds: int) -> KeyState:
    """Return the state of an agent that has just started; `found` are the keys in use."""
    epoch = epoch_at(now, period_seconds) if found is None else found
    return KeyState(epoch=epoch, since=now, tries=_tries(now, period_seconds))


def next_keys(
    state: KeyState, now: float, handshake_at: float, period_seconds: int
) -> KeyState:
    """Return which keys to use from now on.

    `handshake_at` is the last handshake with the keys of `state`, 0 if there was none.
    """
    newest, tries = epoch_at(now, period_seconds), _tries(now, period_seconds)
    works = now - handshake_at <= FRESH_SECONDS
    if works:
        state = replace(state, worked=state.epoch)
    due = tries != state.tries
    state = replace(state, tries=tries)
    if due and state.epoch != newest:
        return replace(state, epoch=newest, since=now)
    if works or now - state.since < ANSWER_SECONDS:
        return state
    other = newest - 1 if state.worked is None else state.worked
    epoch = other if int(now // ANSWER_SECONDS) % 2 else newest
    return state if epoch == state.epoch else replace(state, epoch=epoch, since=now)


def seconds_to_next_try(now: float, period_seconds: int) -> float:
    """Return how long it is to the next instant at which the newest keys are due."""
    pause = period_seconds / TRIES
    return pause - now % pause


def _tries(now: float, period_seconds: int) -> int:
    return int(now // (period_seconds / TRIES))
