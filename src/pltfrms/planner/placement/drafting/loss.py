"""Say of which nodes nothing is moved, although they are not heard of.

Guard `mass_change_brake`: many nodes lost at once are one event, not many. It is then more
likely that we cannot see than that they are all dead, and the rest could not carry their load
anyway. So nothing is rescheduled; the routing already moved the traffic. Nodes that are lost
one after the other within `LATELY_SECONDS` count as at once: what kills them may go with what
is moved from one to the next. An operator who knows that they are dead releases them, by name,
for a while: they count as if they were taken out, and who is lost later is braked anew.

A node whose heartbeats are missing, and of which its edges do not say that it is gone, is not
lost (`evidence`).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import chain

from pltfrms.model.running.balancer import CandidateState, is_panic
from pltfrms.model.running.plan import Allocation, Reason
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.planner.placement.drafting.draft import Draft

LOST_COUNT_MIN = 2
"""One node may always be lost; its replicas go elsewhere."""
LOST_TOGETHER_MIN = 3
"""Of several datacenters. They share nothing that fails at once, but what we see them by."""
_NAMED = 3
"""Nodes of a datacenter that are said one by one."""


def is_braked(draft: Draft, datacenter: str, more: int = 0) -> bool:
    """Return whether nothing of the datacenter is moved: too many nodes are out of contact.

    `more` of it are taken to be lost beside those that are.
    """
    here = draft.lost_count(datacenter) + more
    if is_mass_loss(here, draft.living_count(datacenter)):
        return True
    apart = _fresh_apart(draft, datacenter, more)
    return here > 0 and is_mass_loss_of_several(apart, _all_living(draft))


def may_be_moved(draft: Draft, allocations: Iterable[Allocation]) -> bool:
    """Return whether nothing holds copies of a replica of a braked datacenter where they are.

    A copy on a node that is lost, and that nobody says is dead, may be serving.
    """
    return not any(
        draft.trouble(each) is Reason.NODE_LOST and each.node not in draft.dead
        for each in allocations
    )


def releasable(snapshot: Snapshot, datacenter: str) -> tuple[str, ...]:
    """Return the nodes that a release of the brake is for: lost, and nothing of them is moved.

    Those that are released already, and still lost, stay so.
    """
    draft = Draft(snapshot)
    braked = is_braked(draft, datacenter)
    return tuple(
        node.name
        for node in draft.nodes_of(datacenter)
        if draft.contact(node.name) is Contact.LOST and (braked or node.name in draft.dead)
    )


def _all_living(draft: Draft) -> int:
    return len(draft.nodes) - len(draft.dead)


def _fresh_apart(draft: Draft, datacenter: str = "", more: int = 0) -> list[int]:
    """Count what is lost and not dealt with in each datacenter that is not braked by itself.

    One that is, is an event that is known already, however long it lasts: others are
    repaired meanwhile.
    """
    counts = {datacenter: 0, **draft.fresh_counts}
    counts[datacenter] += more
    return [
        count
        for site, count in counts.items()
        if not is_mass_loss(draft.lost_count(site), draft.living_count(site))
    ]


def is_mass_loss(lost_count: int, all_count: int) -> bool:
    """Return whether so many nodes of so many are more likely not seen than dead."""
    return lost_count >= LOST_COUNT_MIN and lost_count * 2 > all_count


def is_mass_loss_of_several(lost_counts: Collection[int], all_count: int) -> bool:
    """Return whether datacenters that fail apart have lost too many nodes of all together.

    What was lost long before, and was replaced, is another event: it does not count.
    """
    lost_count, sites = sum(lost_counts), sum(count > 0 for count in lost_counts)
    return sites > 1 and lost_count >= LOST_TOGETHER_MIN and lost_count * 3 > all_count


def note_mass_loss(draft: Draft) -> None:
    """Say in which datacenters nothing is rescheduled."""
    fresh, every_count = _fresh_apart(draft), _all_living(draft)
    for datacenter in draft.snapshot.platform.datacenters:
        if is_braked(draft, datacenter.name):
            lost_count = draft.lost_count(datacenter.name)
            all_count = draft.living_count(datacenter.name)
            together = f", and {sum(fresh)} of {every_count} in all datacenters together"
            more = "" if is_mass_loss(lost_count, all_count) else together
            dead_count = len(draft.nodes_of(datacenter.name)) - all_count
            more += f", beside {dead_count} that are released" if dead_count else ""
            draft.note(
                datacenter.name,
                Reason.MASS_LOSS,
                f"{lost_count} of {all_count} nodes are out of contact{more}; "
                "their replicas stay recorded where they are; if they are dead: `pltfrms brake "
                f"release {datacenter.name}`",
            )


def note_panic(draft: Draft) -> None:
    """Say of which services all instances that answer say that they are unhealthy.

    Guard `panic_threshold`: machines have them serve if nobody does in another datacenter, and
    start them anew one after the other. Only what a machine in contact says counts.
    """
    for (service, datacenter), states in sorted(_states(draft).items()):
        if is_panic(states):
            unwell = states.count(CandidateState.BACKUP)
            draft.note(
                f"{service}.{datacenter}",
                Reason.PANIC,
                f"{unwell} of {len(states)} say so; see what the probe asks",
            )


def _states(draft: Draft) -> Mapping[tuple[str, str], list[CandidateState]]:
    """Return how the instances of services are of which one is unwell, by datacenter."""
    every = draft.snapshot.allocations
    unwell = [
        allocation
        for machine, status in draft.snapshot.statuses.items()
        if any(instance.unwell for instance in status.instances)
        and draft.contact(machine) is Contact.PRESENT
        for instance in status.instances
        if instance.unwell and (allocation := every.get(instance.allocation))
    ]
    states: defaultdict[tuple[str, str], list[CandidateState]] = defaultdict(list)
    for allocation in unwell:
        states[allocation.service, allocation.datacenter].append(CandidateState.BACKUP)
    for site, some in states.items():
        copies = chain.from_iterable(draft.replicas(*site).values())
        some += [CandidateState.ACTIVE for each in copies if draft.ready(each)]
    return states


def note_unheard(draft: Draft) -> None:
    """Say in which datacenters nothing is decided of nodes, and why."""
    machines = draft.snapshot.machines
    for datacenter in draft.snapshot.platform.datacenters:
        said = [
            f"{node.name}: {machines[node.name].why}"
            for node in draft.nodes_of(datacenter.name)
            if draft.contact(node.name) is Contact.UNKNOWN
            and node.name in machines
            and machines[node.name].why
        ]
        if said:
            more = f"; and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
            detail = f"{'; '.join(said[:_NAMED])}{more}"
            draft.note(datacenter.name, Reason.NODE_UNHEARD, detail)
