"""Three controllers, agents, and faults: what must never happen, and what must happen."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest

from pltfrms.codec import encode
from pltfrms.controller.asked import operations
from pltfrms.controller.planning import loop
from pltfrms.controller.planning.deciding import decide
from pltfrms.controller.planning.insisting import GIVE_WAY_SECONDS
from pltfrms.controller.records.state import WAITING_KEY, service_key
from pltfrms.drivers.store.memory import WatchFault
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import ConflictError, UnavailableError
from pltfrms.model.messages.api import Change
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.plan import Plan
from pltfrms.model.running.state import Snapshot
from tests.controller.cluster import Cluster
from tests.simulation.virtual import run_virtual
from tests.strategies import make_platform, make_spec

PLATFORM = make_platform({"ams": 3, "fra": 3, "lon": 3})
WEB = make_spec()


def simulate(
    story: Callable[[Cluster], Awaitable[None]],
    seed: int = 1,
    *,
    apply: bool = True,
    platform: Platform = PLATFORM,
) -> None:
    """Run a story in a cluster whose store is looked at all the time."""

    async def run() -> None:
        cluster = Cluster(platform, seed)
        cluster.start()
        guard = asyncio.create_task(watch(cluster))
        if apply:
            await bring_up(cluster)
        told = asyncio.ensure_future(story(cluster))
        await asyncio.wait({told, guard}, return_when=asyncio.FIRST_COMPLETED)
        for task in (guard, told):
            if task.done():
                task.result()

    run_virtual(run())


async def watch(cluster: Cluster) -> None:
    revision = 0
    while True:
        cluster.require_alive()
        if cluster.state.revision != revision:
            revision = cluster.state.revision
            assert cluster.unsafe() == []
        await cluster.clock.sleep(0.01)


async def bring_up(cluster: Cluster) -> None:
    count = len(cluster.platform.managed)
    await cluster.until(lambda: len(cluster.stored().leases) == count, 10)
    await cluster.operations.apply(Change(services=(WEB,)))
    await cluster.until(lambda: cluster.settled("web"), 10)


def test_a_service_that_comes_again_has_no_name_from_before() -> None:
    async def story(cluster: Cluster) -> None:
        before = set(cluster.stored().allocations)
        await cluster.operations.delete("web")
        await cluster.until(lambda: not cluster.stored().allocations, 10)
        await cluster.until(
            lambda: not any(each.instances for each in cluster.stored().statuses.values()), 10
        )
        await cluster.operations.apply(Change(services=(WEB,)))
        await cluster.until(lambda: cluster.settled("web"), 10)
        assert not before & set(cluster.stored().allocations)

    simulate(story)


def test_more_replicas_than_one_transaction_takes_are_stopped_together() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(5)
        await cluster.operations.apply(Change(services=(make_spec(replicas=40),)))
        await cluster.until(lambda: cluster.settled("web"), 10)
        await cluster.operations.delete("web")
        await cluster.until(lambda: not cluster.stored().allocations, 10)
        assert len(cluster.stored().numbers) == 40

    simulate(story, apply=False, platform=make_platform({"ams": 40}))


def test_an_empty_store_becomes_a_running_service() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(2)
        assert cluster.stored().platform == PLATFORM
        assert len(cluster.stored().allocations) == 6
        events = await cluster.operations.events(0, 0, 1000)
        told = [event.what for event in events]
        assert told.count("replica placed") == 6
        assert told.count("machine in contact") == 15
        assert told.count("instance ready") == 6

    simulate(story)


def test_a_dead_node_is_replaced_and_takes_part_again_when_it_is_back() -> None:
    async def story(cluster: Cluster) -> None:
        node = next(iter(cluster.stored().allocations.values())).node
        cluster.agents[node].dead = True
        cluster.agents[node].ready_at.clear()
        await cluster.until(lambda: len(cluster.serving("web")) < 6, 1)
        assert await cluster.until(lambda: len(cluster.serving("web")) == 6, 12) > 3
        await cluster.until(lambda: len(cluster.stored().allocations) == 6, 5)
        cluster.agents[node].dead = False
        await cluster.clock.sleep(30)
        assert cluster.settled("web")
        what = {
            (event.about, event.what) for event in await cluster.operations.events(0, 0, 999)
        }
        assert (f"machine/{node}", "machine lost") in what

    simulate(story)


def test_a_whole_datacenter_out_of_contact_moves_nothing() -> None:
    async def story(cluster: Cluster) -> None:
        before = cluster.stored().allocations
        for name, agent in cluster.agents.items():
            agent.cut = name.startswith("fra-")
        await cluster.clock.sleep(60)
        assert cluster.stored().allocations == before
        notes = cluster.operations.snapshot().notes
        assert [(note.about, note.reason) for note in notes] == [("fra", "node-unheard")]
        for agent in cluster.agents.values():
            agent.cut = False
        await cluster.clock.sleep(30)
        assert cluster.stored().allocations == before

    simulate(story)


def test_a_store_that_is_away_for_a_minute_changes_nothing() -> None:
    async def story(cluster: Cluster) -> None:
        before = cluster.stored().allocations
        for seat in cluster.seats.values():
            seat.store.unavailable = True
        await cluster.clock.sleep(10)
        with pytest.raises(UnavailableError):
            cluster.operations.require_store()
        await cluster.clock.sleep(50)
        for seat in cluster.seats.values():
            seat.store.unavailable = False
        await cluster.clock.sleep(40)
        assert cluster.stored().allocations == before
        assert len(cluster.stored().leases) == 15

    simulate(story)


def test_controllers_that_all_start_anew_move_nothing() -> None:
    async def story(cluster: Cluster) -> None:
        before = cluster.stored().allocations
        for seat in cluster.seats.values():
            await seat.crash()
        await cluster.clock.sleep(60)
        assert cluster.stored().leases == {}
        for seat in cluster.seats.values():
            seat.start()
        await cluster.clock.sleep(40)
        assert cluster.stored().allocations == before

    simulate(story)


def test_one_controller_alone_replaces_a_node() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.seats["ams-c1"].crash()
        await cluster.seats["fra-c1"].crash()
        node = next(iter(cluster.stored().allocations.values())).node
        cluster.agents[node].dead = True
        await cluster.until(lambda: len(cluster.serving("web")) == 5, 2)
        await cluster.until(lambda: len(cluster.serving("web")) == 6, 14)

    simulate(story)


def test_a_crash_between_batches_is_finished_by_another() -> None:
    async def story(cluster: Cluster) -> None:
        seat = cluster.seats["ams-c1"]
        await cluster.until(lambda: len(cluster.stored().leases) == 15, 10)
        specs = tuple(make_spec(f"s{number}", 3, cpu=0.1) for number in range(10))
        commits = []

        def lost() -> bool:
            """Lose the answer to the first batch, and the controller with it."""
            commits.append(len(cluster.stored().allocations))
            if commits[-1]:
                task = asyncio.ensure_future(seat.crash())
                crashed.append(task)
            return bool(commits[-1])

        crashed: list[asyncio.Task[None]] = []
        await cluster.seats["lon-c1"].controller.clock.sleep(1)
        operations = cluster.seats["lon-c1"].operations
        assert operations
        seat.store.unknown_outcome = lost
        await operations.apply(Change(services=specs))
        await cluster.until(lambda: bool(crashed), 5)
        assert 0 < len(cluster.stored().allocations) < 90
        await cluster.until(lambda: all(cluster.settled(s.name) for s in specs), 20)

    simulate(story, apply=False)


def test_a_rollout_never_serves_with_less_than_wanted() -> None:
    async def story(cluster: Cluster) -> None:
        async def count() -> None:
            while True:
                assert len(cluster.serving("web")) == 6
                await cluster.clock.sleep(0.01)

        counting = asyncio.create_task(count())
        run = replace(WEB.run, process=("serve", "better"))
        await cluster.operations.apply(Change(services=(replace(WEB, run=run),)))
        await cluster.until(lambda: cluster.settled("web") or counting.done(), 60)
        assert not counting.done(), counting.result()
        versions = {a.version for a in cluster.stored().allocations.values()}
        assert versions == {2}

    simulate(story)


def test_while_there_is_poison_nothing_is_decided_and_machines_are_heard() -> None:
    async def story(cluster: Cluster) -> None:
        before = cluster.stored().allocations
        poison = Put(key=service_key("web"), value=b'{"spec": 7')
        await cluster.seats["ams-c1"].store.commit((poison,))
        await cluster.clock.sleep(5)
        problems = cluster.seats["fra-c1"].controller.view.stored().problems
        assert len(problems) == 1
        assert "services/web cannot be read" in problems[0]
        await cluster.seats["ams-c1"].crash()
        cluster.seats["ams-c1"].start()
        await cluster.clock.sleep(20)
        with pytest.raises(UnavailableError, match="cannot be read"):
            cluster.operations.snapshot()
        assert cluster.stored().leases.keys() == cluster.agents.keys()
        good = Put(key=service_key("web"), value=encode(service))
        await cluster.seats["ams-c1"].store.commit((good,))
        await cluster.clock.sleep(20)
        assert cluster.state.list("/pltfrms/allocations/").entries
        assert cluster.stored().allocations == before
        events = await cluster.operations.events(0, 0, 1000)
        assert "document cannot be read" in {event.what for event in events}

    service = None

    async def remember(cluster: Cluster) -> None:
        nonlocal service
        service = cluster.stored().services["web"]
        await story(cluster)

    simulate(remember)


def test_a_plan_tells_what_goes_on_without_the_change() -> None:
    async def story(cluster: Cluster) -> None:
        newer = replace(WEB, run=replace(WEB.run, cpu=0.3))
        committed = await cluster.operations.apply(Change(services=(newer,)))
        assert committed.plan.steps
        assert committed.under_way.steps == ()
        preview = await cluster.operations.plan(Change(services=(make_spec("api"),)))
        assert {step.allocation.service for step in preview.under_way.steps} == {"web"}
        assert {step.allocation.service for step in preview.plan.steps} == {"web", "api"}

    simulate(story)


def test_a_change_that_changes_nothing_is_planned_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned: list[Snapshot] = []

    def counted(snapshot: Snapshot) -> Plan:
        planned.append(snapshot)
        return decide(snapshot)

    async def story(cluster: Cluster) -> None:
        await cluster.until(lambda: cluster.settled("web"), 20)
        monkeypatch.setattr(operations, "decide", counted)
        preview = await cluster.operations.plan(Change(services=(WEB,)))
        assert (preview.changes, preview.plan.steps, len(planned)) == ((), (), 1)
        other = await cluster.operations.plan(Change(services=(make_spec("api"),)))
        assert (len(other.changes), len(planned)) == (1, 3)

    simulate(story)


def test_apply_is_bound_to_the_revision_it_was_planned_at() -> None:
    async def story(cluster: Cluster) -> None:
        three = Change(services=(replace(WEB, per_datacenter=3),))
        preview = await cluster.operations.plan(three)
        assert len(preview.plan.steps) == 3
        assert len(cluster.stored().allocations) == 6
        await cluster.operations.apply(Change(services=(make_spec("api"),)))
        with pytest.raises(ConflictError, match="plan again"):
            await cluster.operations.apply(replace(three, revision=preview.revision))
        done = await cluster.operations.apply(three)
        assert [line.about for line in done.changes] == ["service/web"]
        await cluster.until(lambda: cluster.settled("web"), 10)
        again = await cluster.operations.apply(three)
        assert (again.changes, again.plan.steps) == ((), ())
        await cluster.operations.delete("web")
        await cluster.until(lambda: cluster.serving("web") == [], 10)

    simulate(story)


async def busy(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a plan of 160 commits under way, each far faster than an operator is."""
    monkeypatch.setattr(loop, "BATCH_STEPS", 1)
    await cluster.clock.sleep(5)
    cluster.seats["ams-c1"].store.delay_seconds = lambda: 0.004
    cluster.seats["fra-c1"].store.delay_seconds = lambda: 0.06
    await cluster.operations.apply(Change(services=(make_spec(replicas=80, max_per_node=4),)))
    await cluster.clock.sleep(0.1)
    assert 0 < len(cluster.stored().allocations) < 30


MANY = make_platform({"ams": 20, "fra": 20})


@pytest.mark.parametrize("bound", [False, True])
def test_an_operator_gets_between_the_commits_of_a_large_plan(
    monkeypatch: pytest.MonkeyPatch, *, bound: bool
) -> None:
    async def story(cluster: Cluster) -> None:
        await busy(cluster, monkeypatch)
        operations = cluster.seats["fra-c1"].operations
        assert operations
        change = Change(services=(make_spec("api"),))
        for _ in range(3 if bound else 1):
            shown = await operations.plan(change)
            with suppress(ConflictError):
                asked = replace(change, revision=shown.revision) if bound else change
                await operations.apply(asked)
        assert "api" in cluster.stored().services
        assert len(cluster.stored().allocations) < 160
        await cluster.until(lambda: len(cluster.stored().allocations) > 160, 30)

    simulate(story, apply=False, platform=MANY)


def test_plans_do_not_wait_for_ever_for_operators() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.state.commit((Put(key=WAITING_KEY, value=b""),), ())
        cluster.agents["fra-n1"].dead = True
        cluster.agents["ams-n1"].dead = True
        await cluster.clock.sleep(12)
        await cluster.until(lambda: cluster.settled("web"), GIVE_WAY_SECONDS)

    simulate(story)


def test_two_operators_at_once_get_different_prefixes() -> None:
    async def story(cluster: Cluster) -> None:
        for seat in cluster.seats.values():
            seat.store.delay_seconds = lambda: 0.05
        names = ("a", "b", "c")
        applies = [
            seat.operations.apply(Change(services=(make_spec(name),)))
            for name, seat in zip(names, cluster.seats.values(), strict=True)
            if seat.operations
        ]
        await asyncio.gather(*applies)
        ids = {name: service.id for name, service in cluster.stored().services.items()}
        assert sorted(ids.values()) == [1, 2, 3, 4], ids

    simulate(story)


def test_a_target_is_waited_for() -> None:
    async def story(cluster: Cluster) -> None:
        node = next(iter(cluster.stored().allocations.values())).node
        await cluster.clock.sleep(5)
        now = await cluster.operations.target(node, 0, 0)
        assert now
        began = cluster.clock.monotonic()
        assert await cluster.operations.target(node, now.generation, 3000) is None
        assert 3 <= cluster.clock.monotonic() - began < 4
        waiting = asyncio.ensure_future(cluster.operations.target(node, now.generation, 30_000))
        await cluster.operations.apply(Change(services=(make_spec("api"),)))
        began = cluster.clock.monotonic()
        newer = await waiting
        assert newer
        assert newer.generation > now.generation
        assert cluster.clock.monotonic() - began < 0.5

    simulate(story)


def test_a_steady_state_writes_nothing() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(20)
        revision = cluster.state.revision
        await cluster.clock.sleep(30)
        assert cluster.state.revision == revision

    simulate(story)


@pytest.mark.parametrize("seed", range(6))
def test_random_faults_never_break_a_rule_and_it_converges_after_them(seed: int) -> None:
    async def story(cluster: Cluster) -> None:
        random = Random(seed)  # noqa: S311 - a simulation, no secret
        for seat in cluster.seats.values():
            seat.store.unknown_outcome = lambda: random.random() < 0.1
            seat.store.watch_fault = lambda: random.choice(tuple(WatchFault))
            seat.store.delay_seconds = lambda: random.random() * 0.05
        for _ in range(40):
            await misfortune(cluster, random)
            await cluster.clock.sleep(random.random() * 4)
        for seat in cluster.seats.values():
            seat.store.unavailable = False
            seat.store.unknown_outcome = lambda: False
            seat.start()
        for agent in cluster.agents.values():
            agent.cut = agent.dead = False
        await cluster.until(lambda: cluster.settled("web"), 120)
        await cluster.clock.sleep(60)
        assert cluster.settled("web")

    simulate(story, seed)


async def misfortune(cluster: Cluster, random: Random) -> None:
    """Let something go wrong, or right again."""
    agent = random.choice(tuple(cluster.agents.values()))
    seat = random.choice(tuple(cluster.seats.values()))
    match random.randint(0, 6):
        case 0 | 1:
            agent.cut = not agent.cut
        case 2:
            agent.dead = not agent.dead
        case 3:
            await seat.crash()
        case 4:
            seat.start()
        case 5:
            seat.store.unavailable = not seat.store.unavailable
        case _:
            text = str(random.random())
            spec = replace(WEB, run=replace(WEB.run, process=("serve", text)))
            for other in cluster.seats.values():
                if other.operations:
                    with suppress(UnavailableError, ConflictError):
                        await other.operations.apply(Change(services=(spec,)))
                    return
