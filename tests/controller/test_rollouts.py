"""Rollouts with three controllers, of which any goes on; in virtual time."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from pltfrms.controller.planning.rolling import STEPS_MAX
from pltfrms.controller.records.auditing import Asked
from pltfrms.controller.records.history import History
from pltfrms.controller.records.state import unchanged_since
from pltfrms.errors import ConflictError
from pltfrms.model.messages.api import (
    Change,
    InterventionChange,
    RolloutChange,
    RolloutVerb,
    ServiceHistory,
    Verb,
)
from pltfrms.model.running.plan import Reason
from pltfrms.model.services.rollouts import where_of
from pltfrms.model.services.service import (
    Rollout,
    RolloutSpec,
    RolloutState,
    Service,
    ServiceSpec,
)
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import simulate
from tests.simulation.virtual import VirtualClock
from tests.strategies import make_spec

OLD = make_spec()
ORDER = ("ams", "fra", "lon")
STAGES_SECONDS = 4 * 10 + 20
"""Four bakes, and time to replace six replicas."""


def version(number: int, bake_ms: int | None = None) -> ServiceSpec:
    """Return the service as its version of this number runs it."""
    run = replace(OLD.run, process=("serve", str(number)))
    rollout = None if bake_ms is None else RolloutSpec(bake_ms=bake_ms)
    return replace(OLD, run=run, rollout=rollout)


def rollout(cluster: Cluster) -> Rollout:
    found = cluster.stored().services["web"].rollout
    assert found is not None
    return found


def versions(cluster: Cluster) -> dict[str, int]:
    """Return the newest version of each replica, by its place."""
    allocations = sorted(cluster.stored().allocations.values(), key=lambda each: each.number)
    return {f"{each.datacenter}.{each.replica}": each.version for each in allocations}


async def apply(cluster: Cluster, spec: ServiceSpec) -> None:
    await cluster.operations.apply(Change(services=(spec,), by="ada", why="better"))


async def told(cluster: Cluster, what: str) -> list[str]:
    events = await cluster.operations.events(0, 0, 1000)
    return [event.detail for event in events if event.what == what]


async def serving_six(cluster: Cluster) -> None:
    """Fail as soon as fewer replicas run than are wanted."""
    while True:
        assert len(cluster.serving("web")) == 6, cluster.describe()
        await cluster.clock.sleep(0.05)


def test_a_new_version_comes_by_stages_and_each_one_bakes() -> None:
    async def story(cluster: Cluster) -> None:
        guard = asyncio.create_task(serving_six(cluster))
        await apply(cluster, version(2))
        order: list[str] = []
        began = cluster.clock.monotonic()
        at: dict[str, float] = {}
        while rollout(cluster).under_way:
            new = {place for place, number in versions(cluster).items() if number == 2}
            for place in sorted(new - set(order)):
                order.append(place)
                at[place] = cluster.clock.monotonic() - began
            await cluster.clock.sleep(0.1)
            assert cluster.clock.monotonic() - began < STAGES_SECONDS
        assert order == ["ams.1", "ams.2", "fra.1", "fra.2", "lon.1", "lon.2"]
        assert at["ams.2"] - at["ams.1"] > 10
        assert at["fra.1"] - at["ams.2"] > 10
        assert at["lon.1"] - at["fra.2"] > 10
        assert rollout(cluster).state is RolloutState.DONE
        assert (rollout(cluster).by, rollout(cluster).why) == ("ada", "better")
        await cluster.until(lambda: cluster.settled("web"), 10)
        assert len(await told(cluster, "rollout done")) == 1
        assert not guard.done()
        guard.cancel()

    simulate(story)


@pytest.mark.parametrize("lives", [0.0, 4.0])
def test_a_bad_version_goes_back_by_itself_and_says_why(lives: float) -> None:
    """One that never becomes ready, and one that fails while it bakes."""

    async def story(cluster: Cluster) -> None:
        cluster.broken[2] = lives
        await apply(cluster, version(2))
        await cluster.until(lambda: not rollout(cluster).under_way, 30)
        assert rollout(cluster).state is RolloutState.FAILED
        assert "web.ams.1-2 on ams-n" in rollout(cluster).cause
        assert "exit code 1" in rollout(cluster).cause
        await cluster.until(lambda: cluster.settled("web"), 20)
        service = cluster.stored().services["web"]
        assert (service.version, service.spec) == (1, OLD)
        assert set(versions(cluster).values()) == {1}
        untouched = [each for each in versions(cluster) if not each.startswith("ams.1")]
        ids = cluster.stored().allocations
        assert all(f"web.{place}-1" in ids for place in untouched)
        (event,) = await told(cluster, "rollout failed, and goes back")
        assert "exit code 1" in event

    simulate(story)


def test_the_wanted_number_serves_while_a_version_that_never_gets_ready_goes_back() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.broken[2] = 0.0
        guard = asyncio.create_task(serving_six(cluster))
        await apply(cluster, version(2))
        await cluster.until(lambda: not rollout(cluster).under_way, 30)
        await cluster.until(lambda: cluster.settled("web"), 20)
        assert not guard.done()
        guard.cancel()

    simulate(story)


def test_the_same_bad_spec_is_said_to_have_failed_and_fails_under_another_number() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.broken |= {2: 0.0, 3: 0.0}
        await apply(cluster, version(2))
        await cluster.until(lambda: not rollout(cluster).under_way, 30)
        await cluster.until(lambda: cluster.settled("web"), 20)
        preview = await cluster.operations.plan(Change(services=(version(2),)))
        assert "was version 2, which failed: web.ams.1-2" in preview.changes[0].detail
        await apply(cluster, version(2))
        assert rollout(cluster).version == 3
        await cluster.until(lambda: not rollout(cluster).under_way, 30)
        await cluster.until(lambda: cluster.settled("web"), 20)
        history = await cluster.operations.history("web")
        assert [each.service.version for each in history.versions] == [1, 3, 2]
        assert [each.version for each in history.versions[0].service.failed] == [2, 3]

    simulate(story)


@pytest.mark.parametrize("lives", [None, 5.0])
def test_a_rollout_goes_on_where_the_controller_that_began_it_ended(
    lives: float | None,
) -> None:
    """A controller is killed after each commit, and another one comes back."""

    async def story(cluster: Cluster) -> None:
        if lives is not None:
            cluster.broken[2] = lives
        names = list(cluster.seats)
        await apply(cluster, version(2))
        commit, killed = cluster.stored().commit, 0
        began = cluster.clock.monotonic()
        while rollout(cluster).under_way:
            assert cluster.clock.monotonic() - began < 3 * STAGES_SECONDS
            if cluster.stored().commit != commit:
                commit = cluster.stored().commit
                seat = cluster.seats[names[killed % 3]]
                await seat.crash()
                cluster.seats[names[(killed - 1) % 3]].start()
                killed += 1
            await cluster.clock.sleep(0.02)
        state = RolloutState.DONE if lives is None else RolloutState.FAILED
        assert rollout(cluster).state is state
        assert killed >= 3
        await cluster.until(lambda: cluster.settled("web"), 60)

    simulate(story)


def test_a_node_that_dies_in_the_middle_gets_its_replica_in_the_version_of_its_stage() -> None:
    async def story(cluster: Cluster) -> None:
        await apply(cluster, version(2))
        await cluster.until(lambda: rollout(cluster).state is RolloutState.BAKING, 10)
        victim = cluster.stored().allocations["web.lon.1-1"].node
        cluster.agents[victim].dead = True
        await cluster.until(lambda: "web.lon.1-2" in cluster.stored().allocations, 15)
        assert cluster.stored().allocations["web.lon.1-2"].version == 1
        await cluster.until(lambda: not rollout(cluster).under_way, 2 * STAGES_SECONDS)
        assert rollout(cluster).state is RolloutState.DONE
        await cluster.until(lambda: cluster.settled("web"), 20)
        assert set(versions(cluster).values()) == {2}

    simulate(story)


def test_applying_what_ran_before_takes_a_rollout_back() -> None:
    async def story(cluster: Cluster) -> None:
        await apply(cluster, version(2))
        await cluster.until(lambda: versions(cluster)["ams.1"] == 2, 10)
        await apply(cluster, OLD)
        assert rollout(cluster).state is RolloutState.ABORTED
        await cluster.until(lambda: cluster.settled("web"), 20)
        assert cluster.stored().services["web"].version == 1

    simulate(story)


def test_the_next_version_begins_anew_and_goes_back_to_the_last_good_one() -> None:
    async def story(cluster: Cluster) -> None:
        await apply(cluster, version(2, bake_ms=3000))
        await cluster.until(lambda: rollout(cluster).stage == 1, 20)
        cluster.broken[3] = 0.0
        await apply(cluster, version(3))
        assert (rollout(cluster).stage, rollout(cluster).from_version) == (0, 1)
        await cluster.until(lambda: not rollout(cluster).under_way, 30)
        await cluster.until(lambda: cluster.settled("web"), 30)
        assert cluster.stored().services["web"].version == 1

    simulate(story)


def test_without_a_bake_all_is_done_at_once_one_replica_after_the_other() -> None:
    async def story(cluster: Cluster) -> None:
        guard = asyncio.create_task(serving_six(cluster))
        await apply(cluster, version(2, bake_ms=0))
        await cluster.until(lambda: not rollout(cluster).under_way, 25)
        await cluster.until(lambda: cluster.settled("web"), 5)
        assert not guard.done()
        guard.cancel()

    simulate(story)


async def wish(cluster: Cluster, verb: RolloutVerb, seat: int = 0) -> None:
    operations = list(cluster.seats.values())[seat].operations
    assert operations
    change = RolloutChange(verb=verb, service="web", by="ada", why="look")
    await operations.change_rollout(change, Asked(origin="192.0.2.1"))


def test_what_an_operator_does_to_a_rollout_holds_for_every_controller() -> None:
    async def story(cluster: Cluster) -> None:
        await apply(cluster, version(2))
        await cluster.until(lambda: versions(cluster)["ams.1"] == 2, 10)
        await wish(cluster, RolloutVerb.PAUSE, 1)
        await cluster.clock.sleep(60)
        assert list(versions(cluster).values()).count(2) == 1
        await wish(cluster, RolloutVerb.ABORT, 2)
        for seat in cluster.seats.values():
            await seat.crash()
            seat.start()
        await cluster.until(lambda: cluster.settled("web"), 60)
        await cluster.clock.sleep(60)
        assert rollout(cluster).state is RolloutState.ABORTED
        assert rollout(cluster).cause == "an operator aborted it; look"
        assert set(versions(cluster).values()) == {1}
        with pytest.raises(ConflictError):
            await wish(cluster, RolloutVerb.RESUME)
        page = await cluster.operations.audit(0, 100)
        said = [(each.what, each.by, each.why, each.origin) for each in page.records[-2:]]
        assert said == [
            ("rollout pause", "ada", "look", "192.0.2.1"),
            ("rollout abort", "ada", "look", "192.0.2.1"),
        ]

    simulate(story)


def test_undoing_goes_back_also_when_a_rollout_is_done() -> None:
    async def story(cluster: Cluster) -> None:
        await apply(cluster, version(2, bake_ms=0))
        await cluster.until(lambda: not rollout(cluster).under_way, 25)
        await wish(cluster, RolloutVerb.UNDO)
        service = cluster.stored().services["web"]
        assert (service.version, service.spec.run) == (3, OLD.run)
        assert (rollout(cluster).by, rollout(cluster).from_version) == ("ada", 2)
        await wish(cluster, RolloutVerb.UNDO)
        assert rollout(cluster).state is RolloutState.ABORTED
        assert cluster.stored().services["web"].version == 2

    simulate(story)


def test_undoing_goes_back_behind_a_restart_of_the_same() -> None:
    async def story(cluster: Cluster) -> None:
        await apply(cluster, version(2, bake_ms=0))
        await cluster.until(lambda: not rollout(cluster).under_way, 25)
        await wish(cluster, RolloutVerb.RESTART)
        await cluster.until(lambda: not rollout(cluster).under_way, 25)
        assert cluster.stored().services["web"].version == 3
        await wish(cluster, RolloutVerb.UNDO)
        service = cluster.stored().services["web"]
        assert (service.version, service.spec.run) == (4, OLD.run)

    simulate(story)


def test_undoing_takes_back_no_number_of_replicas_and_brings_back_nothing_aborted() -> None:
    async def story(cluster: Cluster) -> None:
        await apply(cluster, version(2, bake_ms=0))
        await cluster.until(lambda: not rollout(cluster).under_way, 25)
        three = replace(version(2, bake_ms=0), per_datacenter=3)
        await apply(cluster, three)
        await apply(cluster, replace(version(3), per_datacenter=3))
        await wish(cluster, RolloutVerb.ABORT)
        assert cluster.stored().services["web"].version == 2
        await wish(cluster, RolloutVerb.UNDO)
        service = cluster.stored().services["web"]
        assert service.version == 4
        assert service.spec == replace(three, run=OLD.run)

    simulate(story)


def test_nothing_is_undone_where_nothing_is_kept() -> None:
    async def story(cluster: Cluster) -> None:
        with pytest.raises(ConflictError, match="no earlier version"):
            await wish(cluster, RolloutVerb.UNDO)

    simulate(story)


def seen_by(cluster: Cluster, verb: RolloutVerb) -> RolloutChange:
    """Return the wish of somebody who looks now, and says it later."""
    where = where_of(cluster.stored().services["web"])
    return RolloutChange(verb=verb, service="web", by="ada", why="look", seen=where)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (RolloutVerb.PROMOTE, RolloutVerb.PROMOTE),
        (RolloutVerb.PAUSE, RolloutVerb.PROMOTE),
        (RolloutVerb.ABORT, RolloutVerb.UNDO),
        (RolloutVerb.PROMOTE, RolloutVerb.UNDO),
        (RolloutVerb.PAUSE, RolloutVerb.RESUME),
    ],
)
def test_of_two_operators_who_saw_the_same_only_one_is_obeyed(
    one: RolloutVerb, other: RolloutVerb
) -> None:
    """At once, at two controllers."""

    async def story(cluster: Cluster) -> None:
        await apply(cluster, version(2))
        await cluster.until(lambda: versions(cluster)["ams.1"] == 2, 10)
        wishes = [seen_by(cluster, one), seen_by(cluster, other)]
        seats = list(cluster.seats.values())
        answers = await asyncio.gather(
            *(
                seat.operations.change_rollout(wish, Asked(origin="192.0.2.1"))
                for seat, wish in zip(seats, wishes, strict=False)
                if seat.operations
            ),
            return_exceptions=True,
        )
        refused = [each for each in answers if isinstance(each, ConflictError)]
        assert len(refused) == 1, answers
        page = await cluster.operations.audit(0, 100)
        assert [each.what for each in page.records].count(f"rollout {one}") <= 1
        assert rollout(cluster).stage <= 1

    simulate(story)


def test_two_who_undo_the_same_version_at_once_undo_it_once() -> None:
    async def story(cluster: Cluster) -> None:
        await apply(cluster, version(2, bake_ms=0))
        await cluster.until(lambda: not rollout(cluster).under_way, 25)
        wish = seen_by(cluster, RolloutVerb.UNDO)
        answers = await asyncio.gather(
            *(
                seat.operations.change_rollout(wish)
                for seat in cluster.seats.values()
                if seat.operations
            ),
            return_exceptions=True,
        )
        assert sum(isinstance(each, ConflictError) for each in answers) == 2, answers
        service = cluster.stored().services["web"]
        assert (service.version, service.spec.run, bool(service.rolling)) == (3, OLD.run, True)

    simulate(story)


def test_undoing_loses_nothing_that_is_applied_at_the_same_time() -> None:
    """It was read before, and must not be written back."""

    async def story(cluster: Cluster) -> None:
        await apply(cluster, version(2, bake_ms=0))
        await cluster.until(lambda: not rollout(cluster).under_way, 25)
        operations = cluster.operations
        read = operations.versions.read

        async def slow(service: Service) -> ServiceHistory:
            found = await read(service)
            if cluster.stored().services["web"].spec.per_datacenter == OLD.per_datacenter:
                await apply(cluster, replace(version(2, bake_ms=0), per_datacenter=3))
            return found

        operations.versions.read = slow  # type: ignore[method-assign]
        await operations.change_rollout(RolloutChange(verb=RolloutVerb.UNDO, service="web"))
        service = cluster.stored().services["web"]
        assert (service.spec.per_datacenter, service.spec.run) == (3, OLD.run)

    simulate(story)


def test_what_was_read_too_early_is_not_kept_over_what_is_newer() -> None:
    async def story(cluster: Cluster) -> None:
        old = await cluster.operations.controller.view.linearized()
        three = replace(OLD, per_datacenter=3)
        await apply(cluster, three)
        await apply(cluster, replace(version(2), per_datacenter=3))
        late = replace(old.services["web"], version=2)
        history = History(cluster.operations.controller.store)
        await history.keep(old.services, (late,), (unchanged_since(old.revision),))
        kept = (await cluster.operations.history("web")).versions
        assert [each.service.spec.per_datacenter for each in kept] == [3, 3]

    simulate(story)


def test_steps_of_rollouts_are_counted_when_they_are_taken() -> None:
    """After a freeze, more of them are due at once than one transaction takes."""

    async def story(cluster: Cluster) -> None:
        names = [f"s{number:02}" for number in range(STEPS_MAX + 5)]
        specs = [replace(make_spec(name, 1, cpu=0.01), datacenters=("ams",)) for name in names]
        for half in (specs[:20], specs[20:]):
            await cluster.operations.apply(Change(services=tuple(half)))
        await cluster.until(lambda: all(map(cluster.settled, names)), 60)
        run = replace(specs[0].run, process=("serve", "2"))
        for half in (specs[:20], specs[20:]):
            new = tuple(replace(each, run=run) for each in half)
            await cluster.operations.apply(Change(services=new))

        def states() -> set[RolloutState | None]:
            services = cluster.stored().services
            rollouts = (services[name].rollout for name in names)
            return {each.state if each else None for each in rollouts}

        await cluster.until(lambda: states() == {RolloutState.BAKING}, 30)
        await cluster.operations.intervene(InterventionChange(verb=Verb.FREEZE))
        await cluster.clock.sleep(15)
        await cluster.operations.intervene(InterventionChange(verb=Verb.UNFREEZE))
        await cluster.until(lambda: states() == {RolloutState.DONE}, 30)
        events = await cluster.operations.events(0, 0, 5000)
        told = Counter(each.reason for each in events if each.what.startswith("rollout "))
        counted: Counter[Reason] = Counter()
        for seat in cluster.seats.values():
            counted += seat.controller.counters.rollouts
        assert counted == told

    simulate(story)


@pytest.mark.parametrize(("first_ms", "others_ms"), [(0, 9000), (40_000, 0)])
def test_a_bake_is_as_long_as_wanted_whatever_the_clocks_of_controllers_say(
    first_ms: int, others_ms: int
) -> None:
    """Who began it ends; the clocks of those who go on are ahead, or behind."""

    async def story(cluster: Cluster) -> None:
        first, *others = cluster.seats.values()
        await first.crash()
        for seat in others:
            await seat.crash()
            seat.clock = VirtualClock(others_ms)
            seat.start()
        first.clock = VirtualClock(first_ms)
        first.start()
        await cluster.clock.sleep(3)
        await apply(cluster, version(2))
        await cluster.until(lambda: rollout(cluster).state is RolloutState.BAKING, 10)
        assert abs(rollout(cluster).since_ms - first.clock.unix_ms()) < 1000  # it was the first
        await first.crash()
        baked = await cluster.until(lambda: rollout(cluster).stage == 1, 20)
        assert 9.9 <= baked < 13

    simulate(story)


def test_a_bake_ends_although_every_controller_restarts_sooner_than_it_takes() -> None:
    """Nobody has seen all of it; wall clocks are believed a minute later."""

    async def story(cluster: Cluster) -> None:
        await apply(cluster, version(2))
        await cluster.until(lambda: rollout(cluster).state is RolloutState.BAKING, 10)
        began = cluster.clock.monotonic()
        while rollout(cluster).stage == 0:
            for seat in cluster.seats.values():
                await seat.crash()
                seat.start()
            await cluster.clock.sleep(6)
            assert cluster.clock.monotonic() - began < 100, cluster.describe()
        assert cluster.clock.monotonic() - began >= 70
        assert len(await told(cluster, "rollout waits")) == 0

    simulate(story)
