"""What is really announced and really served, as far as agents have told. Pure."""

from collections.abc import Iterator

from pltfrms.model.network.announcements import Announcement, announcements
from pltfrms.model.network.topology import Role
from pltfrms.model.running.state import Contact, Phase, Snapshot
from pltfrms.model.services.service import Service


def announced_now(
    snapshot: Snapshot, now_ms: int, *, not_known: bool = True
) -> Iterator[Announcement]:
    """Yield the visible announcements, but for those that an agent says are not made.

    One that has not reported counts as making all, and one out of contact as making those of
    which it told: its BIRD goes on without its agent, also where the edge is called lost.
    Without `not_known` both make none.
    """
    left_out = {
        edge.name
        for edge in snapshot.platform.managed
        if edge.has(Role.EDGE)
        if snapshot.contact(edge.name) is not Contact.PRESENT and not not_known
    }
    withheld = {
        (name, aggregate.prefix)
        for name, status in snapshot.statuses.items()
        for aggregate in status.aggregates
        if not aggregate.announced
    }
    down = {
        (name, session.name)
        for name, status in snapshot.statuses.items()
        for session in status.sessions
        if not session.up
    }
    for each in announcements(snapshot.platform, snapshot.interventions, now_ms):
        name = each.session.partition("@")[0]
        session = f"peer.{name}.ipv{each.prefix.version}"
        silent = (
            each.edge in left_out
            or (each.edge, str(each.prefix)) in withheld
            or (each.edge, session) in down
        )
        if each.visible and not silent:
            yield each


def serving_datacenters(snapshot: Snapshot, service: Service) -> tuple[str, ...]:
    """Return the datacenters that have a ready instance of a service, in spec order.

    What ran on a node that is lost since is not ready.
    """
    ready = {
        allocation.datacenter
        for allocation in snapshot.allocations.values()
        if allocation.service == service.name
        and snapshot.contact(allocation.node) is not Contact.LOST
        and (instance := snapshot.instance(allocation.id)) is not None
        and instance.phase is Phase.READY
    }
    return tuple(dc.name for dc in snapshot.platform.datacenters if dc.name in ready)
