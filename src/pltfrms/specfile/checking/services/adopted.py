"""What makes no sense in a service that others start."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from pltfrms.model.addresses import Address
from pltfrms.model.network.homes import spoken_for
from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.services.container import Adopted, Behind
from pltfrms.model.services.egress import ours
from pltfrms.model.services.outgoing import Egress
from pltfrms.model.services.replicas import replicas_of
from pltfrms.model.services.service import ServiceSpec
from pltfrms.specfile.checking.services.variables import families_of
from pltfrms.specfile.findings import Finding, Where, check_unicast, nearest

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
    yield from _check_elsewhere(spec)
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
    """Find nodes that are not there, replicas for which none is named, and wrong addresses."""
    yield from _check_elsewhere_here(spec, platform)
    known = {node.name: node.datacenter for node in platform.machines_of(Role.NODE)}
    for index, name in enumerate(spec.nodes):
        if name not in known:
            places = {each.node: _where(each) for each in spec.run.elsewhere if each.node}
            where = places.get(name, ("replicas", "nodes", index))
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


def _check_elsewhere(spec: ServiceSpec) -> Iterator[Finding]:
    for where, one, addresses in _places(spec):
        yield from check_unicast(where, one)
        if one.is_reserved or getattr(one, "ipv4_mapped", None):
            yield Finding(where, f"{one} is nobody's address")
        if next(each for each in addresses if each.version == one.version) is not one:
            what = f"{one} is a second address of its family"
            yield Finding(where, what, "one of each: several behind one node are no replicas")
    named = {each.node for each in spec.run.elsewhere} - {""}
    for index, name in enumerate(spec.nodes):
        if named and name not in named:
            what = f"run.external.nodes does not say where it is behind {name}"
            yield Finding(("replicas", "nodes", index), what, "add it there")
    for name in sorted(named - {*spec.nodes}):
        what = f"{name} is not among replicas.nodes"
        yield Finding(("run", "external", "nodes", name), what, "leave those out")


def _check_elsewhere_here(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    """Find addresses that are the platform's own, and families that would lead nowhere."""
    for where, one, _ in _places(spec):
        inside = next((each for each in ours(platform, one.version) if one in each), None)
        whose = spoken_for(platform).get(one, f"in {inside}" if inside else "")
        if whose:
            what = f"{one} is {whose}"
            hint = "an address behind the node that is nothing of the platform's"
            yield Finding(where, what, hint)
    wanted = families_of(spec, platform)
    for each in spec.run.elsewhere:
        for family in sorted(wanted - {one.version for one in each.addresses}):
            what = f"the service has IPv{family}, and nothing is said to be behind it"
            hint = f"an IPv{family} address too, or only addresses of the other family"
            yield Finding(_where(each), what, hint)


def _where(each: Behind) -> Where:
    return ("run", "external", *(("nodes", each.node) if each.node else ("address",)))


def _places(spec: ServiceSpec) -> Iterator[tuple[Where, Address, tuple[Address, ...]]]:
    """Yield each address with where it is said, and with those that are said there."""
    for each in spec.run.elsewhere:
        for index, one in enumerate(each.addresses):
            yield (*_where(each), index), one, each.addresses


def _check_unit(adopted: Adopted) -> Iterator[Finding]:
    unit = adopted.unit
    if unit and (len(unit) > _LONGEST or not _UNIT.match(unit)):
        what = f"{unit[:60]!r} is not the name of a service of systemd"
        yield Finding(("run", "systemd"), what, "such as unbound.service, without a path")
