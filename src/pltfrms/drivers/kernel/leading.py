"""Does a route that the kernel has looked up for a packet lead anywhere? Pure.

The kernel keeps the routes of a device that has lost its carrier, and marks them.
"""

from collections.abc import Mapping
from errno import EACCES, EHOSTUNREACH, EINVAL, ENETUNREACH
from socket import AF_INET, AF_INET6
from typing import Any, Final

from pltfrms.model.addresses import Address

_FIB_MATCH: Final = 0x2000
"""Of `struct rtmsg`: say which route fits, not what comes of it (RTM_F_FIB_MATCH)."""
LEADS_NOWHERE: Final = frozenset({ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL})
"""How the kernel refuses: no route fits, or one that is unreachable, prohibit or blackhole."""
_UNICAST: Final = 1
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
