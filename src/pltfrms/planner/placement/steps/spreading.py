"""Keep replicas even over the nodes: after a node came back, move some to it."""

from pltfrms.model.network.topology import Machine
from pltfrms.model.running.plan import Allocation, Reason
from pltfrms.model.services.service import Service
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.placement.drafting.loss import is_braked
from pltfrms.planner.placement.drafting.pace import Pace
from pltfrms.planner.placement.drafting.placement import Wish, place

UNEVEN_BY = 2
"""Nodes that differ by less are even: a move would only swap them."""


def spread_out(draft: Draft, pace: Pace) -> None:
    """Begin at most one move per service and datacenter, while nothing else is under way."""
    for _, service in sorted(draft.snapshot.services.items()):
        for datacenter, count in draft.wanted(service).items():
            # Usually all is even; then no node needs to be looked at.
            if count < UNEVEN_BY or service.keeps(service.version):
                continue
            if _has_pile(draft, service, datacenter) and _is_quiet(draft, service, datacenter):
                _move_one(draft, service, datacenter, pace)


def _has_pile(draft: Draft, service: Service, datacenter: str) -> bool:
    """Return whether a node may have so many that another one could have too few."""
    nodes = [
        allocation.node
        for allocations in draft.replicas(service.name, datacenter).values()
        for allocation in allocations
    ]
    return len(nodes) - len(set(nodes)) >= UNEVEN_BY - 1


def _is_quiet(draft: Draft, service: Service, datacenter: str) -> bool:
    """Return whether each replica has one ready allocation of the newest version."""
    if service.rolling:
        return False
    replicas = draft.replicas(service.name, datacenter)
    return (
        len(draft.kept(service, datacenter))
        == len(replicas)
        == draft.wanted(service)[datacenter]
        and all(
            len(allocations) == 1
            and allocations[0].version == service.version
            and draft.ready(allocations[0])
            for allocations in replicas.values()
        )
        and not is_braked(draft, datacenter)
    )


def _move_one(draft: Draft, service: Service, datacenter: str, pace: Pace) -> None:
    nodes = [node for node in draft.open(datacenter) if _is_stable(draft, node)]
    counts = {node.name: draft.loads[node.name].services[service.name] for node in nodes}
    if not counts or max(counts.values()) - min(counts.values()) < UNEVEN_BY:
        return
    fullest = min(nodes, key=lambda node: (-counts[node.name], node.name))
    goals = [
        node
        for node in nodes
        if counts[node.name] <= counts[fullest.name] - UNEVEN_BY
        and _keeps_racks_even(draft, service, fullest, node)
    ]
    moved = _newest_on(draft, service, datacenter, fullest)
    if goals and pace.allows(datacenter):
        wish = Wish(
            service=service,
            datacenter=datacenter,
            replica=moved.replica,
            reason=Reason.SPREAD,
            replaces=moved,
        )
        place(draft, wish, goals)


def _is_stable(draft: Draft, node: Machine) -> bool:
    view = draft.snapshot.machines[node.name]
    return view.since_seconds >= draft.snapshot.platform.timers.stable_after_seconds


def _keeps_racks_even(draft: Draft, service: Service, source: Machine, goal: Machine) -> bool:
    """Return whether a move does not undo the spread over racks, which comes first."""
    if source.rack == goal.rack:
        return True
    return draft.in_rack(service.name, goal) < draft.in_rack(service.name, source)


def _newest_on(draft: Draft, service: Service, datacenter: str, node: Machine) -> Allocation:
    """Return who was moved most often: it came here as a replacement.

    Those that were always here have the long-lived connections, which a move ends.
    """
    replicas = draft.replicas(service.name, datacenter)
    return max(
        (a for allocations in replicas.values() for a in allocations if a.node == node.name),
        key=lambda allocation: (allocation.number, allocation.replica),
    )
