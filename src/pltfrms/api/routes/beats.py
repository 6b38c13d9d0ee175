"""Heartbeats as they come: what a machine says again word for word is not read again."""

from fastapi import Request

from pltfrms.api.bounds.callers import Caller, CallerKind
from pltfrms.codec import decode
from pltfrms.controller.asked.operations import Operations
from pltfrms.model.messages.api import Heartbeat


class HeartbeatReader:
    """Reads heartbeats, and remembers the last of each machine that the platform has."""

    def __init__(self, operations: Operations) -> None:
        """Know the machines of a controller's platform."""
        self._view = operations.controller.view
        self._last: dict[str, tuple[bytes, Heartbeat]] = {}

    def read(self, text: bytes, machine: str) -> Heartbeat:
        """Return what a machine says, whose name is empty where that is not known.

        Raises:
            UsageError: it is no heartbeat.
        """
        said, beat = self._last.get(machine, (b"", None))
        if beat is not None and said == text:
            return beat
        beat = decode(Heartbeat, text)
        if self._view.machine(machine) is not None:
            self._last[machine] = (text, beat)
        return beat


def asking(request: Request) -> str:
    """Return the name of the machine of ours that asks; empty: it is none, or not known."""
    caller: Caller | None = getattr(request.state, "caller", None)
    return caller.name if caller and caller.kind is CallerKind.MACHINE else ""
