"""Guards of machines that leave the platform: what they carry is moved away first. Pure.

A machine that is taken out at once is forgotten by its neighbours while clients still use it:
connections to its instances end, and an edge goes on announcing to neighbours of its own until
it finds itself alone. One that nobody hears any more carries nothing that could be moved.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from pltfrms.model.messages.guards import Guard, Verdict
from pltfrms.model.network.interventions import DrainPhase
from pltfrms.model.network.topology import Machine, Platform, Role
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.model.running.volumes import VolumeState
from pltfrms.planner.changes.change import renamed


def judge_removals(before: Snapshot, after: Snapshot, now_ms: int) -> tuple[Verdict, ...]:
    """Return what speaks against taking out the machines that `after` does not have.

    To give a machine another name is to take it out, too; and who calls a datacenter otherwise
    takes out its replicas. `now_ms` is Unix time.
    """
    return (
        *_controllers(before, after),
        *_machines(before, after, now_ms),
        *_replicas(before, after, now_ms),
    )


def _controllers(before: Snapshot, after: Snapshot) -> Iterator[Verdict]:
    """Yield that of the controllers that stay nobody is heard: then nobody could add others."""
    old, new = (
        {machine.name for machine in each.platform.machines_of(Role.CONTROLLER)}
        for each in (before, after)
    )
    staying = sorted(old & new)
    if old - new and not any(before.contact(name) is Contact.PRESENT for name in staying):
        yield Verdict(
            guard=Guard.MAINTENANCE_LOCK,
            about="platform",
            sentence=(
                f"of the controllers only {', '.join(staying)} would stay, and is not in "
                "contact: nobody would know the store; repair that first, or keep another one"
            ),
        )


def judge_signers(
    before: Platform, after: Platform, until_ms: Mapping[str, int], now_ms: int
) -> tuple[Verdict, ...]:
    """Return what speaks against taking out who alone can sign machines' certificates.

    `until_ms` says until when a controller can, by its name, of those that have told.
    """
    old, new = (
        {machine.name for machine in each.machines_of(Role.CONTROLLER)}
        for each in (before, after)
    )
    signing = {name for name, until in until_ms.items() if until > now_ms and name in old}
    if not signing - new or signing & new:
        return ()
    return (
        Verdict(
            guard=Guard.MAINTENANCE_LOCK,
            about="platform",
            sentence=(
                f"of the controllers only {', '.join(sorted(signing))} can sign certificates, "
                "and no machine could join or renew its own any more; have one that stays sign "
                "first, there: `pltfrms controller authority --root-key FILE`"
            ),
        ),
    )


def _machines(before: Snapshot, after: Snapshot, now_ms: int) -> tuple[Verdict, ...]:
    left = {machine.name for machine in after.platform.machines}
    gone = [
        machine
        for machine in before.platform.managed
        if machine.name not in left and before.contact(machine.name) is not Contact.LOST
    ]
    if not gone:
        return ()
    carried = Counter(each.node for each in before.allocations.values())
    staying = {
        machine.datacenter
        for machine in before.platform.managed
        if machine.name in left and machine.has(Role.NODE)
    }
    return tuple(
        Verdict(guard=Guard.MAINTENANCE_LOCK, about=f"machine/{machine.name}", sentence=why)
        for machine in gone
        for why in (
            *_as_holder(before, machine),
            *_as_edge(before, machine, now_ms),
            *_as_node(
                before,
                machine,
                now_ms,
                carried=carried[machine.name],
                alone=machine.datacenter not in staying,
            ),
        )
    )


def _replicas(before: Snapshot, after: Snapshot, now_ms: int) -> Iterator[Verdict]:
    """Yield which datacenters are to be called otherwise while clients use what runs there."""
    places = (before.platform.datacenters, after.platform.datacenters)
    for old, new in renamed(*places):
        carried = sum(each.datacenter == old for each in before.allocations.values())
        drained = any(
            drain.datacenter == old and drain.phase(now_ms) is DrainPhase.WITHDRAWN
            for drain in before.interventions.drains
        )
        if carried and not drained:
            yield Verdict(
                guard=Guard.MAINTENANCE_LOCK,
                about=f"datacenter/{old}",
                sentence=(
                    f"{_count(carried, 'replica')} would end at once and begin anew as those "
                    f"of {new}: drain it first, `pltfrms datacenter drain {old}`"
                ),
            )
        held = _held(before, datacenter=old)
        if held:
            yield Verdict(
                guard=Guard.MAINTENANCE_LOCK,
                about=f"datacenter/{old}",
                sentence=(
                    f"the replicas of {new} would begin with nothing, and these volumes be of "
                    f"nobody: {held}; move what is in them, then `pltfrms volume release`"
                ),
            )


def _held(before: Snapshot, *, node: str = "", datacenter: str = "") -> str:
    """Return the names of the volumes that replicas have there."""
    found = (each for each in before.volumes.values() if each.state is VolumeState.HELD)
    here = (each.id for each in found if node == each.node or datacenter == each.datacenter)
    return ", ".join(sorted(here))


def _as_edge(before: Snapshot, edge: Machine, now_ms: int) -> Iterator[str]:
    drains = before.interventions
    is_open = [
        name
        for name, (peer, session) in zip(
            before.platform.session_names(edge.name),
            before.platform.sessions_of(edge.name),
            strict=True,
        )
        if drains.drain_of(peer.name, edge, session.interface, now_ms)
        is not DrainPhase.WITHDRAWN
    ]
    if is_open:
        yield (
            f"{_count(len(is_open), 'session')} of it with the outside would be left open:"
            f" drain it first, `pltfrms edge drain {edge.name}`"
        )


def _as_holder(before: Snapshot, node: Machine) -> Iterator[str]:
    held = _held(before, node=node.name)
    if held:
        yield (
            f"its volumes would be given up: {held}; release them first, `pltfrms "
            "volume release`, once nobody needs them"
        )


def _as_node(
    before: Snapshot, node: Machine, now_ms: int, *, carried: int, alone: bool
) -> Iterator[str]:
    """Yield what speaks against it; a node that leaves its datacenter none never gets empty."""
    drained = any(
        drain.datacenter == node.datacenter and drain.holds(now_ms)
        for drain in before.interventions.drains
    )
    if carried and not drained and node.has(Role.NODE):
        how = (
            f"its datacenter keeps no other node, so drain that first,"
            f" `pltfrms datacenter drain {node.datacenter}`"
            if alone
            else f"drain it first, `pltfrms node drain {node.name}`, until it is empty"
        )
        yield f"{_count(carried, 'instance')} on it would lose connections: {how}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
