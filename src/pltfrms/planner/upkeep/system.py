"""Judge a machine beside its ports: kernel, clock, disk, who else is there. Pure."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Final

from pltfrms.model.network.links import LinkKind
from pltfrms.model.network.ports import MachineFinding, PortGrade
from pltfrms.model.network.readers import METRICS_PORT
from pltfrms.model.network.system import Listener, LocalWay, SeenSystem
from pltfrms.model.network.topology import (
    CONTROLLER_PORT,
    ETCD_CLIENT_PORT,
    ETCD_PEER_PORT,
    GLASS_PORT,
    Machine,
    Platform,
    Role,
    link_local,
)
from pltfrms.model.network.tunnels import tunnels_of

BGP_PORT: Final = 179
BFD_PORTS: Final = (3784, 4784)
"""RFC 5881 and RFC 5883."""
SLOW_DISK_MS: Final = 10.0
"""etcd asks for less; from then on each change of the platform takes noticeably longer."""
BAD_DISK_MS: Final = 100.0
"""etcd's own interval between heartbeats: it begins to lose its leader."""
STORE_BYTES: Final = 4 << 30
"""Room for etcd, its log and one snapshot, at its own limit of 2 GiB."""
STATE_BYTES: Final = 512 << 20
_ASKED: Final = 4
"""Of a fabric, so many are asked whether they answer."""
_IN_PACKETS: Final = (4, 41)
"""IPv4 and IPv6 in IPv6 (RFC 2473), as the director sends them."""
_LIMITS: Final = ("cpu", "memory", "pids")


def system_findings(
    platform: Platform, machine: str, seen: SeenSystem, sysctls: Mapping[str, str]
) -> tuple[MachineFinding, ...]:
    """Return what is wrong with a machine, by kind.

    `sysctls` are those that the agent sets: what is below /proc/sys, and the value. What is
    not known is no finding. KeyError if the platform has no such machine.
    """
    me = platform.machine(machine)
    return tuple(
        chain(
            _kernel(platform, me, seen),
            _listeners(platform, me, seen),
            _clock(seen),
            _disk(me, seen),
            _size(me, seen),
            _cgroups(me, seen),
            _firewall(platform, me, seen),
            _sysctls(seen, sysctls),
            _silence(seen),
            _swallowed(seen),
        )
    )


def ways(platform: Platform, machine: str) -> tuple[LocalWay, ...]:
    """Return some machines in each fabric, and the far ends of links that are no tunnels."""
    me = platform.machine(machine)
    here = [
        other
        for other in platform.managed
        if other.datacenter == me.datacenter and other.name != me.name
    ]
    fabrics = platform.datacenter(me.datacenter).fabrics
    links = (link for link in platform.links_of(machine) if link.kind is LinkKind.DIRECT)
    return (
        *(
            LocalWay(
                platform.fabric_interface(me, fabric),
                other.name,
                link_local(other),
            )
            for fabric in fabrics
            for other in here[:_ASKED]
        ),
        *(
            LocalWay(
                link.interface_at(machine),
                link.far_end(machine),
                platform.backbone_link_local(platform.machine(link.far_end(machine))),
            )
            for link in links
        ),
    )


def needed_protocols(platform: Platform) -> tuple[int, ...]:
    """Return the protocols of IPv6 in which machines hand on the packets of clients."""
    return _IN_PACKETS if platform.director else ()


def needed_modules(platform: Platform, me: Machine) -> tuple[str, ...]:
    """Return the parts of the kernel that a machine cannot do without, or only slower."""
    modules = ["nf_tables"]
    if me.has(Role.NODE):
        modules.append("veth")
    if platform.director and me.forwards:
        modules += ["sch_ingress", "cls_bpf"]
    if _tunnels(platform, me):
        modules.append("wireguard")
    return tuple(modules)


def needed_ports(platform: Platform, me: Machine) -> tuple[tuple[str, int, str], ...]:
    """Return (`tcp` or `udp`, port, what for) of all that others must reach here."""
    found = [("tcp", BGP_PORT, "BGP"), ("tcp", GLASS_PORT, "the looking glass")]
    if platform.readers:
        found.append(("tcp", METRICS_PORT, "metrics"))
    found += [("udp", port, "BFD") for port in BFD_PORTS]
    if me.has(Role.CONTROLLER):
        found += [
            ("tcp", CONTROLLER_PORT, "the controller"),
            ("tcp", ETCD_CLIENT_PORT, "etcd"),
            ("tcp", ETCD_PEER_PORT, "etcd"),
        ]
    tunnels = (("udp", port, "WireGuard") for port in _tunnels(platform, me))
    return (*found, *dict.fromkeys(tunnels))


def _tunnels(platform: Platform, me: Machine) -> tuple[int, ...]:
    return tuple(tunnel.port for tunnel in tunnels_of(platform, me.name))


def _kernel(platform: Platform, me: Machine, seen: SeenSystem) -> Iterator[MachineFinding]:
    for name in needed_modules(platform, me):
        if seen.modules.get(name, True):
            continue
        what = f"it has no {name}"
        if name == "wireguard":
            hint = "modprobe wireguard; else wireguard-go, which is slower, is used"
            yield _finding("kernel", what, hint, PortGrade.DOUBTFUL)
        elif name in {"sch_ingress", "cls_bpf"}:
            hint = "a kernel of 6.6 or later needs neither; else director: false in the spec"
            yield _finding("kernel", what, hint, PortGrade.DOUBTFUL)
        else:
            yield _finding("kernel", what, f"modprobe {name}, or another kernel")


def _listeners(platform: Platform, me: Machine, seen: SeenSystem) -> Iterator[MachineFinding]:
    for protocol, port, use in needed_ports(platform, me):
        for other in seen.listeners:
            if (other.protocol, other.port) == (protocol, port) and not other.ours:
                what = f"{other.program or 'another program'} listens on {protocol} {port}"
                yield _finding(use, what, _stop(other))


def _stop(other: Listener) -> str:
    units = {"bird": "bird", "etcd": "etcd"}
    if other.program in units:
        return f"systemctl disable --now {units[other.program]}: ours runs beside nothing else"
    if not other.program:
        return "stop it, or give it another port: ss -ltunp says who it is"
    return "stop it, or give it another port"


def _clock(seen: SeenSystem) -> Iterator[MachineFinding]:
    if seen.synchronized is False:
        what = (
            "nothing keeps it right: events are out of order, certificates begin and end wrong"
        )
        hint = "apt install chrony (or systemd-timesyncd), and let NTP pass"
        yield _finding("clock", what, hint, PortGrade.DOUBTFUL)


def _disk(me: Machine, seen: SeenSystem) -> Iterator[MachineFinding]:
    keeps_store = me.has(Role.CONTROLLER)
    needed = STORE_BYTES if keeps_store else STATE_BYTES
    if seen.free_bytes is not None and seen.free_bytes < needed:
        what = f"{seen.free_bytes >> 20} MiB are free, and {needed >> 20} may be needed"
        yield _finding("disk", what, "make room, or put /var/lib/pltfrms on another disk")
    if keeps_store and seen.sync_ms is not None and seen.sync_ms > SLOW_DISK_MS:
        bad = seen.sync_ms > BAD_DISK_MS
        what = f"a write is kept after {seen.sync_ms:.0f} ms (1 of 100 later)"
        what += ", and etcd loses its leader" if bad else f"; etcd asks for {SLOW_DISK_MS:.0f}"
        grade = PortGrade.WRONG if bad else PortGrade.DOUBTFUL
        yield _finding("disk", what, "an SSD of its own for /var/lib/pltfrms", grade)


def _size(me: Machine, seen: SeenSystem) -> Iterator[MachineFinding]:
    if seen.cores and me.cpu > seen.cores:
        what = f"it has {seen.cores} cores, and instances are promised {me.cpu:g}"
        yield _finding("size", what, f"cpu: {seen.cores} or less in the spec")
    if seen.memory_bytes and me.memory_bytes > seen.memory_bytes:
        have, said = seen.memory_bytes >> 20, me.memory_bytes >> 20
        what = f"it has {have} MiB of memory, and instances are promised {said}"
        yield _finding("size", what, f"memory: {have}MiB or less in the spec")


def _cgroups(me: Machine, seen: SeenSystem) -> Iterator[MachineFinding]:
    if not me.has(Role.NODE) or seen.controllers is None:
        return
    missing = [name for name in _LIMITS if name not in seen.controllers]
    if missing:
        what = f"cgroups of version 2 lack {', '.join(missing)}: those limits do not hold"
        hint = "boot with systemd.unified_cgroup_hierarchy=1, and enable them"
        yield _finding("limits", what, hint, PortGrade.DOUBTFUL)


def _firewall(platform: Platform, me: Machine, seen: SeenSystem) -> Iterator[MachineFinding]:
    for name in seen.dropping or ():
        hook = name.split()[-1].lower()
        if hook == "forward" and not me.forwards:
            continue
        what = f"{name} drops what it does not know"
        if hook == "forward":
            hint = "packets of clients pass this machine: policy accept, or accept them there"
        else:
            ports = needed_ports(platform, me)
            lists = {
                protocol: ", ".join(str(port) for each, port, _ in ports if each == protocol)
                for protocol in ("tcp", "udp")
            }
            hint = (
                f"accept tcp {lists['tcp']}, udp {lists['udp']}, OSPF (protocol 89), "
                "protocols 4 and 41, and ICMPv6"
            )
        yield _finding("firewall", what, hint, PortGrade.DOUBTFUL)


def _sysctls(seen: SeenSystem, ours: Mapping[str, str]) -> Iterator[MachineFinding]:
    last = {line.name: line for line in seen.sysctls}
    for line in last.values():
        wanted = ours.get(line.name)
        if wanted is not None and wanted != line.value:
            name = line.name.replace("/", ".")
            what = f"{line.file} sets {name} to {line.value}, and the agent to {wanted}"
            hint = "take the line out: whoever runs `sysctl --system` undoes ours for a moment"
            yield _finding("sysctl", what, hint, PortGrade.DOUBTFUL)


def _silence(seen: SeenSystem) -> Iterator[MachineFinding]:
    for port, machine in seen.silent:
        hint = "right if it is off; else a switch, or the host of virtual machines, drops it"
        yield MachineFinding(
            port=port,
            use=f"way to {machine}",
            grade=PortGrade.DOUBTFUL,
            what="nobody answers at its link-local IPv6 address",
            hint=hint,
        )


def _swallowed(seen: SeenSystem) -> Iterator[MachineFinding]:
    for port, machine, protocol in seen.swallowed:
        yield MachineFinding(
            port=port,
            use=f"way to {machine}",
            grade=PortGrade.DOUBTFUL,
            what=f"it answers, but not to IP protocol {protocol}, in which clients' packets go",
            hint="a switch, firewall or host of virtual machines drops it: let 4 and 41 pass",
        )


def _finding(
    use: str, what: str, hint: str, grade: PortGrade = PortGrade.WRONG
) -> MachineFinding:
    return MachineFinding(port="", use=use, grade=grade, what=what, hint=hint)
