"""What makes no sense in how instances reach the internet."""

from collections.abc import Iterator
from ipaddress import ip_network

from pltfrms.model.addresses import Prefix, contains
from pltfrms.model.network.homes import spoken_for
from pltfrms.model.network.topology import Aggregate, AnnouncePolicy, Machine, Platform, Role
from pltfrms.model.services.egress import (
    addresses_per_node,
    node_egress,
    slots_with_own,
    unicast_of,
)
from pltfrms.model.services.outgoing import EgressMode
from pltfrms.model.services.replicas import replicas_of
from pltfrms.model.services.service import ServiceSpec
from pltfrms.specfile.findings import Finding, Where, check_scope, nearest

_MOST_PER_NODE = 256


def check_unicast(platform: Platform, index: int) -> Iterator[Finding]:
    """Find what is wrong with an aggregate as the unicast prefix of a datacenter."""
    aggregate, where = platform.aggregates[index], ("aggregates", index)
    yield from _check_apart(platform, index)
    per_node = addresses_per_node(aggregate)
    if not 1 <= per_node <= _MOST_PER_NODE or per_node & (per_node - 1):
        what = f"{per_node} is not a power of two in 1..{_MOST_PER_NODE}"
        yield Finding((*where, "per_node"), what)
        return
    if per_node > 1 and (not aggregate.unicast or aggregate.prefix.version != 4):  # noqa: PLR2004
        what = "is for IPv4 prefixes with unicast: other addresses are not counted by node"
        yield Finding((*where, "per_node"), what, "leave it out")
    if not aggregate.unicast:
        return
    known = [datacenter.name for datacenter in platform.datacenters]
    here = (*where, "unicast")
    if aggregate.unicast not in known:
        what = f"there is no datacenter {aggregate.unicast!r}"
        yield Finding(here, what, nearest(aggregate.unicast, known), aggregate.unicast)
        return
    if aggregate.announce is not AnnouncePolicy.HEALTHY_LOCAL:
        what = "a unicast prefix is always announced by its datacenter, and nowhere else"
        yield Finding((*where, "announce"), what, "leave it out")
    if aggregate.prefix.version == 4 and platform.infrastructure4 is None:  # noqa: PLR2004
        what = "infrastructure has no IPv4, and the prefix of a node is next to that"
        yield Finding(here, what, "leave it out: instances ask over IPv6, or give it IPv4")
    for node, mine in _parts(platform, aggregate):
        yield from _check_part(here, aggregate, node, mine)


def unicast_notes(platform: Platform, index: int) -> Iterator[Finding]:
    """Yield the nodes whose part of a unicast prefix has an address that a session uses.

    No fault: a node that is there keeps its id, and where nothing there asks anything, such as
    with `egress: none`, nobody is hurt.
    """
    aggregate = platform.aggregates[index]
    if not aggregate.unicast:
        return
    used = {
        address: whose
        for address, whose in spoken_for(platform).items()
        if contains(aggregate.prefix, ip_network(address))
    }
    nodes = {mine: node for node, mine in _parts(platform, aggregate)} if used else {}
    lengths = sorted({mine.prefixlen for mine in nodes})
    for address, whose in used.items():
        for length in lengths:
            mine = ip_network((address, length), strict=False)
            if mine in nodes:
                node = nodes[mine].name
                what = f"{node} speaks from {mine}, where {address} is in use, {whose}"
                hint = "number the session otherwise; a node that is new may get another id"
                yield Finding(("aggregates", index, "unicast"), what, hint)


def _check_apart(platform: Platform, index: int) -> Iterator[Finding]:
    """Find two aggregates that would both give the same address to somebody."""
    one = platform.aggregates[index]
    for other in platform.aggregates[:index]:
        nested = contains(one.prefix, other.prefix) or contains(other.prefix, one.prefix)
        if nested and one.prefix != other.prefix and one.unicast != other.unicast:
            site = one.unicast or other.unicast
            what = (
                f"{one.prefix} and {other.prefix} overlap, and machines of {site} have "
                "addresses there: one would be given twice"
            )
            yield Finding(("aggregates", index), what, "take a prefix beside it")


def _parts(platform: Platform, aggregate: Aggregate) -> Iterator[tuple[Machine, Prefix]]:
    """Yield the nodes that an aggregate numbers, each with what it speaks from."""
    version = aggregate.prefix.version
    if unicast_of(platform, aggregate.unicast, version) is not aggregate:
        return  # the first one numbers the nodes
    for node in platform.machines_of(Role.NODE, aggregate.unicast):
        for mine in node_egress(platform, node):
            if mine.version == version:
                yield node, mine


def _check_part(
    where: Where, aggregate: Aggregate, node: Machine, mine: Prefix
) -> Iterator[Finding]:
    """Find a node whose part of the prefix is outside it."""
    if not contains(aggregate.prefix, mine):
        what = f"{aggregate.prefix} is too small: {node.name} has id {node.id_as(Role.NODE)}"
        if mine.version == 4:  # noqa: PLR2004
            what += f", and each node takes {addresses_per_node(aggregate)} addresses"
        yield Finding(where, what, "a shorter prefix, or smaller ids")


def check_egress(spec: ServiceSpec) -> Iterator[Finding]:
    """Find what is wrong with a service's egress by itself."""
    if spec.egress.mode is EgressMode.NONE and spec.egress.allow:
        what = "none of it leaves, so nothing can be allowed"
        yield Finding(("egress", "allow"), what, "leave out allow, or say another mode")
    for index, rule in enumerate(spec.egress.allow):
        if rule in spec.egress.allow[:index]:
            yield Finding(("egress", "allow", index), "is in the list twice", "keep one")
        if rule.prefix is not None:
            yield from check_scope(("egress", "allow", index), rule.prefix)


def check_egress_here(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    """Find what a service asks for that the platform has not got."""
    mode, where = spec.egress.mode, ("egress", "mode")
    if mode in {None, EgressMode.NONE}:
        return
    for name, count in replicas_of(platform, spec).items():
        if not count or not platform.machines_of(Role.NODE, name):
            continue
        found = [unicast_of(platform, name, version) for version in (4, 6)]
        if not any(found):
            what = f"{name} has no unicast prefix: nothing there can be answered"
            hint = f"aggregates: [{{prefix: ..., unicast: {name}}}], or egress: none"
            yield Finding(where, what, hint)
        elif mode is EgressMode.OWN and found[0] and addresses_per_node(found[0]) == 1:
            what = f"{found[0].prefix} has one address for each node of {name}"
            hint = "per_node: 16 beside it gives each node 15 instances with an own one"
            yield Finding(where, what, hint)
    yield from _check_own_fit(spec, platform)


def _check_own_fit(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    """Find more replicas than a datacenter has addresses of their own for."""
    for name, wanted in replicas_of(platform, spec).items():
        own = slots_with_own(platform, spec, name)
        most = len(platform.machines_of(Role.NODE, name)) * (own or 0)
        if not own or wanted < most:
            continue  # any number, or already said
        counted = name if name in dict(spec.counts) else "per_datacenter"
        what = (
            f"{wanted} replicas with an address of their own do not fit in {name}: its nodes "
            f"have {own} each, {most} in all, of which a roll-out needs one"
        )
        hint = f"per_node: {2 * (own + 1)} beside the unicast prefix of {name}"
        yield Finding(("replicas", "total" if spec.total else counted), what, hint)
