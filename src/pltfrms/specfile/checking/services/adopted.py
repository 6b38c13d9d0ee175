"""What makes no sense in a service that others start."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.services.container import Adopted
from pltfrms.model.services.outgoing import Egress
from pltfrms.model.services.replicas import replicas_of
from pltfrms.model.services.service import ServiceSpec
from pltfrms.specfile.findings import Finding, nearest

_UNIT: Final = re.compile(
    r"(?:[A-Za-z0-9_]|\\x[0-9a-f]{2})(?:[A-Za-z0-9:_.-]|\\x[0-9a-f]{2})*"
    r"(?:@(?:[A-Za-z0-9:_.-]|\\x[0-9a-f]{2})+)?\.service\Z"
)
"""As systemd.unit(5) has it; `@` only with what follows it."""
_LONGEST: Final = 255


def check_adopted(spec: ServiceSpec) -> Iterator[Finding]:
    """Find what goes with nothing that others start, and what goes with that alone."""
    adopted = spec.run.adopted
    if adopted is None:
        if spec.nodes:
            what = "belongs to what others start (external, systemd): where ours run is decided"
            yield Finding(("replicas", "nodes"), what, "leave it out")
        return
    yield from _check_unit(adopted)
    yield from _check_where(spec)
    if spec.liveness is not None:
        what = "others start it, so nothing is restarted here"
        yield Finding(("liveness",), what, "probe says whether it is announced")
    if spec.scale is not None:
        what = "others start it, so no more come by the load"
        yield Finding(("scale",), what, "leave it out")
    if spec.storage is not None:
        field = "volumes" if spec.storage.volumes else "host_paths"
        what = "others start it, and give it what it sees"
        yield Finding((field,), what, "leave it out")
    if spec.egress != Egress():
        yield Finding(("egress",), "it speaks as its node does", "leave it out")


def _check_where(spec: ServiceSpec) -> Iterator[Finding]:
    for index, name in enumerate(spec.nodes):
        if name in spec.nodes[:index]:
            where = ("replicas", "nodes", index)
            yield Finding(where, f"{name} is in the list twice", "names are unique")
    if spec.max_per_node != 1:
        yield Finding(("replicas", "max_per_node"), "a node has it once", "leave it out")
    if spec.total:
        what = "what others start is where it is: nothing can be spread"
        yield Finding(("replicas", "total"), what, "per_datacenter, or numbers by name")


def check_adopted_here(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    """Find nodes that are not there, and replicas for which none is named."""
    known = {node.name: node.datacenter for node in platform.machines_of(Role.NODE)}
    for index, name in enumerate(spec.nodes):
        if name not in known:
            where = ("replicas", "nodes", index)
            yield Finding(where, f"there is no node {name!r}", nearest(name, known), name)
    if not spec.nodes or spec.total:
        return
    named = Counter(known[name] for name in {*spec.nodes} & {*known})
    wanted = replicas_of(platform, spec)
    for name, count in wanted.items():
        if count > named[name]:
            field = name if name in dict(spec.counts) else "per_datacenter"
            what = f"{count} replicas in {name}, and {named[name]} of its nodes are named"
            yield Finding(("replicas", field), what, "name as many nodes, or other numbers")
    for name in sorted(named.keys() - {each for each, count in wanted.items() if count}):
        what = f"nodes of {name} are named, and no replica is wanted there"
        yield Finding(("replicas", "nodes"), what, "name the number, or leave the nodes out")


def _check_unit(adopted: Adopted) -> Iterator[Finding]:
    unit = adopted.unit
    if unit and (len(unit) > _LONGEST or not _UNIT.match(unit)):
        what = f"{unit[:60]!r} is not the name of a service of systemd"
        yield Finding(("run", "systemd"), what, "such as unbound.service, without a path")
