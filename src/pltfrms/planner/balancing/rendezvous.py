"""Decide which instance serves which row of a service's table. Pure.

Weighted rendezvous hashing (highest random weight; Thaler and Ravishankar 1998, weights after
Schindelhauer and Schomaker 2005): per row every candidate draws a cost, and the lowest wins.
A draw depends on the row and the candidate's address alone, so all machines that know the same
candidates have the same table, whatever happened before, and a candidate that comes or goes
changes only rows in which it is one of the first.

All rows are handled at once: rankings are flat bytes, one row after the other, from which C
code (`bytes.translate`, slices with a stride) takes away candidates and picks columns.
"""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from ipaddress import IPv6Address
from itertools import chain
from sys import byteorder
from typing import Final

from pltfrms.model.running.balancer import (
    CHANCES,
    MAX_CANDIDATES,
    ROWS,
    BalancedService,
    BalancerTable,
    Candidate,
    CandidateState,
)
from pltfrms.planner.balancing.lanes import costs_of, costs_of_draws, draws_of, order_of

_NOBODY: Final = bytes(ROWS)
_DRAWS: Final = 1 << 16
_PRECISION: Final = 1 << 24
_NEAR: Final = 8
"""Bytes of an address that instances of one datacenter share."""
_MANY: Final = 48
"""Members from which on a sort of each row is quicker than to compare all pairs."""
_DISTINCT: Final = 255
"""Up to this weight, other draws are other costs: draws alone say who is cheaper."""
_DRAINING: Final = 4
"""Places for draining instances, right after the first; the rest is for active ones."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """The candidates of a service in the order in which each row prefers them."""

    members: tuple[tuple[IPv6Address, int], ...]
    """(address, weight), sorted; their numbers in `order` are 1 + index."""
    order: bytes
    """ROWS rows of len(members) numbers."""


def rank(members: Iterable[tuple[IPv6Address, int]], before: Ranking | None = None) -> Ranking:
    """Return the ranking of these (address, weight) pairs.

    `before` saves work: if members are only missing from it, they are taken out (below 1 ms);
    a new member or weight costs an order of every row (2 ms for six of one weight, 10 ms of
    several). Of more than MAX_CANDIDATES members the first ones count.
    """
    wanted = tuple(sorted(members))[:MAX_CANDIDATES]
    if before is not None and set(wanted) <= set(before.members):
        return _reduced(before, wanted)
    if len(wanted) == 1:
        return Ranking(wanted, b"\x01" * ROWS)
    return Ranking(wanted, _sorted(wanted) if len(wanted) > _MANY else _compared(wanted))


def chains(ranking: Ranking, states: Mapping[IPv6Address, CandidateState]) -> tuple[bytes, ...]:
    """Return CHANCES columns of ROWS numbers: 1 + index into `ranking.members`, 0 = nobody.

    The first column has the active instance that the row prefers; new flows go to it. Then come
    those who may have flows of the row from before: the four draining ones it prefers most,
    then the three active ones that it would prefer next (they had it before newer ones came).
    Without active instances backups count as active, and without those, draining ones do.
    While there are backups no place stays free: many may have changed their states at once,
    and the last one that was active had the new flows of all rows.
    """
    numbers = {address: n for n, (address, _) in enumerate(ranking.members, 1)}
    by_state = {
        state: bytes(numbers[a] for a in numbers if states[a] is state)
        for state in CandidateState
    }
    first = next((s for s in _PREFERENCE if by_state[s]), CandidateState.ACTIVE)
    active = _columns(ranking, by_state[first])
    others = [n for state in CandidateState if state is not first for n in by_state[state]]
    known = _columns(ranking, bytes(others))
    chosen = [*active[:1], *known[:_DRAINING], *active[1 : CHANCES - _DRAINING]]
    if by_state[CandidateState.BACKUP]:
        more = (*known[_DRAINING:], *active[CHANCES - _DRAINING :])
        chosen = [*chosen, *more][:CHANCES]
    return (*chosen, *[_NOBODY] * (CHANCES - len(chosen)))


def columns(candidates: Sequence[Candidate]) -> tuple[bytes, ...]:
    """Return the columns of a table over these candidates, numbered in order of address."""
    ranking = rank((each.address, each.weight) for each in candidates)
    return chains(ranking, {each.address: each.state for each in candidates})


def prepare() -> None:
    """Compute what every machine needs for instances of the usual weight."""
    columns([Candidate(address=IPv6Address(number)) for number in (1, 2)])


def make_table(
    service: BalancedService, candidates: Sequence[Candidate], before: Ranking | None = None
) -> tuple[BalancerTable, Ranking]:
    """Return the table of a service, and the ranking to give when it changes next.

    That remembers who has gone, until somebody new comes: whoever comes back costs no sort.
    """
    ranking = rank(((each.address, each.weight) for each in candidates), before)
    states = {each.address: each.state for each in candidates}
    table = BalancerTable(
        service=service,
        addresses=tuple(address for address, _ in ranking.members),
        columns=chains(ranking, states),
    )
    is_in_it = before is not None and set(ranking.members) <= set(before.members)
    return table, before if before is not None and is_in_it else ranking


def with_guests(table: BalancerTable, guests: Iterable[IPv6Address]) -> BalancerTable:
    """Return a table that also knows who gets the flows of its rows in other datacenters.

    Of each other datacenter the one whom a row there prefers, as far as rows have free places;
    of more, those whose addresses follow ours in a circle. `guests` are all instances there.
    """
    if not table.addresses:
        return table
    here = table.addresses[0].packed[:_NEAR]
    found: dict[bytes, list[IPv6Address]] = {}
    for address in sorted(set(guests)):
        found.setdefault(address.packed[:_NEAR], []).append(address)
    circle = sorted(found.keys() - {here}, key=lambda each: (each < here, each))
    addresses, filled = list(table.addresses), [c for c in table.columns if c != _NOBODY]
    for datacenter in circle[: CHANCES - len(filled)]:
        some = tuple(found[datacenter])
        if len(addresses) + len(some) > MAX_CANDIDATES:
            break
        shift = bytes((number + len(addresses)) % 256 for number in range(256))
        filled.append(_preferred(some).translate(shift))
        addresses += some
    empty = [_NOBODY] * (CHANCES - len(filled))
    return replace(table, addresses=tuple(addresses), columns=(*filled, *empty))


def shares(table: BalancerTable) -> tuple[float, ...]:
    """Return the part of the rows, hence of new flows, that each address gets."""
    first = table.columns[0]
    return tuple(first.count(n) / ROWS for n in range(1, len(table.addresses) + 1))


def row_of(table: BalancerTable, row: int) -> tuple[IPv6Address, ...]:
    """Return who is asked for a flow of a row, in this order."""
    numbers = (column[row] for column in table.columns)
    return tuple(table.addresses[number - 1] for number in numbers if number)


_PREFERENCE: Final = (CandidateState.ACTIVE, CandidateState.BACKUP, CandidateState.DRAINING)


def _columns(ranking: Ranking, keep: bytes) -> list[bytes]:
    """Return the ranking among the numbers in `keep`, as one column per place."""
    if not keep:
        return []
    every = bytes(range(1, len(ranking.members) + 1))
    order = ranking.order.translate(None, every.translate(None, keep))
    return [order[place :: len(keep)] for place in range(min(len(keep), CHANCES))]


def _reduced(before: Ranking, wanted: tuple[tuple[IPv6Address, int], ...]) -> Ranking:
    if wanted == before.members:
        return before
    new_numbers = {member: n for n, member in enumerate(wanted, 1)}
    gone = bytes(n for n, m in enumerate(before.members, 1) if m not in new_numbers)
    renumber = bytearray(256)
    for n, member in enumerate(before.members, 1):
        renumber[n] = new_numbers.get(member, 0)
    return Ranking(wanted, before.order.translate(bytes(renumber), gone))


def _compared(members: Sequence[tuple[IPv6Address, int]]) -> bytes:
    """Return the order of a few members; see `lanes`."""
    weights = {weight for _, weight in members}
    if len(weights) == 1 and max(weights) <= _DISTINCT:
        return order_of([costs_of_draws(draws_of(address)) for address, _ in members])
    return order_of([costs_of(array("I", _costs(*member))) for member in members])


def _sorted(members: Sequence[tuple[IPv6Address, int]]) -> bytes:
    """Return the same for many members, whose number counts only once here."""
    costs = [
        map(number.__add__, map((256).__mul__, _costs(*member)))  # the number settles ties
        for number, member in enumerate(members, 1)
    ]
    ranked = array("Q", chain.from_iterable(map(sorted, zip(*costs, strict=True))))
    if byteorder == "big":
        ranked.byteswap()
    return ranked.tobytes()[::8]


def _costs(address: IPv6Address, weight: int) -> Iterable[int]:
    """Return what every row costs a candidate, below 1 << 28.

    Costs are exponential with mean 1 / weight, in fixed point.
    """
    draws = array("H", draws_of(address))
    if byteorder == "big":
        draws.byteswap()
    return map(_logarithms(weight).__getitem__, draws)


@lru_cache(256)
def _preferred(addresses: tuple[IPv6Address, ...]) -> bytes:
    """Return whom each row prefers among active instances of one weight: 1 + index."""
    return columns([Candidate(address=address) for address in addresses])[0]


@cache
def _logarithms(weight: int) -> Sequence[int]:
    return [
        int(-math.log((draw + 0.5) / _DRAWS) * _PRECISION) // weight for draw in range(_DRAWS)
    ]
