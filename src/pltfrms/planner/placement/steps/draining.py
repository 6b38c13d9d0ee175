"""Empty the nodes that an operator drains: the new copy first, one at a time."""

from pltfrms.model.running.plan import Allocation, Reason
from pltfrms.model.services.service import Service
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.placement.drafting.keeping import note_staying
from pltfrms.planner.placement.drafting.loss import is_braked
from pltfrms.planner.placement.drafting.pace import Pace
from pltfrms.planner.placement.drafting.placement import Wish, place
from pltfrms.planner.placement.rollouts.rollout import is_replacing


def empty_nodes(draft: Draft, pace: Pace) -> None:
    """Begin at most one move per service and datacenter, while no other is under way.

    What finds no room stays where it is and serves there: nothing is stopped before another
    copy of the replica serves. What others start cannot be moved: it is withdrawn there while
    another replica serves in its datacenter, and comes back after the drain.
    """
    if not draft.drained_nodes:
        return
    for _, service in sorted(draft.snapshot.services.items()):
        for datacenter in _sites(draft, service):
            if is_braked(draft, datacenter):
                continue
            replicas = draft.replicas(service.name, datacenter).values()
            # A move between nodes that are gone may never end, and is nothing to wait for.
            alive = [each for each in replicas if any(map(draft.is_present, each))]
            if not is_replacing(alive, service):
                _move_one(draft, service, datacenter, pace)


def _sites(draft: Draft, service: Service) -> list[str]:
    """Return where a service is wanted, or stands in for what is wanted elsewhere."""
    stands_in = [
        each.name
        for each in draft.snapshot.platform.datacenters
        if service.spec.total and draft.replicas(service.name, each.name)
    ]
    return list(dict.fromkeys((*draft.wanted(service), *stands_in)))


def _move_one(draft: Draft, service: Service, datacenter: str, pace: Pace) -> None:
    for old in _leaving(draft, service, datacenter):
        if old.volume:
            note_staying(draft, old)
            continue
        if not pace.allows(datacenter):
            return
        wish = Wish(
            service=service,
            version=service.version_for(datacenter, old.replica),
            datacenter=datacenter,
            replica=old.replica,
            reason=Reason.NODE_DRAINED,
            replaces=old,
        )
        if place(draft, wish):
            return
        if service.spec.run.adopted is not None and _is_spare(draft, old):
            draft.stop(old, Reason.NODE_DRAINED)
            return


def _is_spare(draft: Draft, old: Allocation) -> bool:
    """Return whether something of it serves in its datacenter, on a node that stays."""
    return any(
        draft.ready(each) and each.node not in draft.drained_nodes
        for allocations in draft.replicas(old.service, old.datacenter).values()
        for each in allocations
    )


def _leaving(draft: Draft, service: Service, datacenter: str) -> list[Allocation]:
    """Return what is to move, by replica; a node of unknown contact is left alone."""
    return [
        allocations[-1]
        for _, allocations in sorted(draft.replicas(service.name, datacenter).items())
        if allocations[-1].node in draft.drained_nodes and draft.is_present(allocations[-1])
    ]
