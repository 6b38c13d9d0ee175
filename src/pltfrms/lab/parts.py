"""The words of the lab: what the capsule must know to make machines and wires.

`wiring` and `assembly` make these from the operator's spec; everything below them knows
nothing of platforms.
"""

from dataclasses import dataclass
from enum import StrEnum

FABRIC_MTU = 1600
"""Fabrics and backbone have room for one more header around a 1500-byte packet."""
OUTSIDE_MTU = 1500

PortKey = tuple[str, str]
"""(machine, interface)."""


class SegmentKind(StrEnum):
    """What a segment is, which is also the first word of its name as a fault's target."""

    LINK = "link"
    FABRIC = "fabric"
    LAN = "lan"


@dataclass(frozen=True, slots=True)
class Port:
    """A machine's network interface, plugged into a segment."""

    machine: str
    interface: str
    delay_us: int = 0
    """One way, in both directions, between the interface and the segment."""

    @property
    def key(self) -> PortKey:
        """What identifies the port."""
        return (self.machine, self.interface)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One layer-2 network: a cable between two machines, or a switch."""

    name: str
    """As faults call it: `link/A--B`, `fabric/fra/a`, `lan/ixp1`."""
    kind: SegmentKind
    mtu: int
    ports: tuple[Port, ...]

    @property
    def point_to_point(self) -> bool:
        """Whether an end sees the other end's loss of power as loss of carrier."""
        return self.kind is SegmentKind.LINK


@dataclass(frozen=True, slots=True, kw_only=True)
class WiredMachine:
    """A machine as the wires see it."""

    name: str
    role: str
    """`edge`, `node`, `controller`; in the emulated internet `transit`, `ixp`, `eyeball`,
    `network`."""
    datacenter: str = ""
    """Empty in the emulated internet."""
    further: tuple[str, ...] = ()
    """What it is beside its role."""

    @property
    def roles(self) -> tuple[str, ...]:
        """All that it is."""
        return (self.role, *self.further)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """Which machines there are and what connects them."""

    machines: tuple[WiredMachine, ...]
    segments: tuple[Segment, ...]

    def machine(self, name: str) -> WiredMachine:
        """Return the machine called `name`; KeyError if there is none."""
        for machine in self.machines:
            if machine.name == name:
                return machine
        raise KeyError(name)

    def ports_of(self, machine: str) -> tuple[tuple[Segment, Port], ...]:
        """Return the ports of a machine with their segments."""
        return tuple(
            (segment, port)
            for segment in self.segments
            for port in segment.ports
            if port.machine == machine
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A daemon that a machine runs and restarts, as a service manager would."""

    name: str
    command: tuple[str, ...] = ()
    """Program and arguments; empty if it is a Python entry."""
    entry: str = ""
    """`module:function`, called in a fork of the lab's preloaded interpreter."""
    needs: str = ""
    """Path that must exist before the unit is started."""
    runs_first: bool = False
    """It need not wait for the processor while other machines use it."""
    becomes: bool = False
    """The entry ends as another program, whose threads share what the unit gets."""
    nice: int = 0
    """As of nice(1): below 0 it gets more than its share of a busy processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineParts:
    """What one machine consists of, apart from its wires."""

    name: str
    tree: str = ""
    """The files of a Debian whose systemd is process 1, and runs the package that is installed
    there. `units` are then names, and `files`, `prepare` and `reload` empty."""
    units: tuple[Unit, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    """(absolute path, text), put on its disk before every boot."""
    sysctls: tuple[tuple[str, str], ...] = ()
    """(path below /proc/sys, value), written at boot, before `network`."""
    network: tuple[str, ...] = ()
    """Lines of `ip -batch`, run at boot."""
    prepare: tuple[tuple[str, ...], ...] = ()
    """Commands that must succeed at boot before the units start."""
    reload: tuple[str, ...] = ()
    """Command by which a unit that runs takes changed files; empty: it knows by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """What changes in a machine that runs."""

    units: tuple[Unit, ...]
    """All that it is to run from now on."""
    files: tuple[tuple[str, str], ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    ports: tuple[str, ...] = ()
    """Those that are plugged in anew: what was said of them before is gone."""
    network: tuple[str, ...] = ()
    """A line that was done before, and is of none of these ports, is not done again."""
    commands: tuple[tuple[str, ...], ...] = ()
    """Run at the end; each must succeed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabParts:
    """A whole lab."""

    wiring: Wiring
    machines: tuple[MachineParts, ...]

    def machine(self, name: str) -> MachineParts:
        """Return the parts of the machine called `name`; KeyError if there is none."""
        for machine in self.machines:
            if machine.name == name:
                return machine
        raise KeyError(name)


class UnitGrip(StrEnum):
    """What faults do to a unit."""

    FREE = "free"
    HELD = "held"
    """Killed, and kept from being restarted."""
    HUNG = "hung"


class UnitState(StrEnum):
    """How a unit is, as its machine says."""

    RUNNING = "running"
    WAITING = "waiting"
    """For what it needs: a file, or to be wanted."""
    RESTARTING = "restarting"
    KILLED = "killed"
    """By a fault, and kept down."""
    HUNG = "hung"
