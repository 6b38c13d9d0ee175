"""Where replicas go that keep volumes: a replica follows its volume, never the other way.

At no time do two allocations have one volume. So a new version stops the old one first, and a
replica whose node is lost waits for it, until `lost_after`: then the volume is given up, and
stays recorded, and the replica begins elsewhere with nothing. Of a service one volume is given
up at a time, and of a replica one, until an operator has released that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pltfrms.model.durations import short_duration
from pltfrms.model.running.plan import Allocation, Reason
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.model.running.volumes import Volume, VolumeState
from pltfrms.model.services.service import Service
from pltfrms.planner.placement.drafting.draft import Draft, cpu_milli
from pltfrms.planner.placement.drafting.loss import is_braked
from pltfrms.planner.placement.drafting.placement import Wish, best_node, place, place_on


def patiences(snapshot: Snapshot) -> tuple[float, ...]:
    """Return for how long nodes may be lost before volumes are given up, in seconds."""
    known = (each.spec.storage for each in snapshot.services.values())
    times = {each.lost_after_ms for each in known if each}
    return tuple(sorted(each / 1000 for each in times if each is not None))


def place_by_volume(draft: Draft, wish: Wish, allocations: Sequence[Allocation]) -> None:
    """Place a replica where its volume is; elsewhere only if that is given up now.

    `allocations` are those that it has, all on nodes that are lost or not ours any more.
    """
    held = draft.held(wish.about)
    if held is None:
        return
    node, contact = draft.nodes.get(held.node), draft.contact(held.node)
    if node is None or contact is Contact.LOST:
        _give_up(draft, wish, held, allocations)
    elif contact is Contact.UNKNOWN or node.name in draft.drained_nodes:
        drained = contact is Contact.PRESENT
        how = "is drained" if drained else "is not heard of now, and perhaps lives"
        _wait(draft, wish, held, how)
    else:
        there = replace(wish, reason=Reason.VOLUME_THERE, replaces=None)
        place(draft, wish if allocations else there, (node,))


def _give_up(draft: Draft, wish: Wish, held: Volume, allocations: Sequence[Allocation]) -> None:
    why_not = _why_kept(draft, wish, held)
    if why_not:
        _wait(draft, wish, held, why_not)
        return
    wish = replace(wish, reason=Reason.VOLUME_GIVEN_UP, replaces=None)
    node = best_node(draft, wish, draft.open(wish.datacenter))
    if node is None:
        return
    for old in tuple(allocations):
        draft.stop(old, Reason.VOLUME_GIVEN_UP)
    known = held.node in draft.nodes
    why = f"{held.node} was lost for too long" if known else f"{held.node} is no node any more"
    place_on(draft, wish, node, replace(held, state=VolumeState.GIVEN_UP, why=why))


def _why_kept(draft: Draft, wish: Wish, held: Volume) -> str:
    """Return why a volume of a node that is gone is not given up now; empty: it may be."""
    if held.node in draft.nodes:
        storage = wish.service.spec.storage
        patience_ms = storage.lost_after_ms if storage else None
        if patience_ms is None:
            return "is lost; it is never given up by itself: the service has no lost_after"
        if draft.snapshot.machines[held.node].since_seconds * 1000 < patience_ms:
            return f"is lost; it is given up after {short_duration(patience_ms / 1000)}"
        if is_braked(draft, held.datacenter) and held.node not in draft.dead:
            return "is lost, with so many others that nothing is moved"
    others = _given_up(draft, held.service)
    before = next((each for each in others if each.about == held.about), None)
    if before is not None:
        return f"is lost; {before.id} was given up already, and is not released yet"
    beginning = next((each for each in others if not _has_begun(draft, each)), None)
    if beginning is not None:
        return f"is lost; {beginning.about} gave up its own, and is not ready yet elsewhere"
    return ""


def _given_up(draft: Draft, service: str) -> list[Volume]:
    """Return what a service has given up, with what this plan gives up, by id."""
    known = {each.id: each for each in draft.snapshot.volumes.values()}
    known |= {each.id: each for each in draft.given_up}
    return [
        each
        for _, each in sorted(known.items())
        if each.service == service and each.state is VolumeState.GIVEN_UP
    ]


def _has_begun(draft: Draft, lost: Volume) -> bool:
    """Return whether a replica that gave up a volume is ready again, or not wanted any more."""
    service = draft.snapshot.services[lost.service]
    if lost.replica > draft.wanted(service).get(lost.datacenter, 0):
        return True
    found = draft.replicas(lost.service, lost.datacenter).get(lost.replica, [])
    return any(map(draft.ready, found))


def _wait(draft: Draft, wish: Wish, held: Volume, how: str) -> None:
    draft.note(wish.about, Reason.VOLUME_WAITED_FOR, f"{held.id}: {held.node} {how}")


def note_staying(draft: Draft, allocation: Allocation) -> None:
    """Say that a replica does not leave its node, although that is drained."""
    about = f"{allocation.service}.{allocation.datacenter}.{allocation.replica}"
    detail = f"{allocation.volume} is on {allocation.node}: it serves until that goes down"
    draft.note(about, Reason.VOLUME_STAYS, detail)


def replace_in_place(draft: Draft, wish: Wish, old: Allocation) -> None:
    """Stop an allocation and start its successor where its volume is, if all others serve.

    One that does not serve anyway waits for nobody.
    """
    node, held = draft.nodes[old.node], draft.held(wish.about)
    its = draft.replicas(old.service, old.datacenter)[old.replica]
    if held is None or held.id != old.volume or len(its) > 1:
        return
    if draft.ready(old) and not all(_others_serve(draft, wish.service, wish.about)):
        return
    if not _fits_instead(draft, wish, old):
        detail = f"{held.node}, where its volume is, has no room for version {wish.version}"
        draft.note(wish.about, Reason.NO_CAPACITY, detail)
        return
    draft.stop(old, Reason.IN_PLACE)
    place_on(draft, replace(wish, reason=Reason.VOLUME_THERE, replaces=None), node)


def _others_serve(draft: Draft, service: Service, about: str) -> Iterable[bool]:
    """Yield of each other replica that has a volume, or runs, whether it serves."""
    for datacenter, count in draft.wanted(service).items():
        found = draft.replicas(service.name, datacenter)
        for replica in range(1, count + 1):
            name = f"{service.name}.{datacenter}.{replica}"
            if name != about and (replica in found or draft.held(name)):
                yield any(map(draft.ready, found.get(replica, ())))


def _fits_instead(draft: Draft, wish: Wish, old: Allocation) -> bool:
    """Return whether a node has room for a successor once the old one is gone."""
    load, before = draft.loads[old.node], wish.service.run_of(old.version)
    cpu = load.cpu_milli - cpu_milli(before.cpu) + cpu_milli(wish.run.cpu)
    memory = load.memory_bytes - before.memory_bytes + wish.run.memory_bytes
    node = draft.nodes[old.node]
    enough = cpu <= draft.cpu_milli_of[node.name] and memory <= node.memory_bytes
    return enough and draft.has_slot(node, wish.service)
