"""What makes no sense in the names of network interfaces, and in who uses them."""

import re
from collections.abc import Iterable, Iterator

from pltfrms.model.addresses import Interface
from pltfrms.model.network.links import Link, LinkKind
from pltfrms.model.network.topology import Datacenter, Machine, Platform
from pltfrms.specfile.findings import Finding, Where, check_interface, nearest, where_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_OF_THE_KERNEL = frozenset({"lo", "all", "default"})
"""Always there, or what sysctls call all interfaces: no port has such a name."""
_OF_INSTANCES = re.compile(r"i[0-9]+\Z")
_OF_TUNNELS = "bb-"
_FABRIC_LENGTH = 11
"""Longest name of a fabric: `fab-NAME` is an interface by default, and `controller.NAME.FABRIC`
a protocol in BIRD, which takes 63 characters."""
_AS_SHOWN = "as `ip link` shows it, such as eno1.100: letters, digits, . _ -"


def check_ports(platform: Platform) -> Iterator[Finding]:
    """Yield what is wrong with the names of ports, and who else has one."""
    yield from _check_words(platform)
    yield from dict.fromkeys(_check_inside(platform))
    yield from _check_sessions(platform)


# ---- what is said --------------------------------------------------------------------------


def _check_words(platform: Platform) -> Iterator[Finding]:
    for datacenter in platform.datacenters:
        yield from _check_site(("datacenters", datacenter.name, "fabrics"), datacenter)
    known = {each.name: each.fabrics for each in platform.datacenters}
    for machine in platform.machines:
        here = (*where_of(machine), "fabrics")
        fabrics = known.get(machine.datacenter, ())
        for port in machine.ports:
            yield from _check_said((*here, port.fabric, "interface"), port.interface)
            if port.fabric not in fabrics:
                what = f"{machine.datacenter} has no fabric {port.fabric}"
                hint = nearest(port.fabric, fabrics)
                yield Finding((*here, port.fabric), what, hint, port.fabric)
    for index, link in enumerate(platform.links):
        yield from _check_link(("backbone", index, "interface"), link)


def _check_site(where: Where, datacenter: Datacenter) -> Iterator[Finding]:
    for fabric in datacenter.fabrics:
        if len(fabric) > _FABRIC_LENGTH:
            what = f"{fabric} has {len(fabric)} characters, at most {_FABRIC_LENGTH} fit"
            yield Finding((*where, fabric), what, "take a shorter name")
    for port in datacenter.ports:
        yield from _check_said((*where, port.fabric, "interface"), port.interface)


def _check_link(where: Where, link: Link) -> Iterator[Finding]:
    said = {e: n for e, n in zip((link.a, link.b), link.interfaces, strict=False) if n}
    if said and link.kind is LinkKind.WIREGUARD:
        what = f"a {link.kind} link makes its interfaces itself"
        yield Finding(where, what, "leave it out; a tunnel that others make is kind: direct")
        return
    for edge, name in said.items():
        yield from _check_said((*where, edge), name)


def _check_said(where: Where, name: str) -> Iterator[Finding]:
    """Find a name that no port of ours can have."""
    yield from _check_name(where, name, "take another name in the operating system, too")
    if name.startswith(_OF_TUNNELS):
        what = f"{name}: names that begin with {_OF_TUNNELS} are for tunnels that we make"
        yield Finding(where, what, "leave it out, or rename the interface")


def _check_name(where: Where, name: str, hint: str) -> Iterator[Finding]:
    """Find a name that Linux gives no port, or that our configurations could not quote."""
    if not _NAME.match(name):
        yield Finding(where, f"{name!r} is not the name of an interface", _AS_SHOWN)
    elif name in _OF_THE_KERNEL:
        yield Finding(where, f"no port is called {name}", _AS_SHOWN)
    elif _OF_INSTANCES.match(name):
        what = f"{name} is what the port of an instance is called"
        yield Finding(where, what, "rename the interface")
    else:
        yield from check_interface(where, name, hint)


# ---- who uses it ---------------------------------------------------------------------------


def _check_inside(platform: Platform) -> Iterator[Finding]:
    """Find ports that fabrics and links share: neighbours there are told by their port."""
    for machine in platform.machines:
        users: dict[str, str] = {}
        for where, name, use in _inside(platform, machine):
            other = users.setdefault(name, use)
            if other != use:
                what = f"{name} is also the port of {other}"
                yield Finding(where, what, "each has an interface of its own, such as a VLAN")


def _inside(platform: Platform, machine: Machine) -> Iterator[tuple[Where, str, str]]:
    """Yield the ports to our own machines: where they are named, name, what for."""
    own = {port.fabric for port in machine.ports}
    site: Where = ("datacenters", machine.datacenter)
    fabrics = next(
        (dc.fabrics for dc in platform.datacenters if dc.name == machine.datacenter), ()
    )
    for fabric in fabrics:
        where = where_of(machine) if fabric in own else site
        name = platform.fabric_interface(machine, fabric)
        yield (*where, "fabrics", fabric), name, f"fabric {fabric}"
    for index, link in enumerate(platform.links):
        if machine.name in {link.a, link.b}:
            name = link.interface_at(machine.name)
            yield ("backbone", index), name, f"link {link.name}"


def _check_sessions(platform: Platform) -> Iterator[Finding]:
    taken = {
        (machine.name, name)
        for machine in platform.machines
        for _, name, _ in _inside(platform, machine)
    }
    users: dict[tuple[str, str, int], Interface] = {}
    for peer in platform.peers:
        for index, session in enumerate(peer.sessions):
            here = ("peers", peer.name, "sessions", index, "interface")
            yield from _check_name(here, session.interface, "set interface: to a shorter name")
            port = (session.edge, session.interface)
            if port in taken:
                what = f"{session.interface} of {session.edge} is already in use"
                yield Finding(here, what, "set interface: to a name that is unique on the edge")
            if not session.multihop:
                yield from _check_shared(here, port, session.ours, users)


def _check_shared(
    where: Where,
    port: tuple[str, str],
    addresses: Iterable[Interface],
    users: dict[tuple[str, str, int], Interface],
) -> Iterator[Finding]:
    for ours in addresses:
        other = users.setdefault((*port, ours.version), ours)
        if other != ours:
            what = f"{port[1]} of {port[0]} already has {other}, not {ours}"
            hint = "sessions that share an interface have the same ours; else set interface:"
            yield Finding(where, what, hint)
