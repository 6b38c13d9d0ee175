"""Services whose instances fail, in words. Pure."""

from collections import defaultdict
from collections.abc import Iterator

from pltfrms.model.running.plan import Allocation
from pltfrms.model.running.state import Contact, InstanceStatus, Snapshot


def failing_lines(snapshot: Snapshot) -> Iterator[str]:
    """Yield a line for each service with instances that fail: how many, and how one does.

    Nodes out of contact are left out: what they said last may be over. Of several instances
    the one that was restarted most often speaks.
    """
    found: defaultdict[str, list[tuple[Allocation, InstanceStatus]]] = defaultdict(list)
    for status in snapshot.statuses.values():
        for instance in status.instances:
            allocation = snapshot.allocations.get(instance.allocation)
            present = snapshot.contact(status.machine) is Contact.PRESENT
            if instance.failure and allocation and present:
                found[allocation.service].append((allocation, instance))
    for service, some in sorted(found.items()):
        allocation, worst = max(some, key=lambda each: (each[1].restarts, each[0].id))
        several = f"{len(some)} instances fail, such as " if len(some) > 1 else ""
        often = f" (restarted {worst.restarts} times)" if worst.restarts else ""
        who = f"{several}{worst.allocation} on {allocation.node}{often}"
        yield f"{service}: {who}: {worst.failure}"


def with_failure(instance: InstanceStatus | None) -> str:
    """Return the last thing that happened to an instance, and how it failed before; or ``."""
    if instance is None:
        return ""
    if not instance.failure or instance.failure in instance.detail:
        return instance.detail
    return f"{instance.detail}; failed before: {instance.failure}"
