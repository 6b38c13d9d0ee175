"""Say what the kernel's network of a machine must look like, apart from routes."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address, ip_interface

from pltfrms.model.addresses import Interface
from pltfrms.model.network.lab import (
    Lab,
    LabIxp,
    LabNetwork,
    LabStub,
    LabTransit,
    client_addresses,
    far_addresses,
    gateways,
    lab_interface,
    lan_addresses,
    lan_interface,
)
from pltfrms.model.network.links import Link, LinkKind
from pltfrms.model.network.peering import Peer
from pltfrms.model.network.topology import Machine, Platform, Role, link_local
from pltfrms.model.running.balancer import OUTER_BYTES
from pltfrms.model.running.machine import SERVICE_TABLE, DeviceState, NetworkState, Rule

_FORWARDING = (
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    # Hash over addresses, protocol and ports (0x37), of the inner packet where there is one:
    # every edge sends a flow the same way.
    ("net/ipv4/fib_multipath_hash_policy", "3"),
    ("net/ipv4/fib_multipath_hash_fields", "55"),
    ("net/ipv6/fib_multipath_hash_policy", "3"),
    ("net/ipv6/fib_multipath_hash_fields", "55"),
)
_ALWAYS = (
    # Paths are asymmetric by design, and nobody but BIRD and the agent may change routes.
    *(
        (f"net/ipv4/conf/{scope}/{name}", "0")
        for scope in ("all", "default")
        for name in ("rp_filter", "send_redirects", "accept_redirects")
    ),
    *(
        (f"net/ipv6/conf/{scope}/{name}", "0")
        for scope in ("all", "default")
        for name in ("accept_ra", "accept_redirects")
    ),
    # A port that goes down and comes back keeps its global addresses.
    ("net/ipv6/conf/all/keep_addr_on_down", "1"),
    ("net/ipv6/conf/default/keep_addr_on_down", "1"),
)
_RULE_PREFERENCE = 100
_LINK_LOCAL_LENGTH = 64
_ETHERNET_MTU = 1500

_Devices = Mapping[str, tuple[Interface, ...]]


def network_state(platform: Platform, machine: str) -> NetworkState:
    """Return the addresses, rules and sysctls of a machine of ours.

    KeyError if the platform has no such machine.
    """
    me = platform.machine(machine)
    fixed = (_link_local(link_local(me)),)
    fabrics = platform.datacenter(me.datacenter).fabrics
    inside: dict[str, tuple[Interface, ...]] = {
        platform.fabric_interface(me, fabric): (
            *fixed,
            *_towards_external_edges(platform, me, fabric),
        )
        for fabric in fabrics
    }
    balanced = platform.director and me.forwards
    needed_mtus = dict.fromkeys(inside, _ETHERNET_MTU + OUTER_BYTES) if balanced else {}
    mtus = {link.interface_at(machine): _mtu(link) for link in platform.links_of(machine)}
    inside |= {name: (_link_local(platform.backbone_link_local(me)),) for name in mtus}
    outside, own = _outside_ports(platform, machine), _loopbacks(platform, me)
    uplinks = [name for name in _uplinks(platform, machine) if name not in outside]
    devices = {"lo": (*own, *_outside_loopbacks(platform, machine))} | inside | outside
    devices |= dict.fromkeys(uplinks, ())
    forwards = me.forwards
    return NetworkState(
        devices=_devices(devices, mtus, needed_mtus),
        rules=(
            (Rule(preference=_RULE_PREFERENCE, table=SERVICE_TABLE),)
            if me.has(Role.NODE)
            else ()
        ),
        sysctls=(
            *(_FORWARDING if forwards else ()),
            *_ALWAYS,
            *_port_sysctls((*inside, *outside), fixed=inside),
            *_uplink_sysctls(uplinks),
        ),
    )


def internet_network_state(platform: Platform, lab: Lab, machine: str) -> NetworkState:
    """Return the addresses and sysctls of a machine of the emulated internet.

    The addresses of a network's client are on its `lo`. KeyError if the lab has no such
    machine.
    """
    devices = _lab_devices(platform, lab, machine)
    fixed = [name for name, addresses in devices.items() if _is_fixed(addresses)]
    ports = [name for name in devices if name != "lo"]
    return NetworkState(
        devices=_devices(devices, {}),
        sysctls=(*_FORWARDING, *_ALWAYS, *_port_sysctls(ports, fixed=fixed)),
    )


def _outside_ports(platform: Platform, machine: str) -> dict[str, tuple[Interface, ...]]:
    """Return the ports of sessions with neighbours on their networks, and their addresses."""
    ports: dict[str, tuple[Interface, ...]] = {}
    for _, session in platform.sessions_of(machine):
        if not session.multihop:
            known = ports.get(session.interface, ())
            ports[session.interface] = tuple(dict.fromkeys((*known, *session.ours)))
    return ports


def _uplinks(platform: Platform, machine: str) -> tuple[str, ...]:
    """Return the ports of multihop sessions: the operating system manages them."""
    sessions = (session for _, session in platform.sessions_of(machine))
    return tuple(dict.fromkeys(each.interface for each in sessions if each.multihop))


def _outside_loopbacks(platform: Platform, machine: str) -> Iterable[Interface]:
    """Return the addresses on `lo` that neighbours hops away know us by."""
    sessions = (session for _, session in platform.sessions_of(machine))
    addresses = (ours for each in sessions if each.device == "lo" for ours in each.ours)
    return dict.fromkeys(addresses)


def _uplink_sysctls(ports: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Return the sysctls of ports of the operating system: paths are asymmetric there, too."""
    for port in ports:
        yield (f"net/ipv4/conf/{port}/rp_filter", "0")
        yield (f"net/ipv4/conf/{port}/send_redirects", "0")


def _loopbacks(platform: Platform, me: Machine) -> tuple[Interface, ...]:
    addresses = (platform.loopback4(me), platform.loopback6(me))
    return tuple(ip_interface(address) for address in addresses if address)


def _towards_external_edges(
    platform: Platform, me: Machine, fabric: str
) -> tuple[Interface, ...]:
    if me.has(Role.EDGE) or not platform.has_external_edges(me.datacenter):
        return ()
    return (_link_local(platform.fabric_link_local(me, fabric)),)


def _link_local(address: IPv6Address) -> Interface:
    return ip_interface(f"{address}/{_LINK_LOCAL_LENGTH}")


def _is_fixed(addresses: tuple[Interface, ...]) -> bool:
    return all(address.is_link_local for address in addresses)


def _mtu(link: Link) -> int:
    """Return the MTU that a port must have; 0: what it has, since the spec says nothing."""
    if link.kind is LinkKind.DIRECT and link.mtu == _ETHERNET_MTU:
        return 0
    return link.inner_mtu


def _devices(
    devices: _Devices, mtus: Mapping[str, int], needed: Mapping[str, int] | None = None
) -> tuple[DeviceState, ...]:
    return tuple(
        DeviceState(
            name=name,
            addresses=addresses,
            mtu=mtus.get(name, 0),
            mtu_needed=(needed or {}).get(name, 0),
        )
        for name, addresses in devices.items()
    )


def _port_sysctls(ports: Iterable[str], fixed: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Return the sysctls of network ports; those in `fixed` have our link-local address."""
    for port in ports:
        yield (f"net/ipv4/conf/{port}/rp_filter", "0")
        yield (f"net/ipv4/conf/{port}/send_redirects", "0")
        yield (f"net/ipv6/conf/{port}/accept_ra", "0")
        # Addresses are computed, hence unique: usable at once.
        yield (f"net/ipv6/conf/{port}/accept_dad", "0")
        if port in fixed:
            yield (f"net/ipv6/conf/{port}/addr_gen_mode", "1")  # none but ours


# ---- the emulated internet -----------------------------------------------------------------


def _lab_devices(platform: Platform, lab: Lab, machine: str) -> _Devices:
    for transit in lab.transits:
        if transit.name == machine:
            return _transit_devices(platform, lab, transit)
    for ixp in lab.ixps:
        if ixp.name == machine:
            return _route_server_devices(platform, lab, ixp)
    for stub in lab.stubs:
        if stub.name == machine:
            return _stub_devices(platform, lab, stub)
    raise KeyError(machine)


def _transit_devices(platform: Platform, lab: Lab, transit: LabTransit) -> _Devices:
    stubs = [stub.name for stub in lab.stubs if transit.name in stub.upstreams]
    others = [
        other.name
        for other in lab.transits
        if other.name in transit.peerings or transit.name in other.peerings
    ]
    fixed = (_link_local(lab.link_local(transit.name)),)
    return (
        _far_loopbacks(platform, transit)
        | _towards_us(platform, transit)
        | {lab_interface(name): fixed for name in (*stubs, *others)}
    )


def _route_server_devices(platform: Platform, lab: Lab, ixp: LabIxp) -> _Devices:
    return {lan_interface(ixp.name): lan_addresses(platform, lab, ixp.name, ixp.name)}


def _stub_devices(platform: Platform, lab: Lab, stub: LabStub) -> _Devices:
    fixed = (_link_local(lab.link_local(stub.name)),)
    lans = {ixp.name for ixp in lab.ixps} & stub.upstreams.keys()
    ports: dict[str, tuple[Interface, ...]] = {}
    if isinstance(stub, LabNetwork) and stub.member_of:
        lans.add(stub.member_of)
    elif isinstance(stub, LabNetwork):
        ports |= _towards_us(platform, stub)
    ports |= {lab_interface(name): fixed for name in stub.upstreams if name not in lans}
    ports |= {
        lan_interface(lan): lan_addresses(platform, lab, lan, stub.name) for lan in sorted(lans)
    }
    clients = tuple(ip_interface(address) for address in client_addresses(stub))
    return {"lo": clients} | ports


def _towards_us(
    platform: Platform, network: LabTransit | LabNetwork
) -> dict[str, tuple[Interface, ...]]:
    peer = next(peer for peer in platform.peers if peer.name == network.name)
    edges = dict.fromkeys(session.edge for session in peer.sessions)
    return {
        lab_interface(edge): (*far_addresses(peer, edge), *_gateways(peer, edge))
        for edge in edges
    }


def _gateways(peer: Peer, edge: str) -> Iterable[Interface]:
    """Return the addresses at which a transit forwards for an edge that is hops away."""
    far = (each for each in peer.sessions if each.multihop and each.edge == edge)
    addresses = (address for session in far for address in gateways(session))
    return dict.fromkeys(
        _link_local(address)
        if isinstance(address, IPv6Address) and address.is_link_local
        else ip_interface(address)
        for address in addresses
    )


def _far_loopbacks(platform: Platform, transit: LabTransit) -> dict[str, tuple[Interface, ...]]:
    """Return the addresses on `lo` with which a transit speaks to those that are hops away."""
    peer = next(peer for peer in platform.peers if peer.name == transit.name)
    far = (address for each in peer.sessions if each.multihop for address in each.theirs)
    addresses = tuple(dict.fromkeys(ip_interface(address) for address in far))
    return {"lo": addresses} if addresses else {}
