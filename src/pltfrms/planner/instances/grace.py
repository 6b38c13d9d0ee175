"""Decide how long an instance may take to start. Pure.

A fixed time is too short for a start that has much to do, such as to read a log again, and too
long for one that hangs. Who may take longer says how far it is in its answers.
"""

from dataclasses import dataclass

from pltfrms.model.services.service import Probe


@dataclass(frozen=True, slots=True)
class Grace:
    """What an instance has said since its start."""

    words: str = ""
    """How it last answered that it is not healthy yet."""
    moved_at: float | None = None
    """When it last answered something new; None: it has not."""

    def heard(self, words: str, since: float, probe: Probe, now: float) -> "Grace":
        """Return what is remembered after an answer; without words there was none.

        Nothing new counts any more `grace_max_ms` after the start.
        """
        over = (now - since) * 1000 >= probe.grace_max_ms
        return self if over or not words or words == self.words else Grace(words, now)


NOTHING_HEARD = Grace()


def in_grace(grace: Grace, since: float, probe: Probe, now: float) -> bool:
    """Return whether an instance that was started at `since` may still not be healthy."""
    begun = since if grace.moved_at is None else grace.moved_at
    return now - begun < probe.grace_ms / 1000
