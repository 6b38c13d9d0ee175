"""What a change makes of the addresses from which running instances speak with the internet.

They follow from ids and from the platform. Agents give them to instances in place, each when it
hears of it, and edges learn later where answers go: so nothing that speaks is renumbered.
"""

from collections.abc import Collection, Iterator

from pltfrms.errors import UsageError
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.plan import Allocation
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.egress import Sources, slots_with_own, sources
from pltfrms.model.services.service import ServiceSpec


def lacks_own(snapshot: Snapshot, before: ServiceSpec, after: ServiceSpec) -> bool:
    """Return whether a change of egress asks for addresses that instances cannot have."""
    if before.egress.mode is after.egress.mode:
        return False
    mine = (each for each in snapshot.allocations.values() if each.service == after.name)
    return any(_is_beyond(snapshot.platform, after, each) for each in mine)


def check_sources(snapshot: Snapshot, after: Platform) -> None:
    """Refuse a platform in which instances that run would speak from other addresses.

    Raises:
        UsageError: some would.
    """
    before = snapshot.platform
    if not any(each.unicast for each in (*before.aggregates, *after.aggregates)):
        return
    nodes, others = ({m.name: m for m in each.machines} for each in (before, after))
    for allocation, spec in _speaking(snapshot, nodes.keys() & others.keys()):
        where = f"{allocation.id} on {allocation.node}"
        was = sources(before, spec, nodes[allocation.node], allocation.slot)
        will = sources(after, spec, others[allocation.node], allocation.slot)
        for old, new in _pairs(was, will):
            if old not in {None, new}:
                raise UsageError(
                    f"platform: {where} speaks with the internet from {old}, and cannot do so "
                    f"from {new or 'no address'} while it runs; first apply the services of "
                    f"{allocation.datacenter} with `egress: none`, or without that "
                    "datacenter, then the platform, and then the services as before"
                )
        if [_is_beyond(each, spec, allocation) for each in (before, after)] == [False, True]:
            raise UsageError(
                f"platform: {where} has slot {allocation.slot}, for which there is no IPv4 "
                f"address of its own; first apply service {spec.name} with `egress: "
                "datacenter`, then the platform, and then the service as before"
            )


def _speaking(
    snapshot: Snapshot, nodes: Collection[str]
) -> Iterator[tuple[Allocation, ServiceSpec]]:
    """Yield what runs on these nodes, by id."""
    for _, allocation in sorted(snapshot.allocations.items()):
        service = snapshot.services.get(allocation.service)
        if service is not None and allocation.node in nodes:
            yield allocation, service.spec


def _pairs(was: Sources, will: Sources) -> Iterator[tuple[object, object]]:
    yield was.own6, will.own6
    yield was.own4 or was.translated4, will.own4 or will.translated4


def _is_beyond(platform: Platform, spec: ServiceSpec, allocation: Allocation) -> bool:
    most = slots_with_own(platform, spec, allocation.datacenter)
    return most is not None and allocation.slot > most
