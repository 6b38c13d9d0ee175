"""What makes no sense in how many replicas a service wants, and what does not fit."""

from collections.abc import Iterator, Mapping

from pltfrms.model.network.topology import Platform
from pltfrms.model.services.replicas import replicas_of, room_of, sizes_of
from pltfrms.model.services.service import ServiceSpec
from pltfrms.specfile.findings import Finding

FIELDS = ("per_datacenter", "total", "datacenters", "max_per_node", "nodes")
"""What stands in `replicas` beside names of datacenters."""
_MOST = 10_000


def check_replicas(spec: ServiceSpec) -> Iterator[Finding]:
    """Find numbers of replicas that make no sense by themselves."""
    said = [("max_per_node", spec.max_per_node), *spec.counts]
    said += [("total", spec.total)] if spec.total else []
    if spec.per_datacenter or not (spec.counts or spec.total):
        said.append(("per_datacenter", spec.per_datacenter))
    yield from _check_counts(said)
    for index, name in enumerate(spec.datacenters):
        if name in spec.datacenters[:index]:
            here = ("replicas", "datacenters", index)
            yield Finding(here, f"{name} is in the list twice", "names are unique")
    if spec.total and (spec.per_datacenter or spec.counts):
        what = "is all of them, so nothing else can say how many"
        yield Finding(("replicas", "total"), what, "keep total, or the numbers of datacenters")
    if spec.counts and spec.datacenters:
        what = "the numbers of datacenters say where it runs, too"
        yield Finding(("replicas", "datacenters"), what, "keep one of the two")


def _check_counts(said: list[tuple[str, int]]) -> Iterator[Finding]:
    for field, count in said:
        where = ("replicas", field)
        if count < 1:
            yield Finding(where, "must be at least 1", "to stop a service, delete it")
        elif count > _MOST:
            yield Finding(where, f"{count} is more than {_MOST}")


def check_fit(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    """Find replicas for which the empty nodes of their datacenters have no room."""
    if spec.total:
        yield from _check_total(spec, platform)
        return
    sizes = sizes_of(platform)
    for name, wanted in replicas_of(platform, spec, sizes).items():
        field = name if name in dict(spec.counts) else "per_datacenter"
        if nodes := sizes.get(name):
            yield from _check_site(spec, platform, name, nodes, (field, wanted))


def _check_total(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    sizes = sizes_of(platform)
    rooms = {
        name: room_of(platform, spec, nodes)
        for name, nodes in sizes.items()
        if name in (spec.datacenters or sizes)
    }
    room = sum(rooms.values())
    if rooms and room < spec.total:
        each = ", ".join(f"{count} in {name}" for name, count in rooms.items())
        what = f"only {room} of {spec.total} replicas fit on the empty nodes: {each}"
        hint = (
            f"total: {room}, more than {spec.max_per_node} max_per_node, or less cpu or memory"
        )
        yield Finding(("replicas", "total"), what, hint)


def _check_site(
    spec: ServiceSpec,
    platform: Platform,
    datacenter: str,
    nodes: Mapping[tuple[int, int], int],
    said: tuple[str, int],
) -> Iterator[Finding]:
    field, wanted = said
    where = ("replicas", field)
    count = sum(nodes.values())
    allowed = count * spec.max_per_node
    if wanted > allowed:
        what = (
            f"{wanted} replicas do not fit in {datacenter}: {count}"
            f" node{'' if count == 1 else 's'} x {spec.max_per_node} per node = {allowed}"
        )
        hint = f"{field}: {allowed}, or max_per_node: {-(-wanted // count)}"
        yield Finding(where, what, hint)
        return
    too_big = False
    for part, need, largest in (
        ("cpu", spec.run.cpu, max(cpu_milli for cpu_milli, _ in nodes) / 1000),
        ("memory", spec.run.memory_bytes, max(memory for _, memory in nodes)),
    ):
        if need > largest:
            what = f"one instance needs {need:g}, the largest node of {datacenter} has"
            yield Finding(("run", part), f"{what} {largest:g}", "ask for less")
            too_big = True
    fitting = room_of(platform, spec, nodes)
    if fitting < wanted and not too_big:
        what = f"only {fitting} of {wanted} replicas fit on the empty nodes of {datacenter}"
        yield Finding(where, what, "ask for less cpu or memory")
