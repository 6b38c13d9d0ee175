"""The network inside an instance, as lines for `ip -batch`.

The near end of `eth0` is always fe80::1: nothing about the machine is in here.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Final

from pltfrms.model.addresses import Interface, Prefix
from pltfrms.model.running.machine import InstanceSpec, Outgoing

_NEAR_END: Final = "fe80::1"
_IPV6: Final = 6
_EVERYTHING: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def ip_commands(spec: InstanceSpec) -> Iterator[str]:
    """Yield the whole configuration.

    IPv6 addresses skip duplicate detection, which would cost a second.
    """
    yield "link set lo up"
    for address in (*spec.service_addresses, *spec.role_addresses):
        yield f"address add {address} dev lo"
    yield "link set eth0 addrgenmode none"
    yield "link set eth0 up"
    yield "address add fe80::2/64 dev eth0 nodad"
    for address in spec.unicast_addresses:
        yield _address("add", address, "eth0")
    yield from ways_out(spec, "add")


def ways_out(spec: InstanceSpec, verb: str) -> Iterator[str]:
    """Yield addresses that may come later, and all routes; `verb` is add or replace."""
    outgoing = spec.outgoing or Outgoing()
    sources: dict[int, str] = {
        each.version: f" src {each.ip}" for each in spec.unicast_addresses
    }
    lasting: dict[int, str] = {each.version: f" src {each.ip}" for each in outgoing.lasting}
    for address in outgoing.lasting:
        yield _address(verb, address, "lo")
    for prefix in dict.fromkeys((*outgoing.inside, *outgoing.near)):
        yield _route(verb, prefix, lasting if prefix in outgoing.near else sources)
    for address in outgoing.addresses:
        yield _address(verb, address, "eth0")
        sources[address.version] = f" src {address.ip}"
    # Not `default`: together with `via inet6`, iproute2 takes that for an IPv6 route.
    for everything in _EVERYTHING:
        yield _route(verb, everything, sources)


def _address(verb: str, address: Interface, device: str) -> str:
    return (
        f"address {verb} {address} dev {device}{' nodad' if address.version == _IPV6 else ''}"
    )


def _route(verb: str, prefix: Prefix, sources: Mapping[int, str]) -> str:
    via = "" if prefix.version == _IPV6 else "inet6 "
    source = sources.get(prefix.version, "")
    return f"route {verb} {prefix} via {via}{_NEAR_END} dev eth0{source}"
