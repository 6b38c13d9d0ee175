"""How many replicas a service is to have in each datacenter. Pure.

It follows from the spec and the platform alone, never from what lives: whoever asks gets the
same answer, and no failure moves a replica to another datacenter.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import replace

from pltfrms.errors import UsageError
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.services.members import Membership
from pltfrms.model.services.service import Run, Service, ServiceSpec

Sizes = Mapping[str, Mapping[tuple[int, int], int]]
"""Datacenter -> (thousandths of a core, bytes) -> how many nodes of this size it has."""


CORES_MAX = 1_000_000
"""More than any machine has, and few enough to count with."""


def sizes_of(platform: Platform) -> Sizes:
    """Return the sizes of the nodes of each datacenter that has any, in spec order."""
    found: defaultdict[str, Counter[tuple[int, int]]] = defaultdict(Counter)
    for node in platform.machines_of(Role.NODE):
        size = (_thousandths(node.cpu), node.memory_bytes)
        found[node.datacenter][size] += 1
    names = [each.name for each in platform.datacenters]
    return {name: found[name] for name in names if name in found}


def room_of(platform: Platform, spec: ServiceSpec, nodes: Mapping[tuple[int, int], int]) -> int:
    """Return how many replicas of a service alone fit on nodes of these sizes."""
    most = min(spec.max_per_node, platform.numbering.instances)
    return sum(count * min(most, _copies(spec.run, *size)) for size, count in nodes.items())


def _copies(run: Run, cpu_milli: int, memory_bytes: int) -> int:
    by_cpu = cpu_milli // max(1, _thousandths(run.cpu))
    return min(by_cpu, memory_bytes // max(1, run.memory_bytes))


def _thousandths(cores: float) -> int:
    """Return cores as a whole number; also of a spec that is refused for having too many."""
    return round(min(cores, CORES_MAX) * 1000)


def replicas_of(
    platform: Platform, spec: ServiceSpec, sizes: Sizes | None = None
) -> dict[str, int]:
    """Return the replicas that a service wants by datacenter, in the order of the platform.

    A datacenter that the platform has not got (any more) is left out. With `total` there may be
    some with 0. `sizes` are the platform's, for who asks often.
    """
    nodes = sizes_of(platform) if sizes is None else sizes
    counts = dict(spec.counts)
    if spec.total:
        named = {name for name in nodes if name in (spec.datacenters or nodes)}
        counts = _spread(platform, spec, {name: nodes[name] for name in named})
    else:
        named = {*counts, *(spec.datacenters or nodes if spec.per_datacenter else ())}
    return {
        each.name: counts.get(each.name, spec.per_datacenter)
        for each in platform.datacenters
        if each.name in named
    }


def wanted_of(
    platform: Platform, service: Service, sizes: Sizes | None = None
) -> dict[str, int]:
    """Return the replicas that a service wants now, as `replicas_of`: also by the load.

    That says how many there are where the spec wants some, not where.
    """
    found = replicas_of(platform, service.spread, sizes)
    return found | {name: count for name, count in service.by_load.items() if name in found}


def members_wanted(
    platform: Platform, service: Service, sizes: Sizes | None = None
) -> Membership | None:
    """Return the members that a service wants; None if its replicas keep no volumes."""
    if not service.keeps(service.version):
        return None
    counts = tuple(wanted_of(platform, service, sizes).items())
    return Membership(counts=counts, numbers4=service.numbers4)


def counted(platform: Platform, spec: ServiceSpec) -> ServiceSpec:
    """Return the spec as it says the same by datacenter, on a part of the platform as well."""
    counts = tuple(replicas_of(platform, spec).items())
    return replace(spec, per_datacenter=0, datacenters=(), counts=counts, total=0)


def scaled(
    platform: Platform, spec: ServiceSpec, count: int, datacenters: Collection[str] = ()
) -> ServiceSpec:
    """Return the spec with so many replicas in each of these datacenters, or in all of its own.

    Of a spec with a `total`, that is what changes.

    Raises:
        UsageError: it does not run in one of the datacenters, or has a total that is spread.
    """
    if spec.total:
        if datacenters:
            what = "has a total that is spread over datacenters: say no datacenter"
            raise UsageError(f"{spec.name} {what}")
        return replace(spec, total=count)
    wanted = replicas_of(platform, spec)
    for name in datacenters:
        if name not in wanted:
            known = ", ".join(wanted) or "nowhere"
            raise UsageError(f"{spec.name} does not run in {name}; it runs in: {known}")
    if datacenters:
        whole = counted(platform, spec) if spec.datacenters else spec
        counts = dict(whole.counts) | dict.fromkeys(datacenters, count)
        return replace(whole, counts=tuple(counts.items()))
    counts = {name: count for name, _ in spec.counts}
    everywhere = count if spec.per_datacenter else 0
    return replace(spec, per_datacenter=everywhere, counts=tuple(counts.items()))


def _spread(platform: Platform, spec: ServiceSpec, nodes: Sizes) -> dict[str, int]:
    """Fill datacenters evenly up to their room, smaller ids first; what fits nowhere, too."""
    ids = {each.name: each.id for each in platform.datacenters}
    names = sorted(nodes, key=ids.__getitem__)
    rooms = {name: room_of(platform, spec, nodes[name]) for name in names}
    found = _level(rooms, max(0, min(spec.total, sum(rooms.values()))))
    # Nobody has room for these; where they are missing shall be seen.
    left = spec.total - sum(found.values())
    everywhere = _level(dict.fromkeys(names, left), left) if left else {}
    return {name: found[name] + everywhere.get(name, 0) for name in names}


def _level(rooms: Mapping[str, int], total: int) -> dict[str, int]:
    """Pour `total` into `rooms`, which have so much room, to one level; the rest in order."""
    low, high = 0, total
    while low < high:
        middle = (low + high + 1) // 2
        if sum(min(room, middle) for room in rooms.values()) <= total:
            low = middle
        else:
            high = middle - 1
    found = {name: min(room, low) for name, room in rooms.items()}
    left = total - sum(found.values())
    higher = {*[name for name, room in rooms.items() if room > low][:left]}
    return {name: count + (name in higher) for name, count in found.items()}


def replicas_text(spec: ServiceSpec, wanted: Mapping[str, int]) -> str:
    """Say how many are wanted: `2 replicas wanted in each of fra, ams`, or each number."""
    there = {name: count for name, count in wanted.items() if count}
    alike = set(there.values())
    if len(alike) == 1 and not spec.total:
        return f"{alike.pop()} replicas wanted in each of {', '.join(there)}"
    each = ", ".join(f"{count} in {name}" for name, count in there.items())
    return f"{sum(there.values())} replicas wanted, {each or 'in no datacenter'}"
