"""Whether a machine may leave its platform: somebody may count on it. Pure."""

from collections.abc import Iterator

from pltfrms.model.network.interventions import DrainPhase
from pltfrms.model.network.topology import Machine, Role
from pltfrms.model.running.plan import Target
from pltfrms.model.running.volumes import VolumeState


def why_not_leave(target: Target, now_ms: int) -> tuple[str, ...]:
    """Return all that is to be done before a machine leaves; nothing: it may.

    Judged by what it was told last. A machine that is not in the platform any more may leave.
    """
    found = [each for each in target.platform.managed if each.name == target.machine]
    return tuple(reason for machine in found for reason in _reasons(target, machine, now_ms))


def _reasons(target: Target, me: Machine, now_ms: int) -> Iterator[str]:
    name = me.name
    if me.has(Role.CONTROLLER):
        yield (
            f"{name} is a controller, and so a member of the store: give it other roles in "
            "platform.yaml, apply that, and let the others take it out"
        )
    if me.has(Role.NODE):
        if name not in target.interventions.drained_nodes(now_ms):
            yield f"instances may be placed on {name}: pltfrms node drain {name}"
        elif target.allocations:
            many = len(target.allocations)
            yield f"{many} instances are still to run on {name}: wait for the end of its drain"
        held = [each.id for each in target.volumes if each.state is not VolumeState.RELEASED]
        if held:
            yield f"{name} has {', '.join(held)}: pltfrms volume release, if nobody needs them"
    if me.has(Role.EDGE):
        told = [
            peer.name
            for peer in target.platform.peers
            for session in peer.sessions
            if session.edge == name
            and target.interventions.drain_of(peer.name, me, session.interface, now_ms)
            is not DrainPhase.WITHDRAWN
        ]
        if told:
            peers = ", ".join(dict.fromkeys(told))
            yield f"{name} announces to {peers}: pltfrms edge drain {name}, and wait"
