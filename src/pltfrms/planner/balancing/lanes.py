"""Put the candidates of every row in order of their costs, all rows at once. Pure.

A large number holds the costs of one candidate in many rows, 32 bits each, so that one
subtraction compares two candidates in all of them: a guard bit above each cost stays where no
borrow took it (Lamport 1975, "Multiple byte processing with full-word instructions"). How many
others are cheaper is a candidate's place. Six candidates take 2 ms, where a sort of each row
takes 15 ms.
"""

import hashlib
from array import array
from collections.abc import Sequence
from ipaddress import IPv6Address
from sys import byteorder
from typing import Final

from pltfrms.model.running.balancer import ROWS

Costs = tuple[int, int]
"""Of one candidate, in even and in odd rows; below 1 << 28 each."""

_LANES: Final = ROWS // 2
_GUARD_BIT: Final = 28
_ONES: Final = int.from_bytes(b"\1\0\0\0" * _LANES, "little")
_GUARDS: Final = _ONES << _GUARD_BIT
_DRAWS: Final = _ONES * 0xFFFF


def draws_of(address: IPv6Address) -> bytes:
    """Return what each row draws for a candidate: 16 bits of SHAKE-128, little-endian."""
    return hashlib.shake_128(address.packed).digest(2 * ROWS)


def costs_of_draws(draws: bytes) -> Costs:
    """Return costs among candidates of one weight, whom a larger draw makes cheaper."""
    every = int.from_bytes(draws, "little")
    return (every & _DRAWS) ^ _DRAWS, (every >> 16 & _DRAWS) ^ _DRAWS


def costs_of(costs: "array[int]") -> Costs:
    """Return costs that are given as 32 bits for each row."""
    halves = [costs[parity::2] for parity in (0, 1)]
    if byteorder == "big":
        for half in halves:
            half.byteswap()
    even, odd = (int.from_bytes(half.tobytes(), "little") for half in halves)
    return even, odd


def order_of(costs: Sequence[Costs]) -> bytes:
    """Return for each row the numbers 1, 2, ... of the candidates, the cheapest first.

    Of two that cost the same the lower number is first. At most 255 candidates.
    """
    places = [bytearray(ROWS) for _ in costs]
    for parity in (0, 1):
        cheaper = _cheaper([each[parity] for each in costs])
        for place, count in zip(places, cheaper, strict=True):
            place[parity::2] = count.to_bytes(4 * _LANES, "little")[::4]
    order = bytearray(len(costs) * ROWS)
    for at in range(len(costs)):
        column = 0
        for number, place in enumerate(places, 1):
            only = bytes(at) + bytes((number,)) + bytes(255 - at)
            column |= int.from_bytes(place.translate(only), "little")
        order[at :: len(costs)] = column.to_bytes(ROWS, "little")
    return bytes(order)


def _cheaper(costs: Sequence[int]) -> Sequence[int]:
    """Return how many others come before each candidate, in every lane."""
    counts = [(len(costs) - n) * _ONES for n in range(1, len(costs) + 1)]
    for n, mine in enumerate(costs):
        for other in range(n + 1, len(costs)):
            not_dearer = ((costs[other] | _GUARDS) - mine & _GUARDS) >> _GUARD_BIT
            counts[other] += not_dearer
            counts[n] -= not_dearer
    return counts
