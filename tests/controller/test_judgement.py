"""Versions that answer worse, and probes that nobody passes, with three controllers."""

import asyncio
from dataclasses import replace

import pytest

from pltfrms.api.metrics import Metrics
from pltfrms.model.messages.api import Change, RolloutVerb
from pltfrms.model.services.service import (
    Compare,
    Probe,
    RolloutSpec,
    RolloutState,
    ServiceSpec,
)
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import simulate
from tests.controller.test_rollouts import (
    OLD,
    STAGES_SECONDS,
    apply,
    rollout,
    serving_six,
    told,
    versions,
    wish,
)

COMPARED = replace(
    OLD,
    run=replace(OLD.run, process=("serve", "2")),
    rollout=RolloutSpec(compare=Compare(path="/")),
)
OTHER_PROBE = replace(OLD, probe=replace(OLD.probe, path="/healthz"))


def slow(version: int, _probe: Probe, _age: float) -> float | None:
    return 312.0 if version == 2 else 8.0


def ill_later(version: int, _probe: Probe, age: float) -> float | None:
    return None if version == 2 and age > 5 else 8.0


@pytest.mark.parametrize(
    ("answer", "says"),
    [(slow, "p95 362 ms against 8 ms of version 1"), (ill_later, "answers 500")],
)
def test_a_version_that_answers_worse_goes_back_although_it_is_ready(
    answer: object, says: str
) -> None:
    async def story(cluster: Cluster) -> None:
        cluster.answer = answer  # type: ignore[assignment]
        guard = asyncio.create_task(serving_six(cluster))
        await apply(cluster, COMPARED)
        await cluster.until(lambda: not rollout(cluster).under_way, 30)
        assert rollout(cluster).state is RolloutState.FAILED
        assert says in rollout(cluster).cause
        await cluster.until(lambda: cluster.settled("web"), 20)
        assert set(versions(cluster).values()) == {1}
        assert "web.ams.2-1" in cluster.stored().allocations  # the canary alone was touched
        (event,) = await told(cluster, "rollout failed, and goes back")
        assert says in event
        preview = await cluster.operations.plan(Change(services=(COMPARED,)))
        assert "was version 2, which failed" in preview.changes[0].detail
        assert not guard.done()
        guard.cancel()

    simulate(story)


def test_a_version_that_answers_as_well_comes_everywhere_and_the_numbers_are_told() -> None:
    async def story(cluster: Cluster) -> None:
        await apply(cluster, COMPARED)
        await cluster.until(lambda: not rollout(cluster).under_way, 2 * STAGES_SECONDS)
        assert rollout(cluster).state is RolloutState.DONE
        events = await told(cluster, "rollout goes on")
        assert all("no worse than version 1: p95 6 ms against 6 ms" in each for each in events)
        (done,) = await told(cluster, "rollout done")
        assert "no instance of version 1 serves any more, so nothing is compared" in done
        await cluster.clock.sleep(5)
        assert not any(agent.inquiries for agent in cluster.agents.values())

    simulate(story)


def test_how_both_versions_answer_is_measured_while_it_is_asked_and_else_not() -> None:
    async def story(cluster: Cluster) -> None:
        metrics = Metrics(cluster.operations.controller)
        assert b"compared" not in metrics.text()
        await apply(cluster, COMPARED)
        await cluster.until(lambda: rollout(cluster).state is RolloutState.BAKING, 10)
        await cluster.clock.sleep(8)
        text = metrics.text().decode()
        said = 'pltfrms_rollout_compared_p95_seconds{service="web",version="2"} 0.0056'
        assert said in text
        assert 'compared_failed_ratio{service="web",version="1"} 0.0' in text

    simulate(story)


@pytest.mark.parametrize("silent", [1, 2])
def test_a_comparison_of_which_nothing_is_heard_ends_only_by_an_operator(silent: int) -> None:
    async def story(cluster: Cluster) -> None:
        cluster.mute.add(silent)
        await apply(cluster, COMPARED)
        await cluster.until(lambda: rollout(cluster).state is RolloutState.BAKING, 10)
        await cluster.clock.sleep(60)
        assert (rollout(cluster).state, rollout(cluster).stage) == (RolloutState.BAKING, 0)
        await wish(cluster, RolloutVerb.PROMOTE)
        assert rollout(cluster).stage == 1

    simulate(story)


def test_a_version_that_mends_one_that_is_down_is_not_held_up_by_a_comparison() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.broken[1] = 0.0
        await cluster.clock.sleep(5)
        await apply(cluster, COMPARED)
        await cluster.until(lambda: not rollout(cluster).under_way, 2 * STAGES_SECONDS)
        assert rollout(cluster).state is RolloutState.DONE

    simulate(story)


# ---- trial ---------------------------------------------------------------------------------


def nowhere(_version: int, probe: Probe, _age: float) -> float | None:
    return None if probe.path == "/healthz" else 5.0


def test_a_probe_that_fails_on_all_that_runs_is_refused_before_anything_is_started() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.answer = nowhere
        before = set(cluster.stored().allocations)
        await apply(cluster, OTHER_PROBE)
        assert rollout(cluster).state is RolloutState.TRIAL
        while rollout(cluster).under_way:
            assert set(cluster.stored().allocations) == before
            await cluster.clock.sleep(0.05)
        assert rollout(cluster).state is RolloutState.FAILED
        assert "fails on all 6 running instances of version 1" in rollout(cluster).cause
        assert "/healthz answers 500" in rollout(cluster).cause
        assert set(cluster.stored().allocations) == before
        preview = await cluster.operations.plan(Change(services=(OTHER_PROBE,)))
        assert "was version 2, which failed: its probe fails" in preview.changes[0].detail
        assert "trial of its probe, then 1 of ams" in preview.changes[0].detail
        await apply(cluster, OTHER_PROBE)
        await cluster.until(lambda: not rollout(cluster).under_way, 20)
        assert (rollout(cluster).version, rollout(cluster).state) == (3, RolloutState.FAILED)

    simulate(story)


def test_a_probe_that_running_instances_pass_comes_everywhere() -> None:
    async def story(cluster: Cluster) -> None:
        await apply(cluster, OTHER_PROBE)
        assert rollout(cluster).state is RolloutState.TRIAL
        await cluster.until(lambda: not rollout(cluster).under_way, STAGES_SECONDS + 10)
        assert rollout(cluster).state is RolloutState.DONE
        (event,) = await told(cluster, "rollout begins")
        assert "instances of version 1 pass it so far" in event

    simulate(story)


UNTRIED = replace(OTHER_PROBE, rollout=RolloutSpec(untried=True))


@pytest.mark.parametrize("spec", [UNTRIED, OTHER_PROBE])
def test_a_probe_that_only_the_new_version_passes_takes_the_word_of_an_operator(
    spec: ServiceSpec,
) -> None:
    """In the spec, or while it is not decided."""

    async def story(cluster: Cluster) -> None:
        cluster.answer = nowhere
        cluster.mute.add(1)
        await apply(cluster, spec)
        if spec is OTHER_PROBE:
            await cluster.clock.sleep(30)
            assert rollout(cluster).state is RolloutState.TRIAL
            await wish(cluster, RolloutVerb.PROMOTE)
        await cluster.until(lambda: not rollout(cluster).under_way, STAGES_SECONDS + 10)
        assert rollout(cluster).state is RolloutState.DONE

    simulate(story)


def test_a_trial_goes_on_where_the_controller_that_began_it_ended() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.answer = nowhere
        await apply(cluster, OTHER_PROBE)
        first, *others = cluster.seats.values()
        await first.crash()
        await cluster.until(lambda: not rollout(cluster).under_way, 30)
        assert rollout(cluster).state is RolloutState.FAILED
        assert len(await told(cluster, "rollout failed, and goes back")) == 1
        assert others

    simulate(story)


def test_a_trial_that_is_paused_goes_on_as_a_trial() -> None:
    async def story(cluster: Cluster) -> None:
        cluster.answer = nowhere
        cluster.mute.add(1)
        await apply(cluster, OTHER_PROBE)
        await wish(cluster, RolloutVerb.PAUSE)
        cluster.mute.clear()
        await cluster.clock.sleep(10)
        assert (rollout(cluster).state, rollout(cluster).paused) == (RolloutState.TRIAL, True)
        await wish(cluster, RolloutVerb.RESUME)
        await cluster.until(lambda: not rollout(cluster).under_way, 20)
        assert rollout(cluster).state is RolloutState.FAILED

    simulate(story)
