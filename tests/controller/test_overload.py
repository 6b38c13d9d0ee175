"""Overload never looks like loss, and what is asked all the time costs little."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle, islice
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.codec import encode
from pltfrms.controller.contact.contacts import why_nobody_is_judged
from pltfrms.controller.contact.view import View
from pltfrms.controller.planning import deciding
from pltfrms.controller.planning.loop import AUDIT_SECONDS, Controller
from pltfrms.controller.records.state import (
    PREFIX,
    Reader,
    allocation_key,
    contact_key,
    service_key,
    status_key,
)
from pltfrms.drivers.store.ports import Delete, KeyValue, Listing, Put
from pltfrms.model.messages.api import Change, Heartbeat
from pltfrms.model.running.plan import Note, Reason
from pltfrms.model.running.state import Contact, Load, MachineStatus, RoutingStatus
from pltfrms.planner.placement.plan import make_plan
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import simulate
from tests.controller.test_fair_contact import nobody_is_lost
from tests.simulation.virtual import VirtualLoop, run_virtual
from tests.strategies import make_allocation, make_platform, make_spec

STATUS = MachineStatus(machine="fra-n1", routing=RoutingStatus(wanted="a", running="a"))


@pytest.mark.parametrize("list_seconds", [1.0, 3.0, 10.0])
def test_heartbeats_are_taken_at_once_however_long_a_list_takes(list_seconds: float) -> None:
    async def disturb(cluster: Cluster) -> None:
        for seat in cluster.seats.values():
            seat.store.list_seconds = lambda: list_seconds
        for agent in cluster.agents.values():
            agent.refused = 0
        await cluster.clock.sleep(25)
        assert [agent.name for agent in cluster.agents.values() if agent.refused] == []
        for seat in cluster.seats.values():
            seat.store.list_seconds = lambda: 0.0

    nobody_is_lost(disturb)


@contextmanager
def counted_steps() -> Iterator[Callable[[], int]]:
    """Count the steps of the interpreter: a measure of cost that no other load changes."""
    steps = 0

    def count(frame: FrameType, event: str, _argument: object) -> object:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return count

    before = sys.gettrace()
    sys.settrace(count)  # type: ignore[arg-type]
    try:
        yield lambda: steps
    finally:
        sys.settrace(before)


def steps_of_a_heartbeat(nodes: int, status: MachineStatus) -> int:
    platform = make_platform({"fra": nodes})

    async def story() -> int:
        cluster = Cluster(platform)
        seat = next(iter(cluster.seats.values()))
        seat.start()
        await cluster.until(lambda: seat.controller.view.platform is not None, 5)
        assert seat.operations
        for _ in range(3):
            await cluster.clock.sleep(1)
            await seat.operations.heartbeat(Heartbeat(status=status))
        with counted_steps() as steps:
            await seat.operations.heartbeat(Heartbeat(status=status))
            return steps()

    return run_virtual(story())


def test_a_heartbeat_costs_the_same_however_many_machines_there_are() -> None:
    few, many = (steps_of_a_heartbeat(nodes, STATUS) for nodes in (20, 200))
    assert many <= 1.2 * few, (few, many)


def test_nothing_is_planned_while_nothing_new_is_to_be_planned() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(30)  # nodes become stable
        counters = [seat.controller.counters for seat in cluster.seats.values()]
        before = [each.plans for each in counters]
        for number in range(30):
            loads = {"eth0": Load(received_bps=number, sent_bps=0)}
            status = MachineStatus(machine="fra-e1", loads=loads)
            await cluster.operations.heartbeat(Heartbeat(status=status))
            await cluster.clock.sleep(4)
        assert [each.plans for each in counters] == before
        assert min(each.audits for each in counters) > 0
        assert max(each.missed for each in counters) == 0

    simulate(story)


def test_an_audit_finds_a_change_that_planning_missed_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(30)
        note = Note(about="test", reason=Reason.NO_CAPACITY, detail="what nobody looks at")
        monkeypatch.setattr(
            deciding, "make_plan", lambda each: replace(make_plan(each), notes=(note,))
        )
        await cluster.clock.sleep(AUDIT_SECONDS + 10)
        controller = cluster.operations.controller
        assert controller.counters.missed == 1
        assert "planning missed a change" in controller.problems[0]
        assert controller.notes == (note,)
        events = await cluster.operations.events(0, 0, 1000)
        assert "plan missed a change" in {event.what for event in events}
        await cluster.clock.sleep(2 * AUDIT_SECONDS)
        assert controller.problems == ()

    simulate(story)


def slow_store(seconds: float) -> Callable[[Cluster], Awaitable[None]]:
    """Let every answer of the store take so long, for a while."""

    async def disturb(cluster: Cluster) -> None:
        for seat in cluster.seats.values():
            seat.store.delay_seconds = lambda: seconds / 2
        await cluster.clock.sleep(25)
        for seat in cluster.seats.values():
            assert_says_why(seat.controller)
            seat.store.delay_seconds = lambda: 0.0

    return disturb


async def stopped_leader(cluster: Cluster) -> None:
    """Let nothing be answered for 20 s, and then everything at once."""
    end = cluster.clock.monotonic() + 20
    for seat in cluster.seats.values():
        seat.store.delay_seconds = lambda: max(end - cluster.clock.monotonic(), 0.0)
    await cluster.clock.sleep(19)
    for seat in cluster.seats.values():
        assert_says_why(seat.controller)
    await cluster.clock.sleep(1)


async def starved(cluster: Cluster) -> None:
    """Leave the controllers a tenth of their processor for 20 s."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    for _ in range(18):
        loop.stall(1.0)
        await cluster.clock.sleep(0.1)
    for seat in cluster.seats.values():
        assert_says_why(seat.controller)


async def given_up(cluster: Cluster) -> None:
    """Take no heartbeat of edges in time for 20 s, which no stopwatch of ours sees."""
    edges = [agent for name, agent in cluster.agents.items() if "-e" in name]
    for edge in edges:
        edge.dead = True
    names, number = sorted(cluster.agents), int(cluster.clock.monotonic()) // 30
    hasty = [names[(3 * number + each) % len(names)] for each in range(3)]  # each time others
    for _ in range(40):
        for seat in cluster.seats.values():
            for machine in hasty:
                seat.controller.view.given_up(machine)
        await cluster.clock.sleep(0.5)
    for seat in cluster.seats.values():
        assert_says_why(seat.controller)
    for edge in edges:
        edge.dead = False


def assert_says_why(controller: Controller) -> None:
    """A store that has not answered at all lately is said as such, by all who read."""
    said = any("no machine is called lost" in problem for problem in controller.problems)
    assert said or not controller.view.fresh


@pytest.mark.parametrize(
    "disturb",
    [slow_store(1.2), slow_store(3.0), slow_store(10.0), stopped_leader, starved, given_up],
    ids=["1.2 s", "3 s", "10 s", "leader stopped", "starved", "given up"],
)
def test_a_slow_controller_or_store_judges_nobody_and_says_why(
    disturb: Callable[[Cluster], Awaitable[None]],
) -> None:
    nobody_is_lost(disturb)


def test_a_machine_or_two_that_give_up_are_no_sign_of_slowness() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(10)
        controller = cluster.operations.controller
        for machine in ("fra-n1", "fra-n2", "fra-n1", "fra-n2", "fra-e1", "fra-n1"):
            controller.view.given_up(machine)
            await cluster.clock.sleep(2)
        assert controller.problems == ()

    simulate(story)


def hang_up(view: View) -> None:
    """Be three machines that do not wait for the answers to their heartbeats."""
    for machine in ("fra-n1", "fra-n2", "fra-n3"):
        view.given_up(machine)


def read_nothing(view: View) -> None:
    """Be a machine that takes no answer for a while."""
    view.answered("fra-n1", 2.0)


@pytest.mark.parametrize("annoy", [hang_up, read_nothing])
def test_the_same_few_who_make_us_look_slow_keep_nobody_from_being_judged_for_ever(
    annoy: Callable[[View], None],
) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(15)
        began = cluster.clock.monotonic()
        cluster.agents["lon-n1"].dead = True

        def annoyed() -> bool:
            for seat in cluster.seats.values():
                annoy(seat.controller.view)
            return _is_lost(cluster, "lon-n1")

        await cluster.until(annoyed, 75)
        assert cluster.clock.monotonic() - began > 60

    simulate(story)


def test_while_most_of_all_machines_give_up_in_turn_nobody_is_judged() -> None:
    """Each in its turn, for longer than a few may hold judgement off."""

    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(15)
        for name, agent in cluster.agents.items():
            agent.dead = "-e" in name
        for name in islice(cycle(cluster.agents), 200):
            for seat in cluster.seats.values():
                seat.controller.view.given_up(name)
            await cluster.clock.sleep(0.5)
        for seat in cluster.seats.values():
            assert_says_why(seat.controller)
        assert not any(_is_lost(cluster, name) for name in cluster.agents)

    simulate(story)


def _is_lost(cluster: Cluster, machine: str) -> bool:
    snapshot = cluster.operations.snapshot().snapshot
    return snapshot.contact(machine) is Contact.LOST


@given(st.integers(0, 10**6), st.integers(0, 200), st.integers(1, 60))
def test_slowness_is_said_for_as_long_as_nobody_is_judged(
    slow_at: int, ago: int, ttl_seconds: int
) -> None:
    said = why_nobody_is_judged(slow_at + ago, slow_at, "the store took 3.0 s", ttl_seconds)
    assert bool(said) == (ago < 2 * ttl_seconds + 1)
    assert not said or "the store took 3.0 s" in said


def test_a_reader_that_reads_only_what_changed_reads_as_one_that_begins() -> None:
    async def story(cluster: Cluster) -> None:
        known = Reader()
        for second in range(40):
            if second == 20:
                cluster.agents["fra-n1"].dead = True
            listing = cluster.state.list(PREFIX)
            assert known.read(listing) == Reader().read(listing)
            await cluster.clock.sleep(1)
        lease = await next(iter(cluster.seats.values())).store.grant(60)
        cluster.state.commit((Put(key=contact_key("ams-n1"), value=b"", lease=lease),), ())
        listing = cluster.state.list(PREFIX)
        assert known.read(listing) == Reader().read(listing)
        assert known.read(listing).leases["ams-n1"] == lease
        for value in (b"{", encode(STATUS), b"}", encode(STATUS)):
            cluster.state.commit((Put(key=status_key("fra-n1"), value=value),), ())
            listing = cluster.state.list(PREFIX)
            assert known.read(listing) == Reader().read(listing)
            assert ("fra-n1" in known.read(listing).statuses) == (len(value) > 1)
        poison = service_key("bad")
        for value in (b"{", b"}"):
            cluster.state.commit((Put(key=poison, value=value),), ())
            listing = cluster.state.list(PREFIX)
            assert known.read(listing) == Reader().read(listing)
            assert known.read(listing).unreadable == (poison,)
        cluster.state.commit((Delete(key=poison),), ())
        listing = cluster.state.list(PREFIX)
        assert known.read(listing) == Reader().read(listing)

    simulate(story)


def test_an_operators_change_reads_what_was_written_since_and_not_the_whole_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(5)
        store = next(iter(cluster.seats.values())).store
        plain, read = store.list, list[int]()

        async def counted(prefix: str, after: int = 0) -> Listing:
            listing = await plain(prefix, after)
            read.append(len(listing.entries))
            return listing

        monkeypatch.setattr(store, "list", counted)
        await cluster.operations.apply(Change(services=(make_spec("api"),)))
        assert read
        assert max(read) < len(cluster.state.list(PREFIX).entries) // 4

    simulate(story)


def test_while_change_follows_change_a_controller_looks_for_half_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0

    async def cycle(controller: Controller) -> float:
        nonlocal looks
        looks += 1
        await controller.clock.sleep(0.1)
        return 1.0

    async def something_has_changed(_view: View, _seconds: float, _seen: int) -> None:
        pass

    monkeypatch.setattr(Controller, "cycle", cycle)
    monkeypatch.setattr(View, "wait", something_has_changed)

    async def story() -> None:
        cluster = Cluster(make_platform({"fra": 1}))
        next(iter(cluster.seats.values())).start()
        await cluster.clock.sleep(10)

    run_virtual(story())
    assert 49 <= looks <= 51


@pytest.mark.parametrize("when", [0.1, 0.3], ids=["while it looks", "while it rests"])
def test_what_changes_while_a_controller_looks_or_rests_is_looked_at_next(
    monkeypatch: pytest.MonkeyPatch, when: float
) -> None:
    """A look takes 0.2 s here, and the rest as long; without a change it waits for a minute."""
    began: list[float] = []

    async def cycle(controller: Controller) -> float:
        began.append(controller.clock.monotonic())
        await controller.clock.sleep(0.2)
        return 60.0

    monkeypatch.setattr(Controller, "cycle", cycle)

    async def story() -> None:
        cluster = Cluster(make_platform({"fra": 1}))
        next(iter(cluster.seats.values())).start()
        await cluster.clock.sleep(10)
        cluster.state.commit((Put(key=service_key("web"), value=b"{"),), ())
        await cluster.clock.sleep(0.1)  # it looks
        last = began[-1]
        await cluster.clock.sleep(last + when - cluster.clock.monotonic())
        cluster.state.commit((Put(key=service_key("web"), value=b"}"),), ())
        await cluster.clock.sleep(1.0)
        assert began[-1] - last == pytest.approx(0.4, abs=0.01)

    run_virtual(story())


def steps_of_reading_again(count: int) -> int:
    names = [f"web.fra.{number}-1" for number in range(1, count + 1)]
    entries = [
        KeyValue(
            key=allocation_key(name),
            value=encode(make_allocation(name, "fra-n1")),
            mod_revision=1,
        )
        for name in sorted(names)
    ]
    reader = Reader()
    listing = Listing(revision=1, entries=tuple(entries))
    reader.read(listing)
    with counted_steps() as steps:
        reader.read(replace(listing, revision=2))
        return steps()


def test_reading_again_costs_little_however_much_there_is() -> None:
    assert steps_of_reading_again(1000) <= 1.5 * steps_of_reading_again(20)
