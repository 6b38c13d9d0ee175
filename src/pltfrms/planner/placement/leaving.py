"""Stop what the spec does not want any more."""

from pltfrms.model.plan import Reason
from pltfrms.planner.placement.draft import Draft


def stop_unwanted(draft: Draft) -> None:
    """Stop allocations of deleted services, left datacenters and surplus replicas."""
    snapshot = draft.snapshot
    wanted = {
        name: frozenset(draft.wanted_datacenters(service))
        for name, service in snapshot.services.items()
    }
    for name, datacenter in tuple(draft.sites()):
        service = snapshot.services.get(name)
        for replica, allocations in sorted(draft.replicas(name, datacenter).items()):
            if service is None:
                reason = Reason.SERVICE_DELETED
            elif datacenter not in wanted[name]:
                reason = Reason.DATACENTER_LEFT
            elif replica > service.spec.per_datacenter:
                reason = Reason.SCALED_DOWN
            else:
                continue
            for allocation in tuple(allocations):
                draft.stop(allocation, reason)
