"""The seam to controllers, as an agent sees them."""

from typing import Protocol

from pltfrms.model.messages.api import Heartbeat, HeartbeatReply, LeasesAsk, LeasesReply
from pltfrms.model.running.plan import Target
from pltfrms.model.running.vantage import VantageReply, VantageReport


class ControlPlane(Protocol):
    """Any controller that answers, nearest first. Raises UnavailableError when none does."""

    async def heartbeat(self, heartbeat: Heartbeat) -> HeartbeatReply:
        """Say that the machine lives."""
        ...

    async def target(self, current: Target, after: int, wait_ms: int) -> Target | None:
        """Return another target than `current`, of a newer generation than `after`.

        Waits up to `wait_ms` for it; else None.

        Raises:
            VersionError: there is a newer one, and this version does not understand it fully.
        """
        ...

    async def report(self, report: VantageReport, token: str = "") -> VantageReply:
        """Tell every controller what a vantage point has seen."""
        ...

    async def leases(self, ask: LeasesAsk) -> LeasesReply:
        """End leases of an instance of this machine that has ended; return the others."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
