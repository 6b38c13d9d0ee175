"""Jobs with three controllers, one store and agents that obey, in virtual time."""

from dataclasses import replace
from functools import partial

import pytest

from pltfrms.controller.asked.jobs import JobDesk
from pltfrms.controller.planning.jobs import Jobs
from pltfrms.controller.records.auditing import Asked
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import ConflictError, NotFoundError, SpecError, UsageError
from pltfrms.model.messages.api import Change, PlanPreview
from pltfrms.model.messages.jobs import JobAsk, JobChange
from pltfrms.model.services.jobs import JobRun, JobSpec, RunReason, RunState
from pltfrms.model.services.secrets import SecretUse
from pltfrms.model.services.service import Run
from pltfrms.planner.jobs.leases import lease_ms
from tests.controller.cluster import Cluster
from tests.controller.jobbing import every_begun
from tests.controller.test_network import simulate, told
from tests.simulation.virtual import VirtualClock

SPEC = JobSpec(name="backup", run=Run(process=("true",), stop_grace_ms=1000), timeout_ms=20_000)
ADA = Asked(by="ada@ops", why="tonight")


async def apply(cluster: Cluster, spec: JobSpec = SPEC) -> PlanPreview:
    return await cluster.operations.apply(Change(jobs=(spec,)), asked=ADA)


async def ask(cluster: Cluster, verb: JobAsk) -> JobRun | None:
    change = JobChange(verb=verb, name="backup", why="tonight")
    return (await JobDesk(cluster.operations).change(change, ADA)).run


def run_of(cluster: Cluster, number: int = 1) -> JobRun:
    return cluster.stored().runs[f"backup@{number}"]


def succeeded(cluster: Cluster, number: int) -> bool:
    return run_of(cluster, number).state is RunState.SUCCEEDED


def begun(cluster: Cluster) -> list[str]:
    return every_begun([agent.book for agent in cluster.agents.values()])


def test_a_run_is_given_to_one_node_and_ends_as_that_says() -> None:
    async def story(cluster: Cluster) -> None:
        await apply(cluster)
        await cluster.clock.sleep(5)
        assert cluster.stored().runs == {}
        wanted = await ask(cluster, JobAsk.RUN)
        assert wanted is not None
        assert (wanted.id, wanted.by, wanted.why) == ("backup@1", "ada@ops", "tonight")
        with pytest.raises(ConflictError, match="backup@1 is"):
            await ask(cluster, JobAsk.RUN)
        await cluster.until(lambda: run_of(cluster).state is RunState.SUCCEEDED, 20)
        assert begun(cluster) == ["backup@1"]
        assert run_of(cluster).exit_code == 0
        for what in ("create accepted", "run wanted", "run given to a node", "run succeeded"):
            assert len(await told(cluster, what)) == 1, what
        records = (await cluster.operations.audit(0, 100)).records
        assert [each.what for each in records] == ["apply", "job run"]
        cluster.job = (3.0, 4)
        await ask(cluster, JobAsk.RUN)
        await cluster.until(lambda: run_of(cluster, 2).state is RunState.FAILED, 20)
        (event,) = await told(cluster, "run failed")
        assert "exit code 4" in event.detail

    simulate(story)


def test_it_is_due_by_its_schedule_once_whichever_controllers_live() -> None:
    async def story(cluster: Cluster) -> None:
        await apply(cluster, replace(SPEC, schedule="* * * * *"))
        for _ in range(6):
            seat = cluster.random.choice(list(cluster.seats.values()))
            await seat.crash()
            await cluster.clock.sleep(40)
            seat.start()
            await cluster.clock.sleep(20)
        await cluster.clock.sleep(30)
        runs = cluster.stored().runs.values()
        assert len({run.due_ms for run in runs}) == len(runs) >= 5
        assert begun(cluster) == sorted(run.id for run in runs)

    simulate(story)


def test_a_controller_that_dies_in_the_middle_is_not_noticed() -> None:
    async def story(cluster: Cluster) -> None:
        await apply(cluster)
        for number, seconds in enumerate((0.0, 0.3, 0.7, 1.1, 1.6, 2.5), start=1):
            await ask(cluster, JobAsk.RUN)
            await cluster.clock.sleep(seconds)
            seat = cluster.seats["fra-c1"]
            await seat.crash()
            await cluster.until(partial(succeeded, cluster, number), 30)
            seat.start()
            await cluster.clock.sleep(5)
        assert begun(cluster) == [f"backup@{number}" for number in range(1, 7)]

    simulate(story)


def test_a_lost_node_leaves_it_unknown_until_it_must_be_over() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.job = (15.0, 0)
        await apply(cluster, replace(SPEC, retries=1))
        await ask(cluster, JobAsk.RUN)
        await cluster.until(lambda: bool(begun(cluster)), 10)
        agent = cluster.agents[run_of(cluster).node]
        agent.dead = True
        await cluster.until(lambda: run_of(cluster).state is RunState.UNKNOWN, 20)
        await cluster.clock.sleep(lease_ms(run_of(cluster)) / 1000 - 30)
        assert run_of(cluster).state is RunState.UNKNOWN
        await cluster.until(lambda: run_of(cluster).state is RunState.FAILED, 60)
        assert run_of(cluster).reason is RunReason.LEASE_OVER
        await cluster.until(lambda: "backup@2" in cluster.stored().runs, 5)
        again = run_of(cluster, 2)
        assert (again.cause, again.retry_of, again.attempt) == (RunReason.RETRY, 1, 2)
        await cluster.until(lambda: run_of(cluster, 2).state is RunState.SUCCEEDED, 60)
        assert run_of(cluster, 2).node != agent.name
        assert begun(cluster) == ["backup@1", "backup@2"]

    simulate(story)


def test_a_node_that_comes_back_in_time_says_how_it_ended() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.job = (15.0, 3)
        await apply(cluster)
        await ask(cluster, JobAsk.RUN)
        await cluster.until(lambda: bool(begun(cluster)), 10)
        agent = cluster.agents[run_of(cluster).node]
        agent.cut = True
        await cluster.until(lambda: run_of(cluster).state is RunState.UNKNOWN, 60)
        agent.cut = False
        await cluster.until(lambda: run_of(cluster).state is RunState.FAILED, 20)
        assert (run_of(cluster).reason, run_of(cluster).exit_code) == (
            RunReason.ENDED_BADLY,
            3,
        )

    simulate(story)


def test_it_is_stopped_and_deleted_and_its_numbers_do_not_come_back() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.job = (15.0, 0)
        await apply(cluster)
        with pytest.raises(NotFoundError, match="has no run that is not over"):
            await ask(cluster, JobAsk.STOP)
        await ask(cluster, JobAsk.RUN)
        await cluster.until(lambda: bool(begun(cluster)), 10)
        with pytest.raises(ConflictError, match="stop it before"):
            await ask(cluster, JobAsk.DELETE)
        await ask(cluster, JobAsk.STOP)
        await cluster.until(lambda: run_of(cluster).state is RunState.FAILED, 10)
        assert run_of(cluster).reason is RunReason.STOPPED
        await ask(cluster, JobAsk.DELETE)
        await cluster.until(lambda: not cluster.stored().runs, 10)
        with pytest.raises(NotFoundError, match="there is no job 'backup'; there are: none"):
            await ask(cluster, JobAsk.RUN)
        await apply(cluster)
        run = await ask(cluster, JobAsk.RUN)
        assert run is not None
        assert run.id == "backup@2"

    simulate(story)


def test_what_cannot_be_started_is_refused_whoever_sends_it() -> None:
    async def story(cluster: Cluster) -> None:
        for spec, why in (
            (replace(SPEC, datacenters=("mars",)), "there is no datacenter 'mars'"),
            (replace(SPEC, schedule="0 3 * *"), "has 4 fields"),
            (replace(SPEC, name="a b"), "is not a name"),
            (
                replace(SPEC, run=replace(SPEC.run, secrets=(SecretUse(name="db", file="p"),))),
                "there is no secret 'db'",
            ),
        ):
            with pytest.raises((SpecError, UsageError), match=why):
                await apply(cluster, spec)
        assert cluster.stored().jobs == {}

    simulate(story)


def test_a_directory_of_a_label_has_its_jobs_and_what_goes_waits_for_its_run() -> None:
    mine = replace(SPEC, group="shop")
    other = replace(mine, name="report")

    async def story(cluster: Cluster) -> None:
        async def prune(*jobs: JobSpec) -> list[tuple[str, str]]:
            change = Change(jobs=jobs, prune=("group", "shop"), by="ada@ops")
            done = await cluster.operations.apply(change, asked=ADA)
            return [(line.about, line.action) for line in done.changes]

        assert await prune(mine, other) == [("job/backup", "create"), ("job/report", "create")]
        assert await prune(mine, other) == []
        cluster.job = (15.0, 0)
        await ask(cluster, JobAsk.RUN)
        with pytest.raises(ConflictError, match=r"backup@1 is .*: stop it before"):
            await prune(other)
        with pytest.raises(UsageError, match="job report: is not group=shop"):
            await prune(mine, replace(other, group=""))
        assert await prune(mine) == [("job/report", "delete")]
        gone = cluster.stored().jobs["report"]
        assert (gone.deleted, gone.by, gone.spec.run.process) == (True, "ada@ops", ())

    simulate(story)


class Ahead(VirtualClock):
    """A clock that can be put forward."""

    seconds = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.seconds


def test_a_wrong_clock_does_not_make_controllers_correct_each_other_for_ever() -> None:
    async def story(cluster: Cluster) -> None:
        controller = cluster.operations.controller
        await apply(cluster, replace(SPEC, schedule="0 * * * *"))
        clock = Ahead()
        jobs = Jobs(controller.store, controller.journal, clock)
        stored = await controller.view.linearized()
        ahead = replace(stored.jobs["backup"], decided_ms=stored.now_ms + 3_600_000)
        mark = Put(key="mark", value=b"")
        for done in (True, False):
            snapshot = await controller.view.linearized()
            wrong = replace(snapshot, jobs={"backup": ahead})
            assert bool(await jobs.keep(wrong, mark, rank=0)) is done
        clock.seconds = 3600
        snapshot = await controller.view.linearized()
        ahead = replace(ahead, decided_ms=snapshot.now_ms + 3_600_000)
        assert await jobs.keep(replace(snapshot, jobs={"backup": ahead}), mark, rank=0)

    simulate(story)
