"""End replacements: of several allocations of one replica keep one that serves for sure.

Every stop here leaves a READY allocation of the same replica, whatever happens next. An
allocation on a node of unknown contact is never stopped here.
"""

from pltfrms.model.running.plan import Allocation, Reason
from pltfrms.model.running.state import Contact
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.placement.drafting.loss import is_braked, may_be_moved

_REPAIRS = frozenset({Reason.NODE_LOST, Reason.NODE_REMOVED})


def stop_superseded(draft: Draft) -> None:
    """Stop what a ready replacement made superfluous, and replacements not needed any more."""
    for service, datacenter in sorted(draft.unsettled):
        for _, allocations in sorted(draft.replicas(service, datacenter).items()):
            if len(allocations) > 1:
                _settle(draft, tuple(allocations))


def _settle(draft: Draft, allocations: tuple[Allocation, ...]) -> None:
    ready = [allocation for allocation in allocations if draft.ready(allocation)]
    if not ready:
        return
    successors = [allocation for allocation in ready if allocation.replaces]
    keeper = successors[-1] if successors else ready[0]
    for allocation in allocations:
        if draft.contact(allocation.node) is Contact.UNKNOWN and _known(draft, allocation):
            continue
        if allocation.number < keeper.number:
            reason = _why_stop_older(draft, keeper, allocation)
        elif allocation.number > keeper.number:
            reason = _why_stop_newer(draft, keeper, allocation)
        else:
            continue
        if reason:
            draft.stop(allocation, reason)


def _known(draft: Draft, allocation: Allocation) -> bool:
    return allocation.node in draft.nodes


def _why_stop_older(draft: Draft, keeper: Allocation, older: Allocation) -> Reason | None:
    if keeper.replaces:
        return Reason.REPLACEMENT_READY
    return None if draft.ready(older) else Reason.NOT_NEEDED_ANY_MORE


def _why_stop_newer(draft: Draft, keeper: Allocation, newer: Allocation) -> Reason | None:
    """Judge one that came after the keeper; had it been a ready successor, it would be it."""
    if not newer.replaces:
        return Reason.NOT_NEEDED_ANY_MORE
    if newer.version <= keeper.version and _is_repaired(draft, keeper, newer):
        return Reason.NOT_NEEDED_ANY_MORE
    service = draft.snapshot.services[newer.service]
    wanted = service.version_for(newer.datacenter, newer.replica)
    if newer.version != wanted:
        return Reason.WENT_BACK if newer.version > wanted else Reason.NEW_VERSION
    if newer.node in draft.drained_nodes and keeper.node not in draft.drained_nodes:
        return Reason.NODE_DRAINED
    trouble = draft.trouble(newer)
    held = not may_be_moved(draft, (newer,)) and is_braked(draft, newer.datacenter)
    return None if held else trouble


def _is_repaired(draft: Draft, keeper: Allocation, newer: Allocation) -> bool:
    """Return whether what `newer` was started for is over, now that the keeper serves."""
    if newer.reason is Reason.NODE_DRAINED:
        return keeper.node not in draft.drained_nodes
    return newer.reason in _REPAIRS
