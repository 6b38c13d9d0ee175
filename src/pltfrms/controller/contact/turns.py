"""Whose turn it is to put a new routing policy in force: one edge after the other."""

import structlog

from pltfrms.controller.contact.view import View
from pltfrms.errors import UnavailableError
from pltfrms.model.network.topology import Role
from pltfrms.model.running.state import MachineStatus
from pltfrms.planner.routing.turns import routing_turn, wants_turn

_log = structlog.get_logger(__name__)


class Turns:
    """Gives turns. Every controller gives the same, for all see the same statuses."""

    def __init__(self, view: View) -> None:
        """Judge by what `view` shows."""
        self._view = view

    def turn(self, status: MachineStatus) -> str:
        """Return the fingerprint of the policy that a machine may put in force now.

        It is the one that the machine says it wants: of another version than ours, it may
        render the same platform otherwise. Empty if it is not its turn, or if that is not
        known: while the store does not answer, and while the network is frozen. Never raises:
        a heartbeat must not fail by it.
        """
        machine = self._view.machine(status.machine)
        if machine is None or not machine.has(Role.EDGE) or not wants_turn(status.routing):
            return ""  # at once: nearly all heartbeats are of this kind
        try:
            stored = self._view.stored()
            needed = stored.platform_revision
            snapshot = self._view.snapshot()
            # The mirror may not show yet what this machine has just said.
            statuses = {**snapshot.statuses, status.machine: status}
            never_heard = {
                edge.name
                for edge in snapshot.platform.machines_of(Role.EDGE)
                if not stored.has_heard_of(edge.name)
            }
            turn = routing_turn(snapshot, statuses, needed, never_heard)
        except UnavailableError:
            return ""
        except Exception:  # noqa: BLE001 - a bug here must not end heartbeats
            _log.exception("turn not known", machine=status.machine)
            return ""
        return status.routing.wanted if turn.machine == status.machine else ""
