"""Who asks services as their clients do, as `platform.yaml` says it."""

from dataclasses import dataclass
from typing import Final

INTERVAL_MS: Final = 10_000
PER_ROUND: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class VantageSpec:
    """What vantage points are asked to ask; what is 0 or empty is as usual.

    A release that does not know it ignores what says nothing.
    """

    off: bool = False
    """No machine asks anything; those outside still do."""
    interval_ms: int = 0
    """Each question is asked this often; 0: INTERVAL_MS."""
    per_round: int = 0
    """So many questions one vantage point asks in that time at most; 0: PER_ROUND."""
    services: tuple[str, ...] = ()
    """Which are asked; empty: all."""
    datacenters: tuple[str, ...] = ()
    """Whose machines ask; empty: those of all."""
    nodes: bool = False
    """Nodes ask, too, and not edges alone."""
    outside: tuple[str, ...] = ()
    """Names of those that run elsewhere, with `pltfrms vantage run`; no others are heard."""

    @property
    def every_ms(self) -> int:
        """How often each question is asked."""
        return self.interval_ms or INTERVAL_MS

    @property
    def most(self) -> int:
        """How many questions a vantage point asks in that time at most."""
        return self.per_round or PER_ROUND
