"""The wire room: every segment as a bridge, every port as a veth between it and a machine.

    machine            wire room
    fab-a  ===veth===  p7 ------------------------ s2    a plain port
    x-ixp1 ===veth===  p8 ~~ shaper ~~ x9 ==== y9  s5    a port with delay or loss

The near end (`p7`) decides about the machine's carrier. The interface that is in the bridge
(`p7`, or `y9`) is the port's door: out of the bridge, nothing passes but carrier stays.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256

from pltfrms.errors import UnavailableError
from pltfrms.lab.network.impairment import PortCondition, PortShape
from pltfrms.lab.network.links import join_bridge, leave_bridge, run_batch, set_down, set_up
from pltfrms.lab.network.shaping import Shaper
from pltfrms.lab.parts import Port, PortKey, Segment, Wiring


@dataclass(slots=True)
class _Wire:
    """How a port is at present."""

    number: int
    bridge: str
    segment: Segment
    condition: PortCondition = field(default_factory=PortCondition)
    pair: int = 0
    """Number of the interfaces behind the shaper; 0 if frames just pass."""

    @property
    def near(self) -> str:
        return f"p{self.number}"

    @property
    def far(self) -> str:
        return f"x{self.pair}"

    @property
    def door(self) -> str:
        return f"y{self.pair}" if self.pair else self.near


class WireRoom:
    """All wires of a lab. Lives in the capsule's own network namespace."""

    def __init__(self, wiring: Wiring, shaper: Shaper) -> None:
        """Make the segments, without any port."""
        self.shaper = shaper
        self._wires: dict[PortKey, _Wire] = {}
        self._bridges: dict[str, str] = {}
        self._rubbish: list[str] = []
        self._made = self._segments = 0
        self._add_bridges(wiring)

    def _add_bridges(self, wiring: Wiring) -> None:
        lines: list[str] = []
        made: dict[str, str] = {}
        for segment in wiring.segments:
            if segment.name not in self._bridges:
                self._segments += 1  # never the same name twice, as with ports
                made[segment.name] = f"s{self._segments}"
                lines += _bridge_lines(made[segment.name], segment)
        run_batch(lines)
        self._bridges |= made

    def rewire(self, wiring: Wiring, pulled: AbstractSet[PortKey]) -> None:
        """Have the segments of `wiring`, and lead the wires that stay to theirs.

        Wires of `pulled` ports end, and of those that are in none of them; new ones are for
        `plug`. If it fails, it can be done again.

        Raises:
            UnavailableError: the kernel refuses a segment.
        """
        wanted = {port.key for segment in wiring.segments for port in segment.ports}
        for key in [key for key in self._wires if key in pulled or key not in wanted]:
            wire = self._wires.pop(key)
            run_batch([f"link del {wire.near}"])
            if wire.pair:
                self._unpair(wire)
        self._add_bridges(wiring)
        for segment in wiring.segments:
            for port in segment.ports:
                if port.key in self._wires:
                    self._lead(self._wires[port.key], segment)
        names = {segment.name for segment in wiring.segments}
        for name in self._bridges.keys() - names:
            self._rubbish.append(f"link del {self._bridges.pop(name)}")

    def _lead(self, wire: _Wire, segment: Segment) -> None:
        bridge = self._bridges[segment.name]
        if bridge != wire.bridge and not wire.condition.silent:
            leave_bridge(wire.bridge, wire.door)
            join_bridge(bridge, wire.door)
        wire.bridge, wire.segment = bridge, segment

    def plug(
        self,
        ports: Sequence[tuple[Segment, Port]],
        pids: Mapping[str, int],
        conditions: Mapping[PortKey, PortCondition],
    ) -> None:
        """Make the wires of `ports`; `pids` has a process of each of their machines.

        Raises:
            UnavailableError: the kernel refuses an interface.
        """
        wires = {port.key: self._new_wire(segment) for segment, port in ports}
        try:
            run_batch(
                [
                    line
                    for _, port in ports
                    for line in _wire_lines(wires[port.key], port, pids[port.machine])
                ]
            )
        except UnavailableError:
            for wire in wires.values():
                with suppress(UnavailableError):  # it was not made
                    run_batch([f"link del {wire.near}"])
            raise
        self._wires |= wires
        for key in wires:
            self.apply(key, conditions[key])

    def unplug(self, machine: str) -> None:
        """Silence a machine at the switches, as loss of power does.

        At cables the far ends do that: `apply` cuts them.
        """
        for key, wire in self._wires.items():
            if key[0] == machine and not wire.segment.point_to_point:
                with suppress(OSError):  # gone with the machine already
                    set_down(wire.near)

    def forget(self, machine: str) -> None:
        """Remove what is left of the wires of a machine that is gone."""
        for key in [key for key in self._wires if key[0] == machine]:
            wire = self._wires.pop(key)
            if wire.pair:
                self._unpair(wire)

    def take_rubbish(self) -> list[str]:
        """Return lines of `ip -batch` that remove interfaces which nothing uses any more.

        Apart, because the kernel takes tens of milliseconds for each.
        """
        lines, self._rubbish = self._rubbish, []
        return lines

    def apply(self, key: PortKey, condition: PortCondition) -> None:
        """Make a port as `condition` says; a port of a powered-off machine is left alone.

        The fast things (carrier, silence) come first.
        """
        wire = self._wires.get(key)
        if wire is None or wire.condition == condition:
            return
        before = wire.condition
        if condition.cut != before.cut:
            (set_down if condition.cut else set_up)(wire.near)
        if condition.silent and not before.silent:
            leave_bridge(wire.bridge, wire.door)
        if condition.shape != before.shape:
            in_bridge = not (condition.silent or before.silent)
            self._reshape(wire, condition.shape, in_bridge=in_bridge)
        wire.condition = condition
        if before.silent and not condition.silent:
            join_bridge(wire.bridge, wire.door)

    def near_end(self, key: PortKey) -> str | None:
        """Return the wire room's interface of a port; None while its machine is off."""
        wire = self._wires.get(key)
        return wire.near if wire else None

    def _new_wire(self, segment: Segment) -> _Wire:
        return _Wire(self._next_number(), self._bridges[segment.name], segment)

    def _next_number(self) -> int:
        self._made += 1  # never the same name twice: the kernel may still hold the old one
        return self._made

    def _reshape(self, wire: _Wire, shape: PortShape, *, in_bridge: bool) -> None:
        moves = in_bridge and shape.plain == bool(wire.pair)
        if moves:
            leave_bridge(wire.bridge, wire.door)
        if shape.plain:
            self._unpair(wire)
        else:
            if not wire.pair:
                wire.pair = self._next_number()
                run_batch(_pair_lines(wire))
            self.shaper.set(wire.near, wire.far, shape)
        if moves:
            join_bridge(wire.bridge, wire.door)

    def _unpair(self, wire: _Wire) -> None:
        self.shaper.drop(wire.near)
        self._rubbish.append(f"link del {wire.far}")
        wire.pair = 0


def _bridge_lines(bridge: str, segment: Segment) -> list[str]:
    return [
        f"link add {bridge} mtu {segment.mtu} type bridge stp_state 0 mcast_snooping 0",
        f"link set {bridge} alias {segment.name}",
        f"link set {bridge} up",
    ]


def _wire_lines(wire: _Wire, port: Port, pid: int) -> list[str]:
    mtu = wire.segment.mtu
    far_end = f"name {port.interface} mtu {mtu} address {_mac(port)} netns {pid}"
    return [
        f"link add {wire.near} mtu {mtu} type veth peer {far_end}",
        f"link set {wire.near} alias {port.machine}:{port.interface}",
        f"link set {wire.near} master {wire.bridge}",
        f"link set {wire.near} up",
    ]


def _mac(port: Port) -> str:
    """Return the hardware address of a port: the same after every boot, as a real one."""
    digest = sha256(f"{port.machine}:{port.interface}".encode()).digest()
    return bytes((0x02, *digest[:5])).hex(":")


def _pair_lines(wire: _Wire) -> list[str]:
    far, door, mtu = wire.far, wire.door, wire.segment.mtu
    return [
        f"link add {far} mtu {mtu} type veth peer name {door} mtu {mtu}",
        f"link set {far} up",
        f"link set {door} up",
    ]
