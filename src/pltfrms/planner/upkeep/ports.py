"""Judge the ports of a machine: what the spec wants against what its system has. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from typing import Final

from pltfrms.model.addresses import Address
from pltfrms.model.network.links import LinkKind
from pltfrms.model.network.ports import (
    MachineFinding,
    Manager,
    PortGrade,
    SeenMachine,
    SeenPort,
)
from pltfrms.model.network.topology import Machine, Platform
from pltfrms.model.network.tunnels import endpoint_of
from pltfrms.model.running.balancer import OUTER_BYTES

_ETHERNET_MTU: Final = 1500
_IPV6_MTU: Final = 1280
_UNMANAGED: Final[Mapping[Manager, str]] = {
    Manager.NETWORK_MANAGER: "[keyfile] unmanaged-devices=interface-name:{name} in"
    " /etc/NetworkManager/conf.d/pltfrms.conf",
    Manager.NETWORKD: "KeepConfiguration=yes under [Network], or Unmanaged=yes under [Link],"
    " in the .network file of {name}",
    Manager.DHCPCD: "denyinterfaces {name} in /etc/dhcpcd.conf",
    Manager.DHCLIENT: "stop dhclient on {name}: iface {name} inet manual",
    Manager.IFUPDOWN: "iface {name} inet manual in /etc/network/interfaces",
}
_FOREIGN: Final = (
    "ManageForeignRoutes=no and ManageForeignRoutingPolicyRules=no under [Network]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedPort:
    """An interface that the operating system must have."""

    name: str
    use: str
    mtu: int = _ETHERNET_MTU
    """At least; 0: the agent sets it."""
    carries: int = _ETHERNET_MTU
    """At least of what it runs over."""
    usual: int = 0
    """Below it is doubtful: tunnels and PPPoE have less."""
    adapts: bool = False
    """The spec may say a smaller one."""
    addresses: tuple[Address, ...] = ()
    """That the operating system must have set."""
    ours: bool = True
    """The agent sets its addresses; else the operating system does, and may manage it."""


def wanted_ports(platform: Platform, machine: str) -> tuple[WantedPort, ...]:
    """Return the ports of fabrics, links and sessions of a machine, in this order.

    Not tunnels, which the agent makes. KeyError if the platform has no such machine.
    """
    me = platform.machine(machine)
    return (*_fabrics(platform, me), *_links(platform, me), *_sessions(platform, me))


def _fabrics(platform: Platform, me: Machine) -> Iterator[WantedPort]:
    outer = OUTER_BYTES if platform.director and me.forwards else 0
    mtu = _ETHERNET_MTU + outer
    for fabric in platform.datacenter(me.datacenter).fabrics:
        name = platform.fabric_interface(me, fabric)
        yield WantedPort(name=name, use=f"fabric {fabric}", mtu=mtu, carries=mtu)


def _links(platform: Platform, me: Machine) -> Iterator[WantedPort]:
    for link in platform.links_of(me.name):
        if link.kind is LinkKind.DIRECT:
            said = link.mtu != _ETHERNET_MTU
            yield WantedPort(
                name=link.interface_at(me.name),
                use=f"link {link.name}",
                mtu=0 if said else link.mtu,
                carries=link.mtu,
                adapts=True,
            )


def _sessions(platform: Platform, me: Machine) -> Iterator[WantedPort]:
    """Yield each port once; what several sessions need of it is added up."""
    found: dict[str, WantedPort] = {}
    for peer, session in platform.sessions_of(me.name):
        known = found.get(session.interface)
        own = session.device == session.interface and session.multihop
        addresses = tuple(ours.ip for ours in session.ours) if own else ()
        found[session.interface] = WantedPort(
            name=session.interface,
            use=f"{known.use}, {peer.name}" if known else f"session {peer.name}",
            mtu=_IPV6_MTU,
            carries=_IPV6_MTU,
            usual=_ETHERNET_MTU,
            addresses=tuple(dict.fromkeys((*(known.addresses if known else ()), *addresses))),
            ours=not session.multihop or (known is not None and known.ours),
        )
    yield from found.values()


# ---- findings ------------------------------------------------------------------------------


def port_findings(
    platform: Platform, machine: str, seen: SeenMachine
) -> tuple[MachineFinding, ...]:
    """Return what is wrong with the ports of a machine, in the order of `wanted_ports`.

    KeyError if the platform has no such machine.
    """
    return tuple(
        chain(
            *(_judge(wanted, seen.ports) for wanted in wanted_ports(platform, machine)),
            _tunnels(platform, machine, seen.ports),
            _whole(seen),
        )
    )


def _judge(wanted: WantedPort, ports: tuple[SeenPort, ...]) -> Iterator[MachineFinding]:
    have = {port.name: port for port in ports}
    port = have.get(wanted.name)
    if port is None:
        yield _finding(wanted, "there is no such interface", _make(wanted.name, have))
        return
    yield from _works(wanted, port)
    yield from _fits(wanted, port, have.get(port.parent))
    present = {address.ip for address in port.addresses}
    for address in wanted.addresses:
        if address not in present:
            what = f"it has no address {address}, which a session speaks from"
            yield _finding(wanted, what, _where(address, ports))
    yield from _hears(wanted, port)
    for manager in port.managers if wanted.ours else ():
        yield _finding(
            wanted,
            f"{manager} manages it, and takes addresses away that it did not set",
            _UNMANAGED[manager].format(name=port.name),
            PortGrade.DOUBTFUL,
        )


def _works(wanted: WantedPort, port: SeenPort) -> Iterator[MachineFinding]:
    if port.master:
        what = f"it is a part of {port.master}: what arrives belongs to that"
        yield _finding(wanted, what, f"name {port.master} in the spec, or take it out there")
    if not port.up:
        hint = "the agent switches it on" if wanted.ours else f"ip link set {port.name} up"
        yield _finding(wanted, "it is switched off", hint, PortGrade.DOUBTFUL)
    elif not port.carrier:
        what = "it has no carrier"
        over = f", or {port.parent}," if port.parent else ""
        yield _finding(wanted, what, f"is the cable in, and the far end{over} switched on?")
    if not port.ipv6 and wanted.ours:
        what = "IPv6 is switched off there, and machines of ours speak nothing else"
        hint = f"sysctl net/ipv6/conf/{port.name}/disable_ipv6=0, and where that is set to 1"
        yield _finding(wanted, what, hint)


def _fits(
    wanted: WantedPort, port: SeenPort, parent: SeenPort | None
) -> Iterator[MachineFinding]:
    if port.mtu < wanted.mtu:
        what = f"its MTU is {port.mtu}, and must be {wanted.mtu} at least"
        if port.mtu < _IPV6_MTU:
            what += "; below 1280 there is no IPv6"
        yield _finding(wanted, what, _larger(wanted, port, parent, wanted.mtu))
    elif parent is not None and parent.mtu < wanted.carries:
        what = (
            f"it runs over {parent.name}, whose MTU of {parent.mtu} is below {wanted.carries}"
        )
        yield _finding(wanted, what, _larger(wanted, port, parent, wanted.carries))
    elif port.mtu < wanted.usual:
        what = f"its MTU is {port.mtu}: larger packets get no further than `packet too big`"
        larger = _larger(wanted, port, parent, wanted.usual)
        hint = f"right for a tunnel or PPPoE; else {larger}"
        yield _finding(wanted, what, hint, PortGrade.DOUBTFUL)


def _larger(wanted: WantedPort, port: SeenPort, parent: SeenPort | None, mtu: int) -> str:
    small = [each for each in (parent, port) if each is not None and each.mtu < mtu]
    commands = "; ".join(f"ip link set {each.name} mtu {mtu}" for each in small)
    room = min(each.mtu for each in small)
    instead = f"; or say mtu: {room} of the link" if wanted.adapts and room >= _IPV6_MTU else ""
    return f"{commands}; and the switches between must carry it{instead}"


def _hears(wanted: WantedPort, port: SeenPort) -> Iterator[MachineFinding]:
    """Find a kernel that will forget what routers tell: it forwards, as every edge does."""
    globally = any(
        each.version == 6 and not each.ip.is_link_local  # noqa: PLR2004
        for each in port.addresses
    )
    if not wanted.ours and port.hears_as_host and globally:
        name = port.name.replace(".", "/")
        what = "IPv6 default routes from RAs (RFC 4861) end when this machine forwards"
        hint = f"net.ipv6.conf.{name}.accept_ra=2 in /etc/sysctl.d, or a static route and 0"
        yield _finding(wanted, what, hint, PortGrade.DOUBTFUL)


def _make(name: str, have: Mapping[str, SeenPort]) -> str:
    """Return how the operating system would have such an interface."""
    parent, dot, number = name.rpartition(".")
    if dot and parent in have and number.isdigit():
        return (
            f"the operating system makes it, after each boot: ip link add link {parent}"
            f" name {name} type vlan id {number}"
        )
    others = sorted(each for each in have if each != "lo")
    close = get_close_matches(name, others, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return f"there are {', '.join(others) or 'none'}: name one as interface:, or rename it"


def _where(address: Address, ports: Iterable[SeenPort]) -> str:
    for port in ports:
        if any(each.ip == address for each in port.addresses):
            return f"it is on {port.name}: interface: {port.name}"
    return "the operating system sets it: is it right in the spec?"


def _tunnels(
    platform: Platform, machine: str, ports: tuple[SeenPort, ...]
) -> Iterator[MachineFinding]:
    """Find what the way of a tunnel's outer packets lacks here."""
    homes = {address.ip: port for port in ports for address in port.addresses}
    for link in platform.links_of(machine):
        if link.kind is not LinkKind.WIREGUARD:
            continue
        endpoint, use = endpoint_of(link, machine), f"link {link.name}"
        home = homes.get(endpoint)
        wanted = WantedPort(name=home.name if home else link.interface_at(machine), use=use)
        if home is None:
            what = f"no interface has {endpoint}, its end here"
            hint = "right if something before this machine translates it"
            yield _finding(wanted, what, hint, PortGrade.DOUBTFUL)
        elif home.name != "lo" and home.mtu < link.mtu:
            what = f"its MTU is {home.mtu}, and the tunnel counts on {link.mtu}"
            yield _finding(wanted, what, f"mtu: {home.mtu} of the link")


def _whole(seen: SeenMachine) -> Iterator[MachineFinding]:
    if seen.flushes:
        yield MachineFinding(
            port="",
            use="all routes",
            grade=PortGrade.DOUBTFUL,
            what="systemd-networkd removes routes and rules of others when it starts anew",
            hint=f"{_FOREIGN} in /etc/systemd/networkd.conf.d/pltfrms.conf",
        )


def _finding(
    wanted: WantedPort, what: str, hint: str, grade: PortGrade = PortGrade.WRONG
) -> MachineFinding:
    return MachineFinding(port=wanted.name, use=wanted.use, grade=grade, what=what, hint=hint)
