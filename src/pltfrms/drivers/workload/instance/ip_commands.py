"""The network inside an instance, as commands of iproute2."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Final

from pltfrms.model.addresses import Prefix
from pltfrms.model.running.machine import InstanceSpec, Outgoing

_NEAR_END: Final = "fe80::1"
_IPV6 = 6
_EVERYTHING: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def ip_commands(spec: InstanceSpec) -> Iterator[str]:
    """Yield the configuration of the network inside.

    The near end of `eth0` is always fe80::1: nothing about the machine is in here. IPv6
    addresses skip duplicate detection, which would cost a second.
    """
    yield "link set lo up"
    for address in (*spec.service_addresses, *spec.role_addresses):
        yield f"address add {address} dev lo"
    yield "link set eth0 addrgenmode none"
    yield "link set eth0 up"
    yield "address add fe80::2/64 dev eth0 nodad"
    for address in spec.unicast_addresses:
        yield f"address add {address} dev eth0" + (" nodad" if address.version == _IPV6 else "")
    yield from ways_out(spec, "add")


def ways_out(spec: InstanceSpec, verb: str) -> Iterator[str]:
    """Yield the addresses towards the internet, and all routes; `verb` is add or replace."""
    outgoing = spec.outgoing or Outgoing()
    sources: dict[int, str] = {}
    for address in spec.unicast_addresses:
        sources[address.version] = f" src {address.ip}"
    for prefix in outgoing.inside:
        yield _route(verb, prefix, sources)
    for address in outgoing.addresses:
        yield f"address {verb} {address} dev eth0{' nodad' if address.version == _IPV6 else ''}"
        sources[address.version] = f" src {address.ip}"
    # Not `default`: together with `via inet6`, iproute2 takes that for an IPv6 route.
    for everything in _EVERYTHING:
        yield _route(verb, everything, sources)


def _route(verb: str, prefix: Prefix, sources: Mapping[int, str]) -> str:
    via = "" if prefix.version == _IPV6 else "inet6 "
    source = sources.get(prefix.version, "")
    return f"route {verb} {prefix} via {via}{_NEAR_END} dev eth0{source}"
