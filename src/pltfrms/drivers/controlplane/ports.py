"""The seam to controllers, as an agent sees them."""

from typing import Protocol

from pltfrms.model.messages.api import Heartbeat, HeartbeatReply
from pltfrms.model.running.plan import Target


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

    async def close(self) -> None:
        """Release connections."""
        ...
