"""A disk that is full, broken, or has torn documents: what runs stays, and it is said."""

import errno
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from pltfrms.agent.control.targets import TARGET_FILE
from pltfrms.drivers.workload.ports import MendedRecord, RecordReport
from pltfrms.model.network.topology import Guards, NodePrefixes
from pltfrms.model.running.machine import AGGREGATE_TABLE, LOCAL_TABLE, Nexthop, Route
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import RoutingState
from pltfrms.render.bird import policy_fingerprint
from tests.agent.bench import ONE, PLATFORM, TWO, WEB, Bench, devices, make_target
from tests.agent.routing.test_routing import NEW, OLD, UP
from tests.planner.targets import make_target as target_of
from tests.simulation.virtual import run_virtual
from tests.strategies import make_snapshot

ERRNOS = {errno.ENOSPC: "No space left", errno.EIO: "Input/output", errno.EROFS: "Read-only"}
PLACED = replace(PLATFORM, guards=Guards(node_prefixes=NodePrefixes.PLACED))
LOCAL = tuple(
    Route(prefix=prefix, table=LOCAL_TABLE, proto=12, metric=32, nexthops=(Nexthop("fab-a"),))
    for prefix in WEB.prefixes
)


@dataclass(frozen=True)
class Outcome:
    """All that a machine does for others."""

    devices: frozenset[str]
    running: frozenset[str]
    announced: frozenset[str]
    text: str


async def _outcome(bench: Bench) -> Outcome:
    return Outcome(
        devices=frozenset(await devices(bench.network)),
        running=frozenset(await bench.workload.running()),
        announced=frozenset(
            str(route.prefix) for route in await bench.network.routes(AGGREGATE_TABLE)
        ),
        text=bench.bird.loaded,
    )


def _of_the_disk(bench: Bench) -> list[str]:
    return [problem for problem in bench.status.problems if problem.startswith("disk, ")]


def _bench(machine: str) -> Bench:
    bench = Bench(machine, PLACED)
    for route in LOCAL:
        bench.network.set_route(route)
    return bench


def _orders(machine: str) -> list[Target]:
    """Return what a machine hears one after the other: things come, drain and go."""
    if machine.endswith("n1"):
        targets = [make_target(5, ONE, TWO), make_target(6, ONE)]
    else:
        snapshot = make_snapshot(PLACED, (WEB,), (ONE, TWO))
        first = replace(target_of(snapshot, machine), generation=5)
        targets = [first, replace(first, generation=6)]
    return [replace(target, platform=PLACED) for target in targets]


async def _live(bench: Bench, machine: str) -> Outcome:
    for target in _orders(machine):
        await bench.order(target, 6.0)
    return await _outcome(bench)


@pytest.mark.parametrize("machine", ["fra-n1", "fra-e1"])
@pytest.mark.parametrize("code", ERRNOS)
def test_a_machine_whose_disk_refuses_does_the_same_and_says_so(
    machine: str, code: int
) -> None:
    async def story() -> None:
        well, ill = _bench(machine), _bench(machine)
        async with well.life():
            expected = await _live(well, machine)
        ill.disk.refuses_writing = code
        async with ill.life():
            assert await _live(ill, machine) == expected
            assert ill.disk.documents == {}
            said = _of_the_disk(ill)
            assert [each for each in said if ERRNOS[code] not in each] == []
            assert len(said) == len(well.disk.documents)
            ill.disk.refuses_writing = 0
            await ill.passes(2.0)
            assert _of_the_disk(ill) == []
            assert ill.disk.documents.keys() == well.disk.documents.keys()
            assert await _outcome(ill) == expected

    run_virtual(story())


@pytest.mark.parametrize("machine", ["fra-n1", "fra-e1"])
def test_an_agent_that_starts_on_a_disk_that_cannot_be_read_takes_nothing_away(
    machine: str,
) -> None:
    async def story() -> None:
        bench = _bench(machine)
        async with bench.life():
            expected = await _live(bench, machine)
        bench.controllers.alive = False
        bench.disk.refuses_reading = bench.disk.refuses_writing = errno.EIO
        async with bench.life(10.0):
            assert await _outcome(bench) == expected
            assert any("Input/output" in problem for problem in bench.status.problems)

    run_virtual(story())


async def _documents(machine: str) -> tuple[Bench, Outcome, Mapping[str, bytes]]:
    bench = _bench(machine)
    async with bench.life():
        expected = await _live(bench, machine)
    bench.controllers.alive = False
    return bench, expected, dict(bench.disk.documents)


@pytest.mark.parametrize("machine", ["fra-n1", "fra-e1"])
def test_a_document_that_is_torn_anywhere_takes_nothing_away(machine: str) -> None:
    """Each document is cut at its ends and in between, and an agent starts from it."""

    async def story() -> None:
        bench, expected, documents = await _documents(machine)
        assert len(documents) >= 2
        for name, text in documents.items():
            for size in {0, len(text) // 2, len(text) - 1}:
                bench.disk.documents = {**documents, name: text[:size]}
                async with bench.life(4.0):
                    found = await _outcome(bench)
                    if name == TARGET_FILE:  # nobody tells an edge what it has for others
                        found = replace(found, text=expected.text)
                    assert found == expected, (name, size)

    run_virtual(story())


def test_a_record_that_cannot_be_read_is_a_problem_and_mending_it_is_told_once() -> None:
    async def story() -> None:
        bench = Bench()
        workload = bench.workload
        mended = MendedRecord(allocation=ONE.id, detail="written anew")
        workload.record_report = RecordReport(wrong="remove x.json", mended=(mended,))
        async with bench.life(12.0):
            assert "instance records: remove x.json" in bench.status.problems
            workload.record_report = RecordReport()
            await bench.passes(6.0)
            assert not any("instance records" in each for each in bench.status.problems)
            events = bench.controllers.events("instance record mended")
            assert events == [f"{ONE.id}: written anew"]

    run_virtual(story())


def _edge() -> Bench:
    """Return an edge that may try another policy from now on."""
    bench = Bench("fra-e1")
    bench.platform = OLD
    bench.bird.states = UP
    bench.controllers.turn = policy_fingerprint(NEW, "fra-e1")
    return bench


def _state(bench: Bench) -> RoutingState:
    return bench.status.routing.state


@pytest.mark.parametrize("code", ERRNOS)
def test_a_policy_that_the_disk_refuses_waits_and_is_tried_when_there_is_space(
    code: int,
) -> None:
    async def story() -> None:
        bench = _edge()
        async with bench.life(5.0):
            before = bench.bird.loaded
            bench.bird.disk_fault = code
            await bench.order(replace(make_target(1, machine="fra-e1"), platform=NEW), 20.0)
            assert _state(bench) is RoutingState.WAITING
            assert ERRNOS[code] in bench.status.routing.detail
            assert any(ERRNOS[code] in problem for problem in bench.status.problems)
            assert bench.bird.loaded == before
            bench.bird.disk_fault = 0
            await bench.passes(20.0)
            assert _state(bench) is RoutingState.CONFIRMED
            assert not any(ERRNOS[code] in problem for problem in bench.status.problems)

    run_virtual(story())


def test_a_disk_that_fills_while_a_policy_is_on_trial_brings_back_what_was() -> None:
    async def story() -> None:
        bench = _edge()
        async with bench.life(5.0):
            before = bench.bird.loaded
            bench.controllers.latest = replace(make_target(1, machine="fra-e1"), platform=NEW)
            for _ in range(600):
                if bench.bird.trials:
                    break
                await bench.passes(0.1)
            assert bench.bird.loaded != before
            bench.bird.disk_fault = errno.ENOSPC
            await bench.passes(20.0)
            assert _state(bench) is RoutingState.WAITING
            assert bench.bird.loaded == before
            bench.bird.disk_fault = 0
            await bench.passes(20.0)
            assert _state(bench) is RoutingState.CONFIRMED

    run_virtual(story())


@pytest.mark.parametrize("code", ERRNOS)
def test_a_trial_that_the_disk_does_not_count_does_not_begin(code: int) -> None:
    async def story() -> None:
        bench = _edge()
        async with bench.life(5.0):
            bench.disk.refuses_writing = code
            await bench.order(replace(make_target(1, machine="fra-e1"), platform=NEW), 60.0)
            assert _state(bench) is RoutingState.WAITING
            assert "the disk" in bench.status.routing.detail
            assert any(ERRNOS[code] in problem for problem in bench.status.problems)
            assert not bench.bird.trials
            bench.disk.refuses_writing = 0
            await bench.passes(30.0)
            assert _state(bench) is RoutingState.CONFIRMED
            assert len(bench.bird.trials) == 1
            assert not any(ERRNOS[code] in problem for problem in bench.status.problems)

    run_virtual(story())
