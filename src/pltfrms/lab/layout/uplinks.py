"""What an operating system does for sessions over hops, which the agent leaves to it."""

from collections.abc import Iterator
from dataclasses import replace

from pltfrms.lab.parts import MachineParts
from pltfrms.model.network.lab import gateways
from pltfrms.model.network.peering import Session
from pltfrms.model.network.topology import Machine, Platform, link_local

_METRIC = 1024
"""Of the default route, as DHCP clients set it."""
_IPV6 = 6


def with_uplinks(platform: Platform, parts: MachineParts) -> MachineParts:
    """Return the parts of a machine of ours with addresses and default routes of such ports."""
    far = [each for _, each in platform.sessions_of(parts.name) if each.multihop]
    me = platform.machine(parts.name)
    lines = dict.fromkeys(line for each in far for line in _lines(me, each))
    return replace(parts, network=(*parts.network, *lines)) if lines else parts


def _lines(me: Machine, session: Session) -> Iterator[str]:
    device = session.interface
    yield f"link set {device} up"
    for ours, gateway in zip(session.ours, gateways(session), strict=True):
        options = " nodad" if ours.version == _IPV6 else ""
        address = ours if session.device == device else f"{link_local(me)}/64"
        if session.device == device or ours.version == _IPV6:
            yield f"address add {address} dev {device}{options}"
        yield f"route append default via {gateway} dev {device} onlink metric {_METRIC}"
