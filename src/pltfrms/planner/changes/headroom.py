"""Whether there is room for the traffic that a change moves, as far as it is measured. Pure.

A port that is drained, removed, or that stops announcing an aggregate gives its traffic to the
ports that are left in its datacenter: transits can carry what peers carried, but not the other
way round, and a customer is reached over its own ports alone. If none is left there, other
datacenters take it, over the backbone. What is left is added up, as if traffic used all of it
alike. Both directions are looked at, each by itself. Prepends, MEDs and preferences are not:
how much they move, nobody can tell.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pltfrms.model.addresses import Prefix
from pltfrms.model.running.state import Load
from pltfrms.planner.changes.ways import (
    OUTSIDE,
    TRANSIT,
    Direction,
    Intent,
    Measured,
    Way,
    Where,
    links,
    ports,
    rate_words,
)

_MBIT: Final = 10**6
_NAMED: Final = 3
_NO_LOAD: Final = Load(received_bps=0, sent_bps=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """There is no room, or it is not known whether there is."""

    about: str
    """What gives its traffic away, such as `transit1@fra-e1`."""
    sentence: str
    sure: bool
    """False: something that is needed to judge it is not known."""


def shortages(
    before: Intent, after: Intent, seen: Measured, gone: frozenset[str] = frozenset()
) -> Iterator[Shortage]:
    """Yield where there is no room for what going from one intent to another moves.

    At most one per `about`; what is sure comes before what is not known. In datacenters that
    are `gone`, with all machines, nobody is left who sends, or whom others have to reach.
    """
    limit = before.platform.guards.headroom_percent
    old = _between_datacenters(before, seen)
    backbone = _with_new(old, _between_datacenters(after, seen))
    found: dict[str, Shortage] = {}
    for each in (
        *_port_shortages(before, after, seen, backbone, limit, gone),
        *_link_shortages(old, backbone, limit),
    ):
        if each.about not in found or (each.sure and not found[each.about].sure):
            found[each.about] = each
    yield from sorted(found.values(), key=lambda each: not each.sure)


def _between_datacenters(intent: Intent, seen: Measured) -> dict[Where, Way]:
    platform = intent.platform
    inside = {link.name for link in platform.links if platform.is_inside(link)}
    return {where: way for where, way in links(intent, seen).items() if way.name not in inside}


def _with_new(old: Mapping[Where, Way], new: Mapping[Where, Way]) -> dict[Where, Way]:
    """Return the new ways; one that was not there before carries nothing yet."""
    return {
        where: way if where in old else replace(way, load=_NO_LOAD)
        for where, way in new.items()
    }


# ---- ports ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flow:
    """All ports before and after, as one direction of the traffic uses them."""

    direction: Direction
    old: Mapping[Where, Way]
    new: Mapping[Where, Way]
    giving: frozenset[Where]
    """Ports that have to give traffic away."""

    def given(self, pool: str, datacenter: str = "") -> list[Way]:
        """Return the ports of a pool that give, in one datacenter or everywhere."""
        return [
            way
            for way in self.old.values()
            if way.where in self.giving
            and pool in way.pools
            and datacenter in {"", way.datacenter}
        ]

    def left(self, pool: str, datacenter: str = "") -> list[Way]:
        """Return the ports of a pool that can take what others give."""
        return [
            way
            for way in self.new.values()
            if way.where not in self.giving
            and way.takes(self.direction)
            and pool in way.pools
            and datacenter in {"", way.datacenter}
        ]

    def goes_on(self, way: Way) -> bool:
        """Return whether a port that gives keeps a part of it that nobody knows."""
        new = self.new.get(way.where)
        return new is not None and new.takes(self.direction)


def _port_shortages(
    before: Intent,
    after: Intent,
    seen: Measured,
    backbone: Mapping[Where, Way],
    limit: int,
    gone: frozenset[str],
) -> Iterator[Shortage]:
    old = ports(before, seen)
    new = _with_new(old, ports(after, seen))
    kept = frozenset(aggregate.prefix for aggregate in after.platform.aggregates)
    for direction in Direction:
        giving = frozenset(
            where
            for where, way in old.items()
            if _gives(way, new.get(where), direction, kept)
            and (direction is Direction.IN or way.datacenter not in gone)
        )
        flow = _Flow(direction=direction, old=old, new=new, giving=giving)
        for pool in _pools_that_give(flow):
            yield from _pool_shortages(flow, pool, backbone, limit, gone)


def _gives(was: Way, will: Way | None, direction: Direction, kept: frozenset[Prefix]) -> bool:
    if not was.takes(direction):
        return False
    if will is None or not will.takes(direction):
        return True
    inwards = direction is Direction.IN and OUTSIDE in was.pools
    return inwards and bool((was.prefixes & kept) - will.prefixes)


def _pools_that_give(flow: _Flow) -> list[str]:
    """Return transit if transits give; outside if others do, who may share with transits."""
    found: dict[str, None] = {}
    for where in flow.old:
        if where in flow.giving:
            pools = flow.old[where].pools
            found |= dict.fromkeys({TRANSIT} if TRANSIT in pools else sorted(pools))
    return list(found)


def _pool_shortages(
    flow: _Flow,
    pool: str,
    backbone: Mapping[Where, Way],
    limit: int,
    gone: frozenset[str],
) -> Iterator[Shortage]:
    homeless: list[Way] = []
    for datacenter in dict.fromkeys(way.datacenter for way in flow.given(pool)):
        given, left = flow.given(pool, datacenter), flow.left(pool, datacenter)
        if left:
            yield from _judge(flow, given, left, f"in {datacenter}", limit)
        else:
            homeless += given
    left = flow.left(pool)
    customer_is_gone = not left and pool not in {TRANSIT, OUTSIDE}
    if not homeless or customer_is_gone:
        return
    # What other datacenters give to their own ports needs room there as well.
    beside = [way for way in flow.given(pool) if way not in homeless]
    yield from _judge(flow, homeless, left, "in other datacenters", limit, beside)
    for datacenter in dict.fromkeys(w.datacenter for w in homeless if w.datacenter not in gone):
        here = [way for way in homeless if way.datacenter == datacenter]
        ends = [way for way in backbone.values() if way.datacenter == datacenter]
        yield from _judge(flow, here, ends, f"on the backbone of {datacenter}", limit)


# ---- links ---------------------------------------------------------------------------------


def _link_shortages(
    old: Mapping[Where, Way], new: Mapping[Where, Way], limit: int
) -> Iterator[Shortage]:
    for direction in Direction:
        flow = _Flow(direction=direction, old=old, new=new, giving=frozenset(old) - set(new))
        gone = [old[where] for where in old if where in flow.giving]
        for datacenter in dict.fromkeys(way.datacenter for way in gone):
            given = [way for way in gone if way.datacenter == datacenter]
            left = [way for way in new.values() if way.datacenter == datacenter]
            if left:  # else it has lost its last link, which is said without numbers
                yield from _judge(flow, given, left, f"on the backbone of {datacenter}", limit)


# ---- numbers -------------------------------------------------------------------------------


def _judge(
    flow: _Flow,
    given: Sequence[Way],
    left: Sequence[Way],
    place: str,
    limit: int,
    beside: Sequence[Way] = (),
) -> Iterator[Shortage]:
    """Yield a shortage if what is given does not fit into what is left, or nobody knows."""
    direction = flow.direction
    users = (*given, *left, *beside)
    loads = {way.where: way.bps(direction) for way in users}
    if all(loads[way.where] == 0 for way in given):
        return
    unknown = [f"the load of {way.name}" for way in users if loads[way.where] is None]
    unsaid = [f"the capacity of {way.name}" for way in left if not way.capacity_mbps]
    moved = sum(loads[way.where] or 0 for way in given)
    used = sum(loads[way.where] or 0 for way in (*left, *beside))
    capacity = sum(way.capacity_mbps for way in left) * _MBIT
    # What is full already is no shortage of this change, unless it moves something there.
    too_much = moved > 0 and 100 * (moved + used) > limit * capacity
    about = ", ".join(way.name for way in given)
    if too_much and not unsaid:
        partly = any(flow.goes_on(way) for way in given)
        verb = "carries" if len(given) == 1 else "carry"
        carried = f"{verb} {'up to ' if partly else ''}{rate_words(moved)} {direction}"
        rest = _rest(moved + used, used, capacity, place)
        limited = f", more than {limit} %" if capacity else ""
        yield Shortage(about=about, sentence=f"{carried}; {rest}{limited}", sure=True)
    elif unknown or unsaid:
        missing = tuple(dict.fromkeys((*unknown, *unsaid)))
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        sentence = f"not known whether there is room {place} for its traffic: "
        words = f"{sentence}{', '.join(missing[:_NAMED])}{more}"
        yield Shortage(about=about, sentence=words, sure=False)


def _rest(needed: int, used: int, capacity: int, place: str) -> str:
    if not capacity:
        return f"0 Mbit/s is left {place}"
    percent = -(-100 * needed // capacity)  # rounded up: never shown as the limit itself
    return f"left {place}: {rate_words(capacity)} with {rate_words(used)} in use -> {percent} %"
