"""Decide on which node a new allocation goes, or say why there is none."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from pltfrms.model.network.topology import Machine
from pltfrms.model.running.plan import Allocation, Reason
from pltfrms.model.running.volumes import Volume, volume_id
from pltfrms.model.services.service import Run, Service
from pltfrms.planner.placement.drafting.draft import Draft, cpu_milli

_NAMED_MAX = 3
"""Full nodes that a note names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """An allocation that is wanted and has no node yet."""

    service: Service
    datacenter: str
    replica: int
    reason: Reason
    replaces: Allocation | None = None
    version: int = 0
    """0: the service's newest."""

    @property
    def about(self) -> str:
        """The replica's name."""
        return f"{self.service.name}.{self.datacenter}.{self.replica}"

    @property
    def run(self) -> Run:
        """What it is to run, in its version."""
        return self.service.run_of(self.version or self.service.version)

    @property
    def keeps(self) -> bool:
        """Whether it has a volume, in its version."""
        return self.service.keeps(self.version or self.service.version)


def place(draft: Draft, wish: Wish, nodes: Iterable[Machine] | None = None) -> bool:
    """Place the wish on the best of `nodes` (default: all open ones); else note why not."""
    node = best_node(draft, wish, nodes)
    if node is not None:
        place_on(draft, wish, node)
    return node is not None


def best_node(
    draft: Draft, wish: Wish, nodes: Iterable[Machine] | None = None
) -> Machine | None:
    """Return where `place` would place the wish; None, and a note why, if nowhere."""
    allowed = tuple(_open(draft, wish) if nodes is None else nodes)
    if named := wish.service.spec.nodes:
        allowed = tuple(node for node in allowed if node.name in named)
    within = [
        node for node in allowed if _on_node(draft, wish, node) < wish.service.spec.max_per_node
    ]
    fitting = _fitting(draft, wish, within)
    if not fitting:
        _explain(draft, wish, allowed, within)
        return None
    return min(fitting, key=lambda node: _rank(draft, wish, node))


def _open(draft: Draft, wish: Wish) -> Iterable[Machine]:
    """Return where a replica may go at all: with a volume, to that."""
    held = draft.held(wish.about) if wish.keeps else None
    nodes = draft.open(wish.datacenter)
    return nodes if held is None else (each for each in nodes if each.name == held.node)


def place_on(draft: Draft, wish: Wish, node: Machine, gives_up: Volume | None = None) -> None:
    """Place the wish on a node; one that keeps a volume has the one there, or a new one."""
    number = draft.next_number(wish.service.name, wish.datacenter, wish.replica)
    held = draft.held(wish.about) if wish.keeps and gives_up is None else None
    new = Volume(
        id=volume_id(wish.about, number),
        service=wish.service.name,
        datacenter=wish.datacenter,
        replica=wish.replica,
        generation=number,
        node=node.name,
    )
    allocation = Allocation(
        id=f"{wish.about}-{number}",
        service=wish.service.name,
        datacenter=wish.datacenter,
        replica=wish.replica,
        number=number,
        node=node.name,
        slot=draft.free_slot(node, wish.service),
        version=wish.version or wish.service.version,
        reason=wish.reason,
        replaces=wish.replaces.id if wish.replaces else "",
        volume=(held or new).id if wish.keeps else "",
    )
    draft.place(allocation, new if wish.keeps and held is None else None, gives_up)


def _on_node(draft: Draft, wish: Wish, node: Machine) -> int:
    """Count the service's allocations on a node; the one to be replaced counts as gone."""
    replaced = wish.replaces is not None and wish.replaces.node == node.name
    return draft.loads[node.name].services[wish.service.name] - replaced


def _in_rack(draft: Draft, wish: Wish, node: Machine) -> int:
    old = draft.nodes.get(wish.replaces.node) if wish.replaces else None
    replaced = old is not None and (old.datacenter, old.rack) == (node.datacenter, node.rack)
    return draft.in_rack(wish.service.name, node) - replaced


def _fitting(draft: Draft, wish: Wish, nodes: list[Machine]) -> list[Machine]:
    """Return the nodes with enough room; what is to be replaced still runs, so it counts."""
    run = wish.run
    cpu, memory_bytes = cpu_milli(run.cpu), run.memory_bytes
    return [
        node
        for node in nodes
        for load in (draft.loads[node.name],)
        if load.cpu_milli + cpu <= draft.cpu_milli_of[node.name]
        and load.memory_bytes + memory_bytes <= node.memory_bytes
        and draft.has_slot(node, wish.service)
    ]


def _rank(draft: Draft, wish: Wish, node: Machine) -> tuple[int, int, float, int, str]:
    """Return the order of preference; the smallest wins. The name makes it unambiguous."""
    load = draft.loads[node.name]
    cpu = load.cpu_milli / max(draft.cpu_milli_of[node.name], 1)
    memory = load.memory_bytes / max(node.memory_bytes, 1)
    return (
        _in_rack(draft, wish, node),
        _on_node(draft, wish, node),
        max(cpu, memory),
        load.count,
        node.name,
    )


def _explain(
    draft: Draft, wish: Wish, allowed: tuple[Machine, ...], within: list[Machine]
) -> None:
    all_count, present = len(draft.nodes_of(wish.datacenter)), draft.present(wish.datacenter)
    drained = sum(node.name in draft.drained_nodes for node in present)
    if not allowed:
        reason = Reason.ALL_DRAINED if present else Reason.NO_NODE_IN_CONTACT
        detail = f"{len(present)} of {all_count} nodes are in contact"
        draft.note(wish.about, reason, detail)
    elif not within:
        but, other = (f", {drained} of them drained", " other") if drained else ("", "")
        detail = (
            f"{len(present)} of {all_count} nodes are in contact{but}, each{other} already has "
            f"{wish.service.spec.max_per_node} (max_per_node)"
        )
        draft.note(wish.about, Reason.NO_NODE_WITHIN_SPREAD, detail)
    else:
        draft.note(wish.about, Reason.NO_CAPACITY, _shortage(draft, wish, within))


def _shortage(draft: Draft, wish: Wish, nodes: list[Machine]) -> str:
    free = ", ".join(_room(draft, wish, node) for node in nodes[:_NAMED_MAX])
    more = (
        f", and {len(nodes) - _NAMED_MAX} more nodes are full"
        if len(nodes) > _NAMED_MAX
        else ""
    )
    run = wish.run
    beside = f", beside {wish.replaces.id}" if wish.replaces else ""
    own = (
        " and an address of its own"
        if draft.own_slots(wish.service, wish.datacenter) is not None
        else ""
    )
    return (
        f"{wish.datacenter} is short of {_short(draft, wish, nodes)}: needs {run.cpu:g} cpu "
        f"and {_mib(run.memory_bytes)} MiB{own}{beside}; {free}{more}"
        f"{_held_there(draft, wish)}"
    )


def _short(draft: Draft, wish: Wish, nodes: list[Machine]) -> str:
    """Say what no node has enough of."""
    run, loads = wish.run, [draft.loads[node.name] for node in nodes]
    cpu = max(
        draft.cpu_milli_of[n.name] - at.cpu_milli for n, at in zip(nodes, loads, strict=True)
    )
    memory = max(n.memory_bytes - at.memory_bytes for n, at in zip(nodes, loads, strict=True))
    slots = any(draft.has_slot(node, wish.service) for node in nodes)
    lacks = (
        ("cpu", cpu < cpu_milli(run.cpu)),
        ("memory", memory < run.memory_bytes),
        ("slots", not slots),
    )
    return " and ".join(name for name, short in lacks if short) or "nodes with all of it"


def _held_there(draft: Draft, wish: Wish) -> str:
    """Return what is to leave the datacenter, but serves until enough of it serve elsewhere.

    Two services whose shares change places there wait for each other: somebody must see it.
    """
    held = (
        f"{name}.{wish.datacenter}.{replica}"
        for name, service in sorted(draft.snapshot.services.items())
        if service.spec.total and name != wish.service.name
        for replica in sorted(draft.replicas(name, wish.datacenter))
        if replica > draft.wanted(service).get(wish.datacenter, 0)
    )
    named = list(islice(held, _NAMED_MAX))
    if not named:
        return ""
    what = f"{', '.join(named)} {'is' if len(named) == 1 else 'are'} to leave"
    return (
        f"; {what}, and serve there until their total serves elsewhere: make room, or drop one"
    )


def _room(draft: Draft, wish: Wish, node: Machine) -> str:
    load, own = draft.loads[node.name], draft.own_slots(wish.service, wish.datacenter)
    left = set(range(1, draft.slots + 1)) - load.slots
    with_own = "" if own is None else f", {sum(each <= own for each in left)} with an own one"
    return (
        f"{node.name} has {(draft.cpu_milli_of[node.name] - load.cpu_milli) / 1000:g} cpu"
        f" and {_mib(node.memory_bytes - load.memory_bytes)} MiB"
        f" and {draft.slots - len(load.slots)} slots free{with_own}"
    )


def _mib(size_bytes: int) -> int:
    return size_bytes // (1024 * 1024)
