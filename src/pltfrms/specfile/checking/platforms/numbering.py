"""What does not fit: infrastructure prefixes, and the ids from which addresses are made."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.numbering import (
    LENGTHS,
    MAX_DATACENTERS,
    MAX_NODES,
    MAX_OTHERS,
    MAX_SLOTS,
    Numbering,
)
from pltfrms.model.network.topology import SECTIONS, Machine, Platform, Role
from pltfrms.specfile.findings import Finding, Where, check_range, check_scope

_LENGTH6 = 48


def check_numbering(platform: Platform) -> Iterator[Finding]:
    """Find infrastructure prefixes that cannot be used, and datacenters without room there."""
    where = ("infrastructure",)
    for prefix in platform.infrastructure:
        yield from check_scope(where, prefix)
        if _is_unusable(prefix):
            yield Finding(where, f"{prefix} cannot be addresses of machines")
    six, four = platform.infrastructure6, platform.infrastructure4
    if six.prefixlen != _LENGTH6:
        what = f"{six} must be a /{_LENGTH6}: addresses are computed from its bits"
        yield Finding(where, what)
    yield from _check_datacenter_ids(platform)
    said = platform.numbering4
    if four is None:
        if said:
            yield Finding(("numbering",), "there is no IPv4 prefix to number", "leave it out")
    elif four.prefixlen not in LENGTHS:
        what = f"{four} must be a /{LENGTHS[0]} to /{LENGTHS[-1]}: each node has a part of it"
        yield Finding(where, what, "or say no-ipv4: nodes and instances then have IPv6 alone")
    else:
        if said:
            yield from check_range(("numbering", "nodes"), said.nodes, 1, MAX_NODES)
            yield from check_range(("numbering", "instances"), said.instances, 1, MAX_SLOTS)
        yield from _check_room(platform, platform.numbering)


def _is_unusable(prefix: Prefix) -> bool:
    first = prefix.network_address
    return (
        first.is_multicast
        or first.is_loopback
        or first.is_link_local
        or first.is_unspecified
        or (first.version == 4 and first.is_reserved)  # noqa: PLR2004 (an address family)
    )


def _check_datacenter_ids(platform: Platform) -> Iterator[Finding]:
    for each in platform.datacenters:
        where = ("datacenters", each.name, "id")
        yield from check_range(where, each.id, 1, MAX_DATACENTERS)


def _check_room(platform: Platform, numbering: Numbering) -> Iterator[Finding]:
    prefix = platform.infrastructure4
    if prefix is None or min(numbering.nodes, numbering.instances) < 1:
        return
    most, room = numbering.datacenters(prefix), _room(numbering)
    if not most:
        what = f"{room} do not fit into {prefix}"
        yield Finding(("numbering",), what, "say fewer, or take a shorter prefix")
        return
    for each in platform.datacenters:
        if most < each.id <= MAX_DATACENTERS:
            what = (
                f"id {each.id} is outside 1..{most}: {prefix} has room for no more, with {room}"
            )
            yield Finding(("datacenters", each.name, "id"), what, _hint(platform, prefix))


def _hint(platform: Platform, prefix: IPv4Network) -> str:
    fits = that_fits(platform, prefix)
    if fits is None:
        return "smaller ids, or a shorter prefix"
    return f"numbering: {{{fits}}}, smaller ids, or a shorter prefix; it cannot change later"


def that_fits(platform: Platform, prefix: IPv4Network) -> Numbering | None:
    """Return the numbering with most room of both kinds in which all ids of a platform fit."""
    nodes = _highest(platform, Role.NODE)
    others = max(_highest(platform, Role.EDGE), _highest(platform, Role.CONTROLLER))
    highest = max((each.id for each in platform.datacenters), default=1)
    free = prefix.max_prefixlen - prefix.prefixlen - (max(highest, 1) - 1).bit_length()
    candidates = (
        Numbering(
            nodes=min(MAX_NODES, (1 << (free - bits)) - 3),
            instances=min(MAX_SLOTS, (1 << bits) - 2),
        )
        for bits in range(2, free - 1)
    )
    fitting = (
        each
        for each in candidates
        if each.nodes >= max(nodes, 1)
        and each.others >= others
        and each.datacenters(prefix) >= highest
    )
    return max(fitting, key=lambda each: min(each.nodes, each.instances), default=None)


def _highest(platform: Platform, role: Role) -> int:
    return max((each.id_as(role) for each in platform.machines_of(role)), default=0)


def _room(numbering: Numbering) -> str:
    return f"{numbering.nodes} nodes in each, and {numbering.instances} instances on a node"


def check_ids(platform: Platform) -> Iterator[Finding]:
    """Find machines without an id, with one that does not fit, or with that of another."""
    owners: dict[tuple[str, Role, int], str] = {}
    for machine, role in ((each, role) for each in platform.machines for role in each.roles):
        where = ("datacenters", machine.datacenter, SECTIONS[role], machine.name, "id")
        number = machine.id_as(role)
        finding = _misfit(platform, where, machine, role)
        if finding:
            yield finding
            continue
        key = (machine.datacenter, role, number)
        owner = owners.setdefault(key, machine.name)
        if owner != machine.name:
            what = f"id {number} is already that of {owner}"
            hint = "ids are unique per datacenter and role; give one of them another id:"
            yield Finding(where, what, hint)


def _misfit(platform: Platform, where: Where, machine: Machine, role: Role) -> Finding | None:
    number, numbering = machine.id_as(role), platform.numbering
    node = role is Role.NODE
    most = numbering.nodes if node else numbering.others
    if 1 <= number <= most:
        return None
    what = f"id {number} is outside 1..{most}"
    if most < number <= (MAX_NODES if node else MAX_OTHERS):
        what += f": {platform.infrastructure4} has room for no more"
        return Finding(where, what, _wider(platform, "nodes" if node else "instances", number))
    hint = "end the name with its number (fra-e1) or give an id: fra-edge: {id: 1}"
    return Finding(where, what, hint)


def _wider(platform: Platform, word: str, number: int) -> str:
    """Say what could be done for an id that needs more room of this kind."""
    prefix = platform.infrastructure4
    if prefix is None:
        return "give another id:"
    alone = replace(platform.numbering, **{word: number})
    if alone.datacenters(prefix) >= max((each.id for each in platform.datacenters), default=0):
        return (
            f"give another id:, or say numbering: {{{word}: {number}}} (it cannot change later)"
        )
    return f"give another id:, {_hint(platform, prefix)}"
