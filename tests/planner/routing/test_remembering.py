"""An edge whose agent starts anew decides as if it had not."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltfrms import codec
from pltfrms.model.addresses import Prefix
from pltfrms.model.running.machine import Route
from pltfrms.planner.routing.aggregates import (
    LEAVE_SECONDS,
    TOLD_METRIC,
    AggregateState,
    Reachable,
    aggregate_routes,
    decide_aggregates,
)
from pltfrms.planner.routing.remembering import (
    GAP_SECONDS,
    AggregateMemory,
    Instant,
    forgotten,
    is_old,
    recalled,
    remembered,
)
from pltfrms.planner.routing.way_back import WaysBack
from tests.strategies import make_platform, make_service, make_spec

PLATFORM = make_platform({"fra": 1, "ams": 1, "lon": 1})
DATACENTERS = ("fra", "ams", "lon")
WEB = make_service(make_spec())
FOUR, SIX = (aggregate.prefix for aggregate in PLATFORM.aggregates)
STEP_SECONDS = 0.1
NEWS_STEPS = 3
"""So long it takes until a datacenter hears what another one tells."""


@dataclass
class Edge:
    """One edge: what its agent knows, what its kernel has, what its disk says."""

    rank: int
    states: Mapping[Prefix, AggregateState] = field(default_factory=dict)
    kernel: tuple[Route, ...] = ()
    disk: bytes | None = None
    written: AggregateMemory | None = None
    boot: str = "one"
    boot_at: float = 0.0
    wall_seconds: float = 0.0
    """How wrong its wall clock is."""

    def moment(self, now: float) -> Instant:
        unix_ms = int((now + self.wall_seconds) * 1000) + 1_767_225_600_000
        return Instant(boot=self.boot, monotonic=now - self.boot_at, unix_ms=unix_ms)

    def lives(self, now: float, reachable: Reachable, *, writes: bool = True) -> None:
        moment = self.moment(now)
        decision = decide_aggregates(
            PLATFORM, reachable, self.states, moment.monotonic, rank=self.rank
        )
        self.states = decision.states
        fresh = remembered(self.states, moment, outside=True)
        if writes and is_old(self.written, fresh):
            self.written, self.disk = fresh, codec.encode(fresh)
        self.kernel = aggregate_routes(self.states)

    def restarts(self, now: float) -> None:
        """End, and begin anew with what is left."""
        self.written = None
        if self.disk is None:
            self.states = {}
            return
        memory = codec.decode(AggregateMemory, self.disk)
        self.states = recalled(memory, self.moment(now), self.kernel)

    def boots(self, now: float) -> None:
        """The kernel forgets, its clock begins anew."""
        self.boot, self.boot_at, self.kernel = f"{self.boot}+", now, ()
        self.restarts(now)

    def tells(self, prefix: Prefix) -> bool:
        return any(
            route.prefix == prefix and route.metric == TOLD_METRIC for route in self.kernel
        )

    def announces(self, prefix: Prefix) -> bool:
        return any(route.prefix == prefix for route in self.kernel)


class World:
    """Three datacenters with one edge each, that hear each other late."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.edges = [Edge(rank) for rank in range(len(DATACENTERS))]
        self.said: list[list[frozenset[Prefix]]] = []

    def lives(self, healthy: tuple[bool, ...], apart: int | None = None) -> None:
        """Make one step; `apart` is a datacenter that hears nobody."""
        self.now += STEP_SECONDS
        self.said.append(
            [frozenset(p for p in (FOUR, SIX) if edge.tells(p)) for edge in self.edges]
        )
        heard = self.said[max(0, len(self.said) - NEWS_STEPS)]
        for edge, well in zip(self.edges, healthy, strict=True):
            others = (
                said
                for rank, said in enumerate(heard)
                if rank != edge.rank and apart not in {rank, edge.rank}
            )
            elsewhere: frozenset[Prefix] = frozenset().union(*others)
            reachable = Reachable(
                services=(WEB,),
                local=frozenset(WEB.prefixes) if well else frozenset(),
                remote=frozenset(),
                elsewhere=elsewhere,
                inside=apart != edge.rank,
                backbone=apart != edge.rank,
            )
            edge.lives(self.now, reachable)

    @property
    def announced(self) -> list[tuple[Route, ...]]:
        return [edge.kernel for edge in self.edges]


_LIFE = st.tuples(
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    st.sampled_from([None, None, None, 0, 1, 2]),
    st.sampled_from([1, 3, 8, 22, 30, 60, 130]),
)


@settings(max_examples=60)
@given(st.lists(_LIFE, max_size=12), st.integers(0, 20), st.integers(0, 1 << 32))
def test_an_agent_that_restarts_between_any_two_steps_announces_the_same(
    history: list[tuple[tuple[bool, ...], int | None, int]], often: int, seed: int
) -> None:
    """The routes are the same at every step, also what other datacenters are told."""
    steady, shaken, random = World(), World(), Random(seed)  # noqa: S311
    for healthy, apart, steps in [((True, True, True), None, 10), *history]:
        for _ in range(steps):
            for world in (steady, shaken):
                world.lives(healthy, apart)
            assert shaken.announced == steady.announced
            for edge in shaken.edges:
                if random.randint(0, 20) <= often:
                    edge.restarts(shaken.now)


def test_the_property_meets_leaving_returning_and_flapping() -> None:
    """Restart all agents after every step of the histories that matter."""
    good, bad = (True, True, True), (False, False, False)
    steady, shaken = World(), World()
    for healthy, apart, steps in (
        (good, None, 10),
        (bad, None, 100),
        ((True, False, False), None, 200),
        ((False, True, False), None, 50),
        (good, None, 700),
        ((False, True, True), 0, 150),
        (good, None, 700),
    ):
        for _ in range(steps):
            for world in (steady, shaken):
                world.lives(healthy, apart)
            assert shaken.announced == steady.announced
            for edge in shaken.edges:
                edge.restarts(shaken.now)
    changes = [edge.states[FOUR].penalty for edge in steady.edges]
    assert max(changes) > 0, "somebody has withdrawn"


def _withdrawn() -> Edge:
    """Return an edge that was announced and is withdrawn, 5 s ago."""
    edge, now = Edge(0), 1000.0
    for step in range(80):
        now += STEP_SECONDS
        edge.lives(now, GOOD if step < 10 else BAD)
    assert not edge.announces(FOUR)
    return edge


GOOD = Reachable(services=(WEB,), local=frozenset(WEB.prefixes), remote=frozenset())
BAD = Reachable(
    services=(WEB,),
    local=frozenset(),
    remote=frozenset(),
    elsewhere=frozenset((FOUR, SIX)),
    inside=True,
    backbone=True,
)
NOBODY = replace(BAD, elsewhere=frozenset())


@pytest.mark.parametrize("away_seconds", [0.0, 3.0, 3600.0])
@pytest.mark.parametrize("how", ["restarts", "boots"])
def test_what_nobody_announces_is_repaired_by_who_withdrew_it_also_after_a_restart(
    how: str, away_seconds: float
) -> None:
    edge = _withdrawn()
    now = 1008.0 + away_seconds
    getattr(edge, how)(now)
    edge.lives(now + 0.1, BAD)
    assert not edge.announces(FOUR)
    edge.lives(now + 0.2, NOBODY)
    assert edge.announces(FOUR)


@pytest.mark.parametrize("wall_seconds", [0.0, -1e9, -5.0])
def test_a_reboot_does_not_shorten_the_hold_after_a_withdrawal(wall_seconds: float) -> None:
    """The wall clock may be wrong after a boot: then the hold begins anew, and has an end."""
    edge = _withdrawn()
    edge.wall_seconds = wall_seconds
    edge.boots(1009.0)
    announced_at = None
    for step in range(1, 600):
        edge.lives(1009.0 + step * STEP_SECONDS, GOOD)
        if edge.announces(FOUR):
            announced_at = 1009.0 + step * STEP_SECONDS
            break
    assert announced_at is not None
    withdrawn_at = 1003.0
    assert 10.0 <= announced_at - withdrawn_at <= 20.0


def test_who_was_away_for_long_waits_anew_before_it_withdraws() -> None:
    edge, now = Edge(0), 1000.0
    for step in range(28):
        now += STEP_SECONDS
        edge.lives(now, GOOD if step < 10 else BAD)
    assert edge.announces(FOUR)
    assert not edge.tells(FOUR), "it leaves"
    now += GAP_SECONDS + 1.0
    edge.restarts(now)
    for _ in range(19):
        now += STEP_SECONDS
        edge.lives(now, BAD)
        assert edge.announces(FOUR)
    for _ in range(4):
        now += STEP_SECONDS
        edge.lives(now, BAD)
    assert not edge.announces(FOUR)


def test_a_memory_that_is_older_than_the_kernel_takes_nothing_away() -> None:
    edge = _withdrawn()
    for step in range(200):
        edge.lives(1008.0 + step * STEP_SECONDS, GOOD, writes=False)
    assert edge.announces(FOUR)
    edge.restarts(1028.0)
    edge.lives(1028.1, GOOD)
    assert edge.announces(FOUR)
    edge.lives(1028.2, NOBODY)
    assert edge.announces(FOUR)


def test_who_ended_before_it_told_that_it_leaves_begins_to_leave_anew() -> None:
    edge, now = Edge(0), 1000.0
    before: tuple[Route, ...] = ()
    for step in range(40):
        now += STEP_SECONDS
        before = edge.kernel
        edge.lives(now, GOOD if step < 10 else BAD)
        if edge.states[FOUR].leaving_since is not None:
            break
    edge.kernel = before  # it was written, and not yet done
    now += LEAVE_SECONDS + 1.0
    edge.restarts(now)
    for _ in range(round(LEAVE_SECONDS / STEP_SECONDS)):
        now += STEP_SECONDS
        edge.lives(now, BAD)
        assert edge.announces(FOUR)


def test_who_ended_before_it_announced_what_it_decided_announces_it() -> None:
    edge = Edge(0)
    for step in range(7):
        edge.lives(1000.0 + step * STEP_SECONDS, GOOD)
    assert edge.announces(FOUR)
    edge.kernel = ()
    edge.restarts(1001.0)
    edge.lives(1001.1, GOOD)
    assert edge.announces(FOUR)


def test_a_memory_that_cannot_be_read_takes_nothing_away_and_repairs() -> None:
    edge = _withdrawn()
    moment = edge.moment(1010.0)
    announced = aggregate_routes({FOUR: AggregateState(announced=True)})
    edge.states = forgotten((FOUR, SIX), moment, announced)
    edge.lives(1010.1, NOBODY)
    assert edge.announces(FOUR)
    assert edge.announces(SIX), "perhaps it was us who withdrew it"


NO_WAY_BACK = replace(GOOD, ways_back=dict.fromkeys((4, 6), WaysBack.NONE))


@pytest.mark.parametrize("memory", ["readable", "torn"])
def test_what_was_not_announced_before_needs_a_way_back_first(memory: str) -> None:
    edge = Edge(0)
    moment = edge.moment(1000.0)
    if memory == "readable":
        before = {FOUR: AggregateState(), SIX: AggregateState(announced=True)}
        edge.disk = codec.encode(remembered(before, moment, outside=True))
        edge.kernel = aggregate_routes(before)
        edge.restarts(1060.0)
    else:
        kernel = aggregate_routes({SIX: AggregateState(announced=True)})
        edge.states = forgotten((FOUR, SIX), moment, kernel)
    for step in range(600):
        edge.lives(1060.0 + step * STEP_SECONDS, NO_WAY_BACK)
    assert not edge.announces(FOUR)
    assert edge.announces(SIX), "who announced may have one that is not seen"


@pytest.mark.parametrize("how", ["restarts", "boots"])
def test_who_withdrew_without_a_way_back_must_see_one_also_after_a_restart(how: str) -> None:
    edge, now = Edge(0), 1000.0
    full = replace(GOOD, ways_back=dict.fromkeys((4, 6), WaysBack.FULL))
    for step in range(200):
        now += STEP_SECONDS
        edge.lives(now, full if step < 50 else NO_WAY_BACK)
    assert not edge.announces(FOUR)
    now += 3600.0
    getattr(edge, how)(now)
    for _ in range(300):
        now += STEP_SECONDS
        edge.lives(now, GOOD)  # the way back is not known
        assert not edge.announces(FOUR)
    for _ in range(10):
        now += STEP_SECONDS
        edge.lives(now, full)
    assert edge.announces(FOUR)


def test_at_rest_nothing_is_written() -> None:
    world = World()
    for healthy in ((True, True, True), (False, True, True)):
        for _ in range(200):
            world.lives(healthy)
        before = [edge.disk for edge in world.edges]
        for _ in range(1000):
            world.lives(healthy)
        assert [edge.disk for edge in world.edges] == before


def test_no_gap_is_shorter_than_a_memory_gets_old() -> None:
    """Of a condition that lasts, the memory is renewed before it is too old to go on with."""
    edge = Edge(0)
    for step in range(10):
        edge.lives(1000.0 + step * STEP_SECONDS, GOOD)
    for step in range(300):
        edge.lives(1001.0 + step * STEP_SECONDS, NOBODY)
    assert edge.written is not None
    assert 1031.0 - edge.written.written.monotonic < GAP_SECONDS
