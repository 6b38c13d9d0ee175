"""Which overrides of traffic engineering somebody must look at soon. Pure."""

from pltfrms.model.network.topology import Platform
from pltfrms.model.network.traffic import Override

SOON_MS = 7 * 86_400_000
"""An override that ends within this time, or has ended already, is worth a word."""


def ending_overrides(platform: Platform, now_ms: int) -> tuple[Override, ...]:
    """Return the overrides that end soon or do not hold any more, the earliest end first."""
    ending = [each for each in platform.traffic if 0 < each.until_ms <= now_ms + SOON_MS]
    return tuple(sorted(ending, key=lambda each: each.until_ms))
