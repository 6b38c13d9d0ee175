"""Who is not heard by its neighbours any more, before its heartbeat is late. Pure.

A session that BFD watches ends within a second of a machine's death; a lease lives for longer.
What neighbours say judges nobody: until controllers have, the machine is not known to live.
"""

from collections import defaultdict
from collections.abc import Mapping

from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.running.state import MachineStatus

_EDGE = "edge."
_WITNESSES_MIN = 2
"""One alone may be the one that is cut off."""


def missing_machines(
    platform: Platform, present: Mapping[str, MachineStatus]
) -> dict[str, str]:
    """Return why machines in contact are rather not there, by name.

    `present` are the statuses of machines in contact: all of them that had, or should have, a
    session with the machine say that there is none.
    """
    said: defaultdict[str, dict[str, bool]] = defaultdict(dict)
    for name, status in present.items():
        for session in status.sessions:
            if session.name.startswith(_EDGE):
                said[session.name.removeprefix(_EDGE)][name] = session.up
    for node in platform.machines_of(Role.NODE):
        for edge in platform.machines_of(Role.EDGE, node.datacenter):
            missed = present[edge.name].missed if edge.name in present else None
            if missed is not None:
                said[node.name][edge.name] = node.name not in missed
    return {
        name: _sentence(witnesses)
        for name, witnesses in said.items()
        if len(witnesses) >= _WITNESSES_MIN and not any(witnesses.values())
    }


def _sentence(witnesses: Mapping[str, bool]) -> str:
    several = f"none of {len(witnesses)} machines that should hear it does"
    return f"{several}; its heartbeat is not late yet"
