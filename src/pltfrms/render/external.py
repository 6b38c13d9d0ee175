"""Write the configuration that an edge needs that others manage: FRR's, as an example of any.

We run nothing there. What our nodes and controllers expect of it is in this text alone: where
the sessions are, what it must accept from whom, and what it announces to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.topology import Machine, Platform, Role, link_local
from pltfrms.model.services.members import member_pools
from pltfrms.render.text import fill

_LONGEST = {4: 32, 6: 128}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A node or controller, as its edge sees it."""

    name: str
    role: Role
    asn: int
    sessions: tuple[tuple[IPv6Address, str], ...]
    """(its address, our interface), one per fabric."""
    own: tuple[tuple[int, tuple[str, ...]], ...]
    """Per family, what it may announce, as the ends of lines of a prefix-list."""


def render_external(platform: Platform, machine: str) -> str:
    """Return the whole frr.conf that an external edge needs.

    KeyError if the platform has no such machine.
    """
    return "".join(render_external_daemons(platform, machine).values())


def render_external_daemons(platform: Platform, machine: str) -> Mapping[str, str]:
    """Return the same text cut in pieces: the part of each daemon of FRR, by its name.

    KeyError if the platform has no such machine.
    """
    me = platform.machine(machine)
    values = {
        "platform": platform,
        "me": me,
        "router_id": platform.router_id(me),
        "loopbacks": tuple(filter(None, (platform.loopback4(me), platform.loopback6(me)))),
        "aggregates": platform.aggregates_of(me.datacenter),
        "link_local": link_local(me),
        "interfaces": platform.fabric_interfaces(me),
        "members": tuple(
            _member(platform, me, each) for each in platform.behind_edges(me.datacenter)
        ),
    }
    return {
        daemon: fill(f"external-{daemon}.j2", **values) for daemon in ("zebra", "bfdd", "bgpd")
    }


def _fabrics(platform: Platform, me: Machine) -> tuple[str, ...]:
    return platform.datacenter(me.datacenter).fabrics


def _member(platform: Platform, me: Machine, member: Machine) -> _Member:
    return _Member(
        name=member.name,
        role=member.role,
        asn=platform.private_asn(member),
        sessions=tuple(
            (platform.fabric_link_local(member, fabric), platform.fabric_interface(me, fabric))
            for fabric in _fabrics(platform, me)
        ),
        own=tuple((number, _may_announce(platform, member, number)) for number in (4, 6)),
    )


def _may_announce(platform: Platform, member: Machine, number: int) -> tuple[str, ...]:
    """Return a machine's loopback and, of a node, its pool and every service."""
    longest = _LONGEST[number]
    loopbacks = (platform.loopback4(member), platform.loopback6(member))
    loopback = _of(loopbacks, number)
    own = (f"{loopback}/{longest}",) if loopback else ()
    if not member.has(Role.NODE):
        return own
    pool = _of((platform.pool4(member), platform.pool6(member)), number)
    pools = (str(pool),) if pool else ()
    services = tuple(
        _hosts(prefix, longest)
        for prefix in (
            *(each.prefix for each in platform.service_aggregates),
            *member_pools(platform),
        )
        if prefix.version == number
    )
    return (*own, *pools, *services)


def _hosts(prefix: Prefix, longest: int) -> str:
    """Return a pattern for every single address of a prefix."""
    return f"{prefix} ge {longest}" if prefix.prefixlen < longest else str(prefix)


def _of(pair: tuple[object, object], number: int) -> object:
    return pair[0] if number == 4 else pair[1]  # noqa: PLR2004 (address families)
