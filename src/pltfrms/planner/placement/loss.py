"""Say of which nodes nothing is moved, although they are not heard of.

Guard `mass_change_brake`: many nodes lost at once are one event, not many. It is then more
likely that we cannot see than that they are all dead, and the rest could not carry their load
anyway. So nothing is rescheduled; the routing already moved the traffic.

A node whose heartbeats are missing, and of which its edges do not say that it is gone, is not
lost (`evidence`).
"""

from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import Contact
from pltfrms.planner.placement.draft import Draft

LOST_COUNT_MIN = 2
"""One node may always be lost; its replicas go elsewhere."""
_NAMED = 3
"""Nodes of a datacenter that are said one by one."""


def is_braked(draft: Draft, datacenter: str) -> bool:
    """Return whether more than half, and at least two, of the nodes are out of contact."""
    return is_mass_loss(draft.lost_count(datacenter), len(draft.nodes_of(datacenter)))


def is_mass_loss(lost_count: int, all_count: int) -> bool:
    """Return whether so many nodes of so many are more likely not seen than dead."""
    return lost_count >= LOST_COUNT_MIN and lost_count * 2 > all_count


def note_mass_loss(draft: Draft) -> None:
    """Say in which datacenters nothing is rescheduled."""
    for datacenter in draft.snapshot.platform.datacenters:
        if is_braked(draft, datacenter.name):
            lost_count = draft.lost_count(datacenter.name)
            all_count = len(draft.nodes_of(datacenter.name))
            draft.note(
                datacenter.name,
                Reason.MASS_LOSS,
                f"{lost_count} of {all_count} nodes are out of contact; "
                "their replicas stay recorded where they are",
            )


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
