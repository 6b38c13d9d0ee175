"""The machine that the director's program is tried on, and what it may do with a packet."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import IPv6Network, ip_address

from pltfrms.drivers.balancer.director.model import (
    REDIRECTED,
    Action,
    Connection,
    Fate,
    Home,
    Maps,
    Served,
    Socket,
    deliver,
    encapsulate,
)
from pltfrms.drivers.balancer.director.packet import PacketFlow
from pltfrms.model.running.balancer import ENCAPSULATED_MARK, ROWS, HookKind
from pltfrms.planner.balancing.flow_hash import flow_hash, flow_row
from tests.drivers.balancer.director.packets import (
    BARE4,
    CLIENT4,
    CLIENT6,
    IDLE6,
    INFRASTRUCTURE,
    LABEL,
    OUR_MAC,
    SOURCE,
    TEAM4,
    TEAM6,
    WEB4,
    WEB6,
    instance,
    key,
    packed,
)

WEB, TEAM, BARE, IDLE = 7, 8, 9, 10
"""Ids of services: their seeds."""
ME = Home(packed(instance(1)))
KNOWN_PORT, CLOSED_PORT, OPEN_PORT = 40_001, 40_002, 80
"""A client's port with a connection to the team, and the port it is to."""
CONNECTION = Connection(receives=1000, sends=2000)
"""What is on it: test packets have the numbers 1 and 1."""
INSTANCES = 300
HOOKS = {
    "outside": HookKind.OUTSIDE,
    "inside": HookKind.INSIDE,
    "instance_in": HookKind.INSTANCE,
}


@cache
def web_rows() -> list[tuple[int, ...]]:
    """Return rows whose first candidate tells them apart, more or less."""
    return [(1 + row % INSTANCES, 1 + (row + 1) % INSTANCES, 0, 0) for row in range(ROWS)]


@cache
def machine() -> Maps:
    """Return the maps of one machine; never changed."""
    return Maps(
        source=IPv6Network(SOURCE),
        infrastructure=IPv6Network(INFRASTRUCTURE),
        services={
            key(WEB4): Served(0, WEB),
            key(WEB6): Served(0, WEB),
            key(TEAM4): Served(1, TEAM),
            key(TEAM6): Served(1, TEAM),
            key(BARE4): Served(2, BARE),
            key(IDLE6): Served(3, IDLE),
        },
        tables={0: web_rows(), 1: [(1, 2, 3, 0)] * ROWS, 3: [(0, 0, 0, 0)] * ROWS},
        instances={number: packed(instance(number)) for number in range(1, INSTANCES + 1)},
    )


def socket_of(flow: PacketFlow) -> Socket | Connection:
    """Return what instance 1 has: a listener, and per address of the team two connections.

    One of them has been closed.
    """
    if flow.service not in {key(TEAM4), key(TEAM6)}:
        return Socket.NONE
    client, service = (int.from_bytes(part) for part in (flow.ports[:2], flow.ports[2:]))
    if service != OPEN_PORT:
        return Socket.NONE
    if flow.client not in {key(CLIENT4), key(CLIENT6)}:
        return Socket.LISTENER
    if client == KNOWN_PORT:
        return CONNECTION
    return Socket.CLOSED if client == CLOSED_PORT else Socket.LISTENER


def model(program: str, packet: bytes, maps: Maps, mark: int = 0, me: Home = ME) -> Fate:
    """Return what the model says."""
    comes_in = program == "inside"
    if program == "instance_out" or (comes_in and packet[:6] == OUR_MAC):
        verdict = deliver(packet, maps, flow_hash, me, socket_of, comes_in=comes_in)
        if program == "instance_out" or verdict.counters:
            return replace(verdict, mark=verdict.mark or mark)
    return encapsulate(packet, maps, flow_hash, hook=HOOKS[program], mark=mark)


def row_of(client: str, ports: tuple[int, int], protocol: int) -> int:
    return flow_row(ip_address(client), *ports, protocol, WEB)


# ---- what is expected ----------------------------------------------------------------------


@dataclass(frozen=True)
class Alone:
    """It goes on as it is."""

    counter: str = ""

    def holds(self, verdict: Fate, packet: bytes) -> bool:
        names = (self.counter,) if self.counter else ()
        is_same = verdict.action is Action.OK and verdict.frame == packet and not verdict.mark
        return is_same and verdict.counters == names


@dataclass(frozen=True)
class Nobody:
    """It goes on as it is, for lack of an instance."""

    def holds(self, verdict: Fate, packet: bytes) -> bool:
        is_counted = verdict.service is not None and verdict.service.added == (0, 0, 0, 1)
        return Alone().holds(verdict, packet) and is_counted


@dataclass(frozen=True)
class Sent:
    """It is encapsulated to the first candidate of a row of the web's table."""

    row: int
    counter: str = ""
    new: int = 0

    def holds(self, verdict: Fate, packet: bytes) -> bool:
        first, size = 1 + self.row % INSTANCES, len(packet) - 14
        header = int.from_bytes(verdict.frame[14:18])
        added = verdict.service.added if verdict.service else ()
        return (
            verdict.action is Action.OK
            and verdict.frame[54:] == packet[14:]
            and verdict.frame[:14] == packet[:12] + b"\x86\xdd"
            and header == 6 << 28 | LABEL
            and int.from_bytes(verdict.frame[18:20]) == size
            and verdict.frame[20:22] == (b"\x29\x40" if packet[12] == 0x86 else b"\x04\x40")
            and verdict.frame[22:34] == packed(SOURCE.split("/")[0])[:12]
            and int.from_bytes(verdict.frame[34:38]) % ROWS == self.row
            and verdict.frame[38:54] == packed(instance(first))
            and added == (1, size, self.new, 0)
            and verdict.mark == ENCAPSULATED_MARK
            and verdict.counters == ((self.counter,) if self.counter else ())
        )


@dataclass(frozen=True)
class Dropped:
    """It is forged, or nothing can be done with it."""

    counter: str = "forged"

    def holds(self, verdict: Fate, _: bytes) -> bool:
        return verdict.action is Action.SHOT and verdict.counters == (self.counter,)


@dataclass(frozen=True)
class Taken:
    """The instance gets it without its outer header."""

    counter: str = ""
    action: Action = Action.OK

    def holds(self, verdict: Fate, packet: bytes) -> bool:
        names = (self.counter, "decapsulated") if self.counter else ("decapsulated",)
        kind = b"\x86\xdd" if packet[20] == 41 else b"\x08\x00"
        inner = packet[:12] + kind + packet[54:]
        is_ok = verdict.action is self.action and verdict.frame == inner
        return is_ok and verdict.counters == names and not verdict.mark


@dataclass(frozen=True)
class PassedOn:
    """The outer packet goes to another instance, after so many hops."""

    to: int
    hops: int
    back: bool = True
    """Out of the device where it would go; else it goes on to the kernel's routing."""

    def holds(self, verdict: Fate, packet: bytes) -> bool:
        there = packet[:12]
        back = packet[6:12] + packet[:6]
        return (
            verdict.action is (Action.REDIRECT if self.back else Action.OK)
            and verdict.mark == (REDIRECTED if self.back else 0)
            and verdict.frame[:14] == (back if self.back else there) + packet[12:14]
            and int.from_bytes(verdict.frame[14:18]) == 6 << 28 | LABEL | self.hops
            and verdict.frame[18:38] == packet[18:38]
            and verdict.frame[38:54] == packed(instance(self.to))
            and verdict.frame[54:] == packet[54:]
            and verdict.counters == ("second_chance",)
        )


Expectation = Alone | Nobody | Sent | Dropped | Taken | PassedOn


@dataclass(frozen=True)
class Case:
    """A rule, and a packet that is treated by it."""

    rule: str
    program: str
    packet: bytes
    expected: Expectation
    mark: int = 0
    change: Callable[[Maps], Maps] = lambda maps: maps
    me: Home = ME
