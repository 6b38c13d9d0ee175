"""Packets that nobody sends on purpose: seeded, many, and mostly almost right."""

import random
from collections.abc import Iterator, Sequence

from pltfrms.drivers.balancer.director.model import REDIRECTED
from tests.drivers.balancer.director.cases import CASES
from tests.drivers.balancer.director.packets import (
    ANOTHER_MAC,
    BARE4,
    CLIENT4,
    CLIENT6,
    EDGE,
    IDLE6,
    LABEL,
    TEAM4,
    TEAM6,
    WEB4,
    WEB6,
    extension,
    fragment6,
    frame,
    icmp,
    ip4,
    ip6,
    outer,
    packed,
    tcp,
    udp,
)
from tests.drivers.balancer.director.world import ME

LEAST_BYTES = 14 + 20
"""The kernel tries programs only on frames with room for an IP header."""
_MOST_BYTES = 1500
_PORTS = (9, 53, 80, 40_000, 40_001)
_PROTOCOLS = (0, 1, 4, 6, 6, 6, 17, 33, 41, 43, 44, 47, 50, 58, 59, 60, 132, 136)
_ADDRESSES = [
    packed(each) for each in (CLIENT4, WEB4, TEAM4, BARE4, CLIENT6, WEB6, TEAM6, IDLE6, EDGE)
]
_BYTES = (0, 1, 2, 4, 5, 6, 17, 41, 43, 44, 45, 58, 60, 64, 69, 0x60, 128, 135, 255)


def frames(seed: int, count: int) -> Iterator[tuple[str, bytes, int]]:
    """Yield programs, frames for them and their marks."""
    dice = random.Random(seed)  # noqa: S311 - packets for a test
    known = [case.packet for case in CASES]
    for _ in range(count):
        packet = dice.choice(known) if dice.random() < 0.5 else frame(_packet(dice, 0))
        if dice.random() < 0.3:
            packet = _enclosed(dice, packet)
        packet = _mutated(dice, packet)[:_MOST_BYTES]
        packet += bytes(max(LEAST_BYTES - len(packet), 0))
        if packet[12:14] == b"\x86\xdd":
            packet += bytes(max(14 + 40 - len(packet), 0))
        if dice.random() < 0.1:
            packet = ANOTHER_MAC + packet[6:]
        yield _program(dice, packet), packet, dice.choice((0, 0, 0, 5, REDIRECTED))


def _program(dice: random.Random, packet: bytes) -> str:
    if packet[12:14] == b"\x86\xdd" and packet[38:54] == ME.address and dice.random() < 0.8:
        return dice.choice(("instance_out", "inside"))
    return dice.choice(("outside", "outside", "inside", "instance_in", "instance_out"))


def _packet(dice: random.Random, depth: int) -> bytes:
    """Return an IP packet of any kind; ICMP errors quote another one."""
    client4, client6 = (CLIENT4, CLIENT6) if dice.random() < 0.6 else _any_client(dice)
    ttl = dice.choice((0, 1, 2, 64, 255))
    if dice.random() < 0.5:
        protocol, payload = _payload(dice, depth, v6=False)
        source, destination = client4, dice.choice((WEB4, TEAM4, TEAM4, BARE4))
        if depth:
            source, destination = destination, source
        part = dice.choice((0, 0, 0, 0x4000, 0x2000, 0x2001, 0x0001, 0x8000))
        return ip4(payload, protocol, source, destination, ttl, part)
    protocol, payload = _payload(dice, depth, v6=True)
    for _ in range(dice.choice((0, 0, 0, 0, 1, 2, 3, 4, 5))):
        kind = dice.choice((0, 43, 60, 60, 44))
        if kind == 44:
            offset = dice.choice((0, 0, 0, 1, 185))
            payload = fragment6(protocol, payload, offset, more=dice.random() < 0.3)
        else:
            payload = extension(protocol, payload, dice.choice((0, 0, 1, 3)))
        protocol = kind
    source, destination = client6, dice.choice((WEB6, TEAM6, TEAM6, IDLE6))
    if depth:
        source, destination = destination, source
    return ip6(payload, protocol, source, destination, ttl)


def _any_client(dice: random.Random) -> tuple[str, str]:
    return (
        f"10.{dice.randrange(256)}.0.{dice.randrange(256)}",
        f"2001:db8::{dice.randrange(9)}:1",
    )


def _payload(dice: random.Random, depth: int, *, v6: bool) -> tuple[int, bytes]:
    here, there = dice.choice(_PORTS), dice.choice(_PORTS)
    if dice.random() < 0.3:
        here = dice.randrange(1 << 16)
    kind = dice.random()
    if kind < 0.5:
        return 6, tcp(here, there, dice.choice((2, 16, 16, 18, 4, 24, 0, 255)))
    if kind < 0.7:
        return 17, udp(here, there, bytes(dice.randrange(40)))
    if kind < 0.9 and depth < 2:
        errors = (1, 2, 3, 4, 100) if v6 else (3, 11, 12, 5)
        requests = (128, 129, 133, 134, 135, 136, 137, 138) if v6 else (0, 8)
        quoted = _packet(dice, depth + 1)
        return 58 if v6 else 1, icmp(dice.choice((*errors, *errors, *requests)), 0, quoted)
    return dice.choice(_PROTOCOLS), dice.randbytes(dice.randrange(60))


def _enclosed(dice: random.Random, packet: bytes) -> bytes:
    """Return an outer packet, genuine or forged, with what a frame has in it."""
    source = dice.choice((EDGE, EDGE, EDGE, CLIENT6, "fd00:1:3::1"))
    moves = (LABEL, LABEL | 0x08, LABEL | 0x10, LABEL | 0x38)
    label = dice.choice((LABEL, LABEL, LABEL, *moves, 0, 0xD1E40, 0xD1DF8))
    return outer(packet[14:], dice.choice((1, 1, 1, 2)), dice.randrange(8), source, label)


def _mutated(dice: random.Random, packet: bytes) -> bytes:
    kind = dice.random()
    if kind < 0.35:
        return packet
    if kind < 0.5:
        return packet[: dice.randrange(LEAST_BYTES, max(len(packet), LEAST_BYTES) + 1)]
    if kind < 0.53:
        return packet[:14] + dice.randbytes(dice.randrange(20, 120))
    raw = bytearray(packet)
    for _ in range(dice.choice((1, 1, 2, 3, 8))):
        place = dice.randrange(12, len(raw))
        raw[place] = dice.choice(_BYTES) if dice.random() < 0.7 else dice.randrange(256)
    if dice.random() < 0.1:
        _put(raw, dice.choice((26, 30, 22, 38, 62, 78)), dice.choice(_ADDRESSES))
    return bytes(raw) + bytes(dice.choice((0, 0, 0, 1, 30)))


def _put(raw: bytearray, at: int, part: Sequence[int]) -> None:
    """Overwrite, without growing."""
    end = min(at + len(part), len(raw))
    raw[at:end] = bytes(part[: max(end - at, 0)])
