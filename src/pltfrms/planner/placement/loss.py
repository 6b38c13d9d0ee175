"""Guard `mass_change_brake`: many nodes out of contact at once are one event, not many.

It is then more likely that we cannot see than that they are all dead, and the rest could not
carry their load anyway. So nothing is rescheduled; the routing already moved the traffic.
"""

from pltfrms.model.plan import Reason
from pltfrms.planner.placement.draft import Draft

LOST_COUNT_MIN = 2
"""One node may always be lost; its replicas go elsewhere."""


def is_braked(draft: Draft, datacenter: str) -> bool:
    """Return whether more than half, and at least two, of the nodes are out of contact."""
    lost_count = draft.lost_count(datacenter)
    return lost_count >= LOST_COUNT_MIN and lost_count * 2 > len(draft.nodes_of(datacenter))


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
