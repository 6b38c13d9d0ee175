"""How long certificates are good for. All times are Unix times."""

from dataclasses import dataclass
from typing import Final

DAY_MS: Final = 86_400_000
ROOT_MS: Final = 3653 * DAY_MS
AUTHORITY_MS: Final = 366 * DAY_MS
LEAF_MS: Final = 30 * DAY_MS
EARLY_MS: Final = DAY_MS
"""A certificate is good from a day before it was made, for clocks that are behind."""
WARN_MS: Final = 90 * DAY_MS
"""So long before the end of what signs certificates somebody is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """From when to when a certificate is good."""

    not_before_ms: int
    not_after_ms: int

    def holds(self, now_ms: int) -> bool:
        """Return whether it is good now."""
        return self.not_before_ms <= now_ms < self.not_after_ms


def leaf_life(authority: Life, now_ms: int) -> Life | None:
    """Return the life of a machine's certificate that is made now; None: none may be made.

    By a clock at which the signer itself is not good, nothing is signed: the clock may be
    wrong. What is signed is good for no longer than the signer.
    """
    if not authority.holds(now_ms):
        return None
    return Life(
        not_before_ms=max(authority.not_before_ms, now_ms - EARLY_MS),
        not_after_ms=min(authority.not_after_ms, now_ms + LEAF_MS),
    )
