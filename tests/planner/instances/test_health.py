"""Cases to check by eye, then rules that hold for every course of probes."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.running.state import Phase
from pltfrms.model.services.service import Probe, ProbeKind
from pltfrms.planner.instances.health import (
    LOOK_SECONDS,
    MAX_BACKOFF_SECONDS,
    Health,
    adopted,
    backoff_seconds,
    draining,
    ended,
    first_start,
    held,
    probe_delay_seconds,
    probed,
    restart_due,
    restarted,
    stands_by,
    stopping,
    wanted_again,
    withdrawn,
)

PROBE = Probe(kind=ProbeKind.HTTP, port=80)


def _ready(now: float = 0.0) -> Health:
    return probed(first_start(now), PROBE, now, "")


def test_a_starting_instance_is_asked_often_and_needs_one_success() -> None:
    starting = first_start(10.0)
    assert probe_delay_seconds(starting, PROBE, 10.0) == 0.05
    waiting = probed(starting, PROBE, 10.1, "connection refused")
    assert waiting.phase is Phase.STARTING
    ready = probed(waiting, PROBE, 10.2, "")
    assert (ready.phase, ready.since) == (Phase.READY, 10.2)
    assert probe_delay_seconds(ready, PROBE, 10.5) == pytest.approx(0.5)
    assert probe_delay_seconds(ready, PROBE, 10.7) == pytest.approx(0.3)
    assert probe_delay_seconds(ready, PROBE, 10.9) == pytest.approx(0.35)


@given(
    now=st.floats(0, 1e7),
    interval_ms=st.integers(100, 60_000),
    answer_share=st.floats(0, 0.59),
)
def test_instances_are_asked_together_and_never_later_than_their_interval(
    now: float, interval_ms: int, answer_share: float
) -> None:
    ready, interval = _ready(), interval_ms / 1000
    probe = replace(PROBE, interval_ms=interval_ms)
    delay = probe_delay_seconds(ready, probe, now)
    assert 0.39 * interval <= delay <= interval + 2e-4
    together = math.ceil(now / interval + 0.5) * interval
    answered = together + answer_share * interval
    again = answered + probe_delay_seconds(ready, probe, answered)
    assert again == pytest.approx(together + interval, abs=1e-5)


def test_a_start_that_takes_longer_than_its_grace_is_restarted() -> None:
    late = probed(first_start(0.0), PROBE, 10.0, "connection refused")
    assert late.phase is Phase.UNHEALTHY
    assert restart_due(late, 10.0)
    assert "connection refused" in late.sentence


def test_a_ready_instance_falls_after_two_failures_in_a_row() -> None:
    one = probed(_ready(), PROBE, 1.0, "timeout")
    assert one.phase is Phase.READY
    forgotten = probed(one, PROBE, 1.5, "")
    assert probed(forgotten, PROBE, 2.0, "timeout").phase is Phase.READY
    two = probed(one, PROBE, 1.5, "timeout")
    assert two.phase is Phase.UNHEALTHY
    assert "timeout" in two.sentence


def test_an_unhealthy_instance_that_waits_for_its_restart_can_rise() -> None:
    again = restarted(ended(_ready(), 1.0, "killed"), 1.0)
    sick = _fail(probed(again, PROBE, 1.2, ""), 2.0)
    assert not restart_due(sick, 2.1)
    one = probed(sick, PROBE, 2.1, "")
    assert one.phase is Phase.UNHEALTHY
    assert probed(one, PROBE, 2.3, "").phase is Phase.READY


def test_the_first_restart_is_immediate_and_the_next_ones_wait() -> None:
    health, waits, now = _ready(), [], 0.0
    for _ in range(9):
        health = ended(health, now, "exit code 1")
        waits.append(health.resume_at - now)
        now = health.resume_at
        assert restart_due(health, now)
        health = restarted(health, now)
    assert waits == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert health.restarts == 9


def test_a_minute_of_ready_forgives() -> None:
    health = restarted(ended(_ready(), 1.0, "killed"), 1.0)
    ready = probed(health, PROBE, 2.0, "")
    assert ended(ready, 61.0, "killed").resume_at == 61.5
    assert ended(ready, 62.0, "killed").resume_at == 62.0


def test_the_end_of_an_unhealthy_instance_does_not_prolong_its_wait() -> None:
    again = restarted(ended(_ready(), 1.0, "killed"), 1.0)
    sick = _fail(probed(again, PROBE, 1.2, ""), 2.0)
    assert ended(sick, 2.3, "killed").resume_at == sick.resume_at


def test_unknown_keeps_what_is_announced() -> None:
    assert adopted(5.0, announced=True).phase is Phase.READY
    assert adopted(5.0, announced=False).phase is Phase.STARTING
    ill = adopted(5.0, announced=True, stood_by=True)
    assert stands_by(ill)
    assert ill.streak == 1, "it is not restarted once more because an agent was"
    assert not restart_due(ill, 9.0)
    assert restart_due(ill, 10.0)


def test_a_stopping_instance_is_never_restarted() -> None:
    sick = _fail(_ready(), 2.0)
    assert not restart_due(stopping(sick, 2.0, "no longer wanted"), 99.0)


@given(st.lists(st.booleans()), st.integers(1, 5), st.integers(1, 5))
def test_ready_means_fewer_failures_in_a_row_than_fall(
    course: list[bool], rise: int, fall: int
) -> None:
    probe = replace(PROBE, rise=rise, fall=fall)
    health, failing, succeeding = _ready(), 0, 0
    for number, success in enumerate(course):
        was = health.phase
        health = probed(health, probe, number * 0.5, "" if success else "timeout")
        failing = 0 if success else failing + 1
        succeeding = succeeding + 1 if success else 0
        if was is Phase.READY:
            assert (health.phase is Phase.UNHEALTHY) == (failing >= fall)
        elif health.phase is Phase.READY:
            assert succeeding >= rise


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_the_wait_never_shrinks_and_has_an_end(streak: int, share: float) -> None:
    wait = backoff_seconds(streak, share)
    assert wait <= backoff_seconds(streak + 1, share) <= MAX_BACKOFF_SECONDS
    assert backoff_seconds(streak) / 2 <= wait <= backoff_seconds(streak)


def test_who_answers_that_it_is_ill_stands_by_and_is_restarted_a_little_later() -> None:
    ill = replace(_ready(), share=0.5)
    for _ in range(PROBE.fall):
        ill = probed(ill, PROBE, 2.0, "/ answers 503", unwell=True)
    assert stands_by(ill)
    assert ill.resume_at == 2.0 + LOOK_SECONDS * 1.5
    assert held(ill, PROBE, 9.0).resume_at == 9.0 + LOOK_SECONDS * 1.5
    slow = replace(PROBE, interval_ms=5000)
    assert held(ill, slow, 9.0).resume_at == 9.0 + 7.5, "others are not asked before"
    assert restarted(withdrawn(ill), 3.0).share == 0.5
    assert not stands_by(withdrawn(ill))
    assert restart_due(withdrawn(ill), 3.0)
    silent = probed(ill, PROBE, 2.5, "no answer")
    assert silent.phase is Phase.UNHEALTHY
    assert not stands_by(silent), "it does not answer any more: perhaps it is dead"
    rises = probed(ill, PROBE, 2.5, "")
    assert stands_by(rises), "what is about to be well loses no traffic"
    well = probed(rises, PROBE, 3.0, "")
    assert (well.phase, stands_by(well), well.unwell) == (Phase.READY, False, False)


def test_the_wait_of_one_that_is_ill_follows_the_interval_of_its_probe() -> None:
    slow = replace(PROBE, interval_ms=5000, fall=1)
    assert probed(_ready(), slow, 2.0, "503", unwell=True).resume_at == 7.0


def test_who_does_not_answer_is_restarted_at_once() -> None:
    assert _fail(_ready(), 2.0).resume_at == 2.0
    assert not stands_by(_fail(_ready(), 2.0))


def _fail(health: Health, now: float) -> Health:
    for _ in range(PROBE.fall):
        health = probed(health, PROBE, now, "timeout")
    assert health.phase is Phase.UNHEALTHY
    return health


def test_a_drain_can_be_called_off() -> None:
    going = draining(_ready(), 5.0, "not wanted any more")
    assert (going.phase, going.since) == (Phase.DRAINING, 5.0)
    assert not restart_due(going, 1e9)
    back = wanted_again(going, 6.0)
    assert (back.phase, back.since, back.restarts) == (Phase.READY, 6.0, 0)
