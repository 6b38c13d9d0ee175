"""Runs of jobs on a node: each begins at most once, and is told how it ended."""

import asyncio
import errno
from dataclasses import replace

import pytest

from pltfrms.agent.instances.runs import RUNS_FILE
from pltfrms.drivers.workload.memory import Behaviour
from pltfrms.model.running.machine import SERVICE_TABLE, Instance, InstanceSpec
from pltfrms.model.running.plan import Target
from pltfrms.model.services.jobs import (
    JobRun,
    JobSpec,
    RunOrder,
    RunPhase,
    RunReason,
    RunState,
    RunStatus,
)
from pltfrms.model.services.service import Run
from pltfrms.planner.instances.runs import exit_code_of
from pltfrms.planner.jobs.leases import CLAIM_MS, START_MS
from tests.agent.bench import PLATFORM, Bench, make_target
from tests.simulation.virtual import VirtualLoop, run_virtual

SPEC = JobSpec(
    name="backup",
    run=Run(process=("tar", "${pltfrms.instance}"), stop_grace_ms=1000),
    timeout_ms=60_000,
)
GIVEN = JobRun(
    job="backup",
    number=7,
    spec=SPEC,
    state=RunState.GIVEN,
    node="fra-n1",
    datacenter="fra",
    slot=200,
)


def ordered(generation: int, *runs: JobRun) -> Target:
    orders = tuple(RunOrder(run=run, stop=bool(run.stop_by)) for run in runs)
    return replace(make_target(generation), runs=orders)


def told(bench: Bench) -> RunStatus:
    (status,) = bench.status.runs
    return status


async def allowed(bench: Bench, generation: int = 1) -> JobRun:
    """Let it ask, and return the run as it may begin."""
    await bench.order(ordered(generation, GIVEN), 2)
    assert told(bench).phase is RunPhase.ASKING
    return replace(GIVEN, state=RunState.RUNNING, claim=told(bench).claim)


def starts(bench: Bench) -> list[str]:
    return [each.allocation for each in bench.workload.deeds if each.what == "start"]


async def routes(bench: Bench) -> list[str]:
    found = await bench.network.routes(SERVICE_TABLE)
    return [str(route.prefix) for route in found]


def test_it_asks_begins_when_it_may_and_says_how_it_ended() -> None:
    async def story() -> None:
        bench = Bench()
        node = PLATFORM.machine("fra-n1")
        own = f"{PLATFORM.instance6(node, 0, 200)}/128"
        async with bench.life():
            run = await allowed(bench)
            assert starts(bench) == []
            await bench.order(ordered(2, run), 2)
            assert (told(bench).phase, told(bench).claim) == (RunPhase.RUNNING, run.claim)
            assert own in await routes(bench)
            await bench.workload.crash("backup@7", "exited with status 0")
            await bench.passes(2)
            status = told(bench)
            assert (status.phase, status.exit_code) == (RunPhase.ENDED, 0)
            assert status.ended_ms >= status.began_ms > 0
            assert own not in await routes(bench)
            await bench.order(ordered(3, run), 5)  # by who has not heard of the end
            assert starts(bench) == ["backup@7"]
            await bench.order(ordered(4), 2)
            assert bench.status.runs == ()
            await bench.order(ordered(5, run), 5)
            assert starts(bench) == ["backup@7"]

    run_virtual(story())


def test_another_life_of_the_agent_begins_nothing_by_what_it_finds() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            run = await allowed(bench)
        async with bench.life():
            await bench.order(ordered(2, run), 5)
            assert (starts(bench), told(bench).phase) == ([], RunPhase.NEVER)

    run_virtual(story())


def test_an_allowance_that_comes_too_late_is_none() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            run = await allowed(bench)
            await bench.order(ordered(2), 1)
            await bench.passes(CLAIM_MS / 1000)
            await bench.order(ordered(3, run), 5)
            assert (starts(bench), told(bench).phase) == ([], RunPhase.NEVER)

    run_virtual(story())


def test_what_is_recorded_too_late_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that stands still holds up the whole agent, and the lease of the run goes on."""

    async def story() -> None:
        bench, loop = Bench(), asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        async with bench.life():
            run = await allowed(bench)
            write = bench.disk.write

            def slowly(name: str, value: bytes) -> None:
                if name == RUNS_FILE:
                    loop.stall(CLAIM_MS / 1000)
                write(name, value)

            monkeypatch.setattr(bench.disk, "write", slowly)
            await bench.order(ordered(2, run), 5)
            assert (starts(bench), told(bench).phase) == ([], RunPhase.NEVER)
            assert told(bench).detail == "its record was written too late"

    run_virtual(story())


@pytest.mark.parametrize("is_in_time", [True, False])
def test_a_start_that_takes_too_long_is_given_up(*, is_in_time: bool) -> None:
    async def story() -> None:
        bench = Bench()
        start_ms = START_MS - 1000 if is_in_time else START_MS + 1000
        bench.workload.behave = lambda _: Behaviour(start_ms=start_ms)
        async with bench.life():
            run = await allowed(bench)
            await bench.order(ordered(2, run), 20)
            assert ("backup@7" in await bench.workload.running()) is is_in_time
            if not is_in_time:
                assert told(bench).reason is RunReason.NOT_STARTED
                assert told(bench).detail == "it took longer than 15 s"

    run_virtual(story())


@pytest.mark.parametrize("left", [None, b"{"])
def test_whose_memory_is_lost_does_not_say_that_it_did_nothing(left: bytes | None) -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            run = await allowed(bench)
            await bench.order(ordered(2, run), 2)
        await bench.workload.crash("backup@7", "exited with status 0")
        if left is None:
            del bench.disk.documents[RUNS_FILE]
        else:
            bench.disk.documents[RUNS_FILE] = left
        for generation in (3, 4):
            async with bench.life():
                await bench.order(ordered(generation, run), 2)
                status = told(bench)
                assert (status.phase, status.exit_code) == (RunPhase.ENDED, None)
                assert (status.claim, status.reason) == (run.claim, None)
                assert "whether it began is not known" in status.detail
        assert starts(bench) == ["backup@7"]

    run_virtual(story())


def test_of_what_is_over_it_is_kept_how_it_ended_and_not_what_it_was() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            run = await allowed(bench)
            await bench.order(ordered(2, run), 2)
            assert b"tar" in bench.disk.documents[RUNS_FILE]
            await bench.workload.crash("backup@7", "exited with status 0")
            await bench.passes(2)
            assert b"tar" not in bench.disk.documents[RUNS_FILE]

    run_virtual(story())


@pytest.mark.parametrize("ends_unseen", [False, True])
def test_what_runs_goes_on_while_the_agent_is_another_one(*, ends_unseen: bool) -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            run = await allowed(bench)
            await bench.order(ordered(2, run), 2)
        if ends_unseen:
            await bench.workload.crash("backup@7", "exited with status 3: no space left")
        async with bench.life():
            await bench.passes(3)
            if not ends_unseen:
                assert told(bench).phase is RunPhase.RUNNING
                await bench.workload.crash("backup@7", "exited with status 3: no space left")
                await bench.passes(2)
            status = told(bench)
            assert (status.phase, status.exit_code) == (RunPhase.ENDED, 3)
            assert status.detail.endswith("no space left")
            assert starts(bench) == ["backup@7"]

    run_virtual(story())


def test_it_is_stopped_when_somebody_says_so() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            run = await allowed(bench)
            await bench.order(ordered(2, run), 2)
            await bench.order(ordered(3, replace(run, stop_by="ada")), 3)
            status = told(bench)
            assert (status.phase, status.reason) == (RunPhase.ENDED, RunReason.STOPPED)

    run_virtual(story())


def test_what_takes_too_long_is_ended() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            run = await allowed(bench)
            await bench.order(ordered(2, run), 50)
            assert told(bench).phase is RunPhase.RUNNING
            await bench.passes(15)
            status = told(bench)
            assert (status.phase, status.reason) == (RunPhase.ENDED, RunReason.TOO_LONG)

    run_virtual(story())


def test_what_ended_well_while_no_agent_lived_did_not_take_too_long() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            run = await allowed(bench)
            await bench.order(ordered(2, run), 2)
        await bench.workload.crash("backup@7", "exited with status 0")
        await bench.clock.sleep(3600)
        async with bench.life():
            await bench.order(ordered(3, replace(run, stop_by="ada")), 2)
            status = told(bench)
            assert (status.phase, status.reason, status.exit_code) == (RunPhase.ENDED, None, 0)

    run_virtual(story())


def test_what_was_stopped_says_so_to_the_next_agent() -> None:
    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda _: Behaviour(ignores_sigterm=True)
        async with bench.life():
            run = await allowed(bench)
            await bench.order(ordered(2, run), 2)
            await bench.order(ordered(3, replace(run, stop_by="ada")), 0.7)
        await bench.workload.crash("backup@7", "exited with status 0")
        async with bench.life():
            await bench.order(ordered(4, replace(run, stop_by="ada")), 2)
            assert told(bench).reason is RunReason.STOPPED

    run_virtual(story())


def test_an_end_that_cannot_be_seen_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            run = await allowed(bench)
            wait, wrong = bench.workload.wait, ["too many open files"]

            async def fails(instance: Instance) -> str:
                if wrong:
                    raise OSError(*wrong)
                return await wait(instance)

            monkeypatch.setattr(bench.workload, "wait", fails)
            await bench.order(ordered(2, run), 2)
            assert "too many open files" in " ".join(bench.status.problems)
            wrong.clear()
            await bench.passes(3)
            await bench.workload.crash("backup@7", "exited with status 0")
            await bench.passes(2)
            assert (told(bench).exit_code, bench.status.problems) == (0, ())

    run_virtual(story())


def test_a_start_that_fails_as_nobody_foresaw_does_not_look_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            run = await allowed(bench)

            async def fails(_: InstanceSpec) -> Instance:
                raise RuntimeError("nobody thought of this")

            monkeypatch.setattr(bench.workload, "start", fails)
            await bench.order(ordered(2, run), 3)
            assert (told(bench).phase, told(bench).exit_code) == (RunPhase.ENDED, None)

    run_virtual(story())


def test_what_cannot_be_started_says_why_and_is_not_tried_again() -> None:
    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda _: Behaviour(refuses="no such program")
        async with bench.life():
            run = await allowed(bench)
            await bench.order(ordered(2, run), 10)
            status = told(bench)
            assert (status.phase, status.reason) == (RunPhase.ENDED, RunReason.NOT_STARTED)
            assert "no such program" in status.detail
            assert starts(bench) == ["backup@7"]

    run_virtual(story())


def test_without_a_record_on_the_disk_it_does_not_begin() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            run = await allowed(bench)
            bench.disk.refuses_writing = errno.ENOSPC
            await bench.order(ordered(2, run), 5)
            assert starts(bench) == []
            assert told(bench).reason is RunReason.NOT_STARTED
            assert RUNS_FILE in " ".join(bench.status.problems)

    run_virtual(story())


def test_what_the_machine_took_with_it_was_interrupted() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            run = await allowed(bench)
            await bench.order(ordered(2, run), 2)
        await bench.workload.power_off()
        bench.boot = "another"
        async with bench.life():
            await bench.order(ordered(3, run), 3)
            status = told(bench)
            assert (status.phase, status.exit_code) == (RunPhase.ENDED, None)
            assert starts(bench) == ["backup@7"]

    run_virtual(story())


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("exited with status 0", 0),
        ("exited with status 3: no space left", 3),
        ("killed by signal 15", 143),
        ("killed by signal 15 when its time was over", 143),
        ("exited with status 0 when its time was over", 0),
        ("killed by the kernel: out of memory", 137),
        ("killed together with its init process", None),
        ("", None),
    ],
)
def test_an_end_says_its_exit_code(how: str, code: int | None) -> None:
    assert exit_code_of(how) == code
