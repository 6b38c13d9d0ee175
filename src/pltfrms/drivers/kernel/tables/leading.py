"""What the kernel answers about routes, and whether one leads anywhere.

The kernel keeps the routes of a device that has lost its carrier, and marks them.
"""

from collections.abc import Mapping
from errno import EACCES, EHOSTUNREACH, EINVAL, ENETUNREACH
from ipaddress import IPv6Address, ip_network
from socket import AF_INET, AF_INET6, if_indextoname
from typing import Any, Final

from pltfrms.model.addresses import Address
from pltfrms.model.running.machine import Nexthop, Route

_FIB_MATCH: Final = 0x2000
"""Of `struct rtmsg`: say which route fits, not what comes of it (RTM_F_FIB_MATCH)."""
LEADS_NOWHERE: Final = frozenset({ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL})
"""How the kernel refuses: no route fits, or one that is unreachable, prohibit or blackhole."""
_UNICAST: Final = 1
_BLACKHOLE, _PROHIBIT = 6, 8
_NO_USE: Final = 0x01 | 0x10 | 0x20
"""A nexthop is dead, without carrier, or unresolved (RTNH_F_DEAD, LINKDOWN, UNRESOLVED)."""


def question(address: Address) -> dict[str, Any]:
    """Return the words that ask which route fits an address."""
    return {
        "family": int(AF_INET if address.version == 4 else AF_INET6),  # noqa: PLR2004
        "dst": str(address),
        "dst_len": address.max_prefixlen,
        "flags": _FIB_MATCH,
    }


def leads_on(message: Mapping[str, Any], hops: object) -> bool:
    """Return whether packets leave the machine by this answer; `hops`: its several nexthops."""
    several = hops if isinstance(hops, list | tuple) and hops else (message,)
    usable = any(not hop["flags"] & _NO_USE for hop in several)
    return bool(message["type"] == _UNICAST and usable)


def route_of(message: Any, table: int, family: int) -> Route:
    """Return a route of a table as the kernel describes it."""
    anywhere = "0.0.0.0" if family == AF_INET else "::"
    unreachable = _BLACKHOLE <= message["type"] <= _PROHIBIT
    hops = () if unreachable else message.get("multipath") or (message,)
    return Route(
        prefix=ip_network(f"{message.get('dst') or anywhere}/{message['dst_len']}"),
        table=table,
        proto=message["proto"],
        metric=message.get("priority") or 0,
        nexthops=tuple(_nexthop(hop) for hop in hops),
    )


def _nexthop(message: Any) -> Nexthop:
    index = message.get("oif") or 0
    try:
        device = if_indextoname(index)
    except OSError:
        device = f"if{index}"  # gone since the kernel answered
    via = message.get("gateway") or (message.get("via") or {}).get("addr")
    return Nexthop(
        device=device,
        via=IPv6Address(via) if via and ":" in via else None,
        weight=(message.get("hops") or 0) + 1,
    )
