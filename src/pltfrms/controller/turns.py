"""Whose turn it is to put a new routing policy in force: one edge after the other."""

import asyncio

import structlog

from pltfrms.controller.view import View
from pltfrms.errors import UnavailableError
from pltfrms.model.state import MachineStatus, Snapshot
from pltfrms.model.topology import Platform, Role
from pltfrms.planner.turns import routing_turn
from pltfrms.render.bird import policy_fingerprint

_log = structlog.get_logger(__name__)


class Turns:
    """Gives turns. Every controller gives the same, for all see the same statuses."""

    def __init__(self, view: View) -> None:
        """Judge by what `view` shows."""
        self._view = view
        self._platform: Platform | None = None
        self._fingerprints: dict[str, str] = {}

    async def turn(self, status: MachineStatus) -> str:
        """Return the fingerprint of the policy that a machine may put in force now.

        Empty if it is not its turn, or if that is not known: while the store does not answer,
        and while the network is frozen. Never raises: a heartbeat must not fail by it.
        """
        try:
            snapshot = self._view.snapshot()
            return await self._turn(snapshot, status)
        except UnavailableError:
            return ""
        except Exception:  # noqa: BLE001 - a bug in rendering must not end heartbeats
            _log.exception("turn not known", machine=status.machine)
            return ""

    async def _turn(self, snapshot: Snapshot, status: MachineStatus) -> str:
        edges = _managed(snapshot.platform)
        if status.machine not in edges:
            return ""
        wanted = await self._wanted(snapshot.platform, edges)
        # The mirror may not show yet what this machine has just said.
        statuses = {**snapshot.statuses, status.machine: status}
        turn = routing_turn(snapshot.platform, wanted, statuses, snapshot)
        return wanted[status.machine] if turn.machine == status.machine else ""

    async def _wanted(self, platform: Platform, edges: tuple[str, ...]) -> dict[str, str]:
        """Return the fingerprint of every edge; each is rendered once per platform."""
        if platform is not self._platform:
            self._platform, self._fingerprints = platform, {}
        fingerprints = self._fingerprints
        for edge in edges:
            if edge not in fingerprints:
                fingerprints[edge] = policy_fingerprint(platform, edge)
                await asyncio.sleep(0)  # some milliseconds each: others are served between
        return fingerprints


def _managed(platform: Platform) -> tuple[str, ...]:
    return tuple(e.name for e in platform.machines_of(Role.EDGE) if not e.external)
