"""Whether this machine's clock and the controllers' agree."""

from typing import Final

from pltfrms.agent.problems import Problems
from pltfrms.model.messages.api import HeartbeatReply

TOLERANCE_MS: Final = 2000
"""Clocks that differ for sure by so much are a problem: ends of drains, blackholes and keys
come by the clock, and times of events are compared by people."""
SOLVED_MS: Final = 1000
"""The problem ends below this."""
_PART: Final = "clock"


class ClockSkew:
    """Compares the clocks at every heartbeat that is answered.

    The controller looked at its clock between the sending and the answer. So a slow network
    makes the difference less sure, and never makes one.
    """

    def __init__(self, problems: Problems) -> None:
        """Know of no difference."""
        self._problems = problems
        self.ahead_seconds = 0
        """How far this machine's clock is ahead; negative: behind; 0: not that we know."""

    def hear(self, reply: HeartbeatReply, sent_ms: int, heard_ms: int) -> None:
        """Take an answer, with the Unix time here before and after it."""
        if not reply.unix_ms:
            return  # a controller of a release that did not say it
        ahead_ms = _surely_ahead_ms(reply.unix_ms, sent_ms, heard_ms)
        if abs(ahead_ms) < (SOLVED_MS if self.ahead_seconds else TOLERANCE_MS):
            self.ahead_seconds = 0
            self._problems.set(_PART, "")
        elif abs(ahead_ms - 1000 * self.ahead_seconds) >= TOLERANCE_MS:
            self.ahead_seconds = round(ahead_ms / 1000)
            self._problems.set(_PART, _sentence(self.ahead_seconds, reply.controller))


def _surely_ahead_ms(controller_ms: int, sent_ms: int, heard_ms: int) -> int:
    """Return the least difference that explains what was seen; negative: behind."""
    if sent_ms > controller_ms:
        return sent_ms - controller_ms
    return min(heard_ms - controller_ms, 0)


def _sentence(ahead_seconds: int, controller: str) -> str:
    where = "ahead of" if ahead_seconds > 0 else "behind"
    return (
        f"this machine's clock is {abs(ahead_seconds)} s {where} that of controller "
        f"{controller}; have both follow NTP"
    )
