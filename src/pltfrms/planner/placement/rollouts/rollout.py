"""Bring replicas to the version that they are to have: the new copy first, few at a time."""

from collections.abc import Iterable, Iterator, Mapping

from pltfrms.model.running.plan import Allocation, Reason
from pltfrms.model.running.state import Contact
from pltfrms.model.services.rollouts import parallel
from pltfrms.model.services.service import Service
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.placement.drafting.keeping import replace_in_place
from pltfrms.planner.placement.drafting.pace import Pace
from pltfrms.planner.placement.drafting.placement import Wish, place


def roll_out(draft: Draft, pace: Pace) -> None:
    """Replace a few outdated allocations per service and datacenter, usually one."""
    for _, service in sorted(draft.snapshot.services.items()):
        if service.rolling and service.rolling.paused:
            continue
        if _is_held_up(draft, service):
            continue
        for datacenter in draft.wanted(service):
            if (service.name, datacenter) in draft.unsettled:
                for old in tuple(_next(draft, service, datacenter)):
                    _replace(draft, service, old, pace)


def _replace(draft: Draft, service: Service, old: Allocation, pace: Pace) -> None:
    version = service.version_for(old.datacenter, old.replica)
    back = old.version > version
    wish = Wish(
        service=service,
        version=version,
        datacenter=old.datacenter,
        replica=old.replica,
        reason=Reason.WENT_BACK if back else Reason.NEW_VERSION,
        replaces=old,
    )
    if old.volume and wish.keeps and draft.held(wish.about):
        replace_in_place(draft, wish, old)
    elif back or pace.allows(old.datacenter):
        place(draft, wish)


def _next(draft: Draft, service: Service, datacenter: str) -> Iterator[Allocation]:
    """Yield what to replace now.

    What is on a drained node gets the newest version when it moves. Of the others, what does
    not serve anyway comes first. What serves is touched only while all others
    serve; what may be lost is left to rescheduling. A replica that has no node (any more) is
    no reason to wait: perhaps only the new version fits. Nor is what only stands in for others
    elsewhere.
    """
    replicas = draft.kept(service, datacenter)
    newest = {
        replica: allocations[-1]
        for replica, allocations in sorted(replicas.items())
        if allocations[-1].node in draft.nodes
    }
    outdated = [
        allocation
        for replica, allocation in newest.items()
        if service.is_outdated(datacenter, replica, allocation.version)
        and draft.contact(allocation.node) is Contact.PRESENT
        and allocation.node not in draft.drained_nodes
    ]
    left = parallel(service) - len(tuple(_replaced(replicas.values(), service)))
    broken = [each for each in outdated if not draft.ready(each)]
    serving = [each for each in outdated if draft.ready(each) and _is_its_turn(draft, each)]
    yield from broken[: max(left, 0)]
    if not broken and all(_serves(draft, replicas, replica) for replica in newest):
        yield from serving[: max(left, 0)]


def _is_its_turn(draft: Draft, old: Allocation) -> bool:
    """Return whether nothing else of its service is to be replaced before it.

    Who has a role that one alone may have, and a volume, is the last one in all datacenters.
    """
    if old.id not in draft.last:
        return True
    service = draft.snapshot.services[old.service]
    return not any(
        each.id not in draft.last
        and service.is_outdated(site, replica, each.version)
        and draft.contact(each.node) is Contact.PRESENT
        and each.node not in draft.drained_nodes
        for site in draft.wanted(service)
        for replica, its in draft.kept(service, site).items()
        for each in its[-1:]
    )


def _is_held_up(draft: Draft, service: Service) -> bool:
    """Return whether nothing of a service is replaced now, and say why: for a hook of it."""
    said = draft.held_up.get(service.name, {})
    for name, words in said.items():
        draft.note(name, Reason.HOOK_WAITED_FOR, words)
    return bool(said)


def _serves(draft: Draft, replicas: Mapping[int, list[Allocation]], replica: int) -> bool:
    """Return whether a replica serves: its newest copy, or the one that is being replaced."""
    allocations = replicas[replica]
    return draft.ready(allocations[-1]) or any(map(draft.ready, allocations[:-1]))


def is_replacing(replicas: Iterable[list[Allocation]], service: Service) -> bool:
    """Return whether a replica of the newest version is about to replace another."""
    return any(_replaced(replicas, service))


def _replaced(replicas: Iterable[list[Allocation]], service: Service) -> Iterator[Allocation]:
    for allocations in replicas:
        last = allocations[-1]
        if len(allocations) > 1 and not service.is_outdated(
            last.datacenter, last.replica, last.version
        ):
            yield last
