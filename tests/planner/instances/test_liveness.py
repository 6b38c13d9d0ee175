"""Who lives and is not ready, who is ready and does not live, and long starts."""

from dataclasses import replace

from pltfrms.model.running.machine import ProbeAnswer
from pltfrms.model.running.state import Phase
from pltfrms.model.services.service import Probe, ProbeKind
from pltfrms.planner.instances.health import (
    Health,
    adopted,
    ended,
    first_start,
    found_alive,
    lost,
    probed,
    restart_due,
    stands_by,
    wanted_again,
)
from pltfrms.planner.instances.liveness import Liveness, asked_alive, is_lifeless

PROBE = Probe(kind=ProbeKind.HTTP, port=80, only_announces=True)
ALIVE = Probe(kind=ProbeKind.HTTP, port=80, path="/alive")
LATE = 1e9
LOADING = "/ answers 503: loading"


def _ready(now: float = 0.0) -> Health:
    return probed(first_start(now), PROBE, now, "")


def _not_ready(health: Health, now: float, *, unwell: bool = False) -> Health:
    for _ in range(PROBE.fall):
        health = probed(health, PROBE, now, "no answer", unwell=unwell)
    assert health.phase is Phase.UNHEALTHY
    return health


def test_who_is_not_ready_is_withdrawn_and_never_restarted_for_that() -> None:
    silent = _not_ready(_ready(), 2.0)
    assert not stands_by(silent)
    assert not restart_due(silent, LATE)
    busy = _not_ready(_ready(), 2.0, unwell=True)
    assert stands_by(busy)
    assert not restart_due(busy, LATE)
    back = probed(probed(busy, PROBE, 3.0, ""), PROBE, 3.5, "")
    assert back.phase is Phase.READY
    late = probed(first_start(0.0), PROBE, 10.0, "Connection refused")
    assert late.phase is Phase.UNHEALTHY
    assert "10000 ms after its start" in late.failure
    assert not restart_due(late, LATE)


def test_the_end_of_one_that_is_not_ready_is_followed_by_a_restart() -> None:
    gone = ended(_not_ready(_ready(), 2.0), 5.0, "killed")
    assert (gone.phase, gone.resume_at) == (Phase.BACKOFF, 5.0)


def test_who_is_found_standing_by_is_not_restarted_either() -> None:
    found = adopted(5.0, announced=True, stood_by=True)
    asked = probed(found, PROBE, 5.5, "/ answers 503", unwell=True)
    assert stands_by(asked)
    assert not restart_due(asked, LATE)


def test_who_is_lost_is_restarted_though_it_says_that_it_is_ready() -> None:
    dead = lost(_ready(), ALIVE, 2.0, "2 liveness probes failed")
    assert (dead.phase, dead.failure) == (Phase.UNHEALTHY, "2 liveness probes failed")
    assert restart_due(dead, 2.0)
    for _ in range(PROBE.rise):
        dead = probed(dead, PROBE, 2.5, "")
    assert dead.phase is Phase.UNHEALTHY
    assert restart_due(dead, 2.5)
    assert restart_due(lost(_not_ready(_ready(), 1.0), ALIVE, 2.0, "dead"), 2.0)


def test_who_is_lost_and_answers_stands_by_and_may_be_found_alive() -> None:
    ill = lost(_ready(), ALIVE, 2.0, "/alive answers 500", unwell=True)
    assert stands_by(ill)
    assert not restart_due(ill, 2.0)
    assert restart_due(ill, 3.0)
    well = found_alive(ill)
    assert not restart_due(well, LATE)
    for _ in range(PROBE.rise):
        well = probed(well, PROBE, 3.0, "")
    assert well.phase is Phase.READY


def test_who_is_wanted_again_may_be_lost_again() -> None:
    ill = lost(_ready(), ALIVE, 2.0, "/alive answers 500", unwell=True)
    assert not wanted_again(ill, 3.0).lifeless


def _said(*answers: str, unwell: bool = False, every: float = 1.0) -> Liveness:
    life = Liveness(since=0.0)
    for number, failure in enumerate(answers, start=1):
        said = ProbeAnswer(failure=failure, unwell=unwell and bool(failure))
        life = asked_alive(life, ALIVE, number * every, said)
    return life


def test_failures_count_once_it_has_lived_or_its_grace_is_over() -> None:
    assert not is_lifeless(_said(*["no"] * 9), ALIVE), "it may be starting"
    assert is_lifeless(_said(*["no"] * 11), ALIVE)
    assert not is_lifeless(_said("", "no"), ALIVE)
    assert is_lifeless(_said("", "no", "no"), ALIVE)
    assert not is_lifeless(_said("", "no", "", "no"), ALIVE), "in a row"


def test_a_start_lasts_while_it_says_something_new() -> None:
    patient = replace(PROBE, grace_max_ms=60_000)
    health, now = first_start(0.0), 0.0
    for percent in range(12):
        now += 4
        health = probed(health, patient, now, f"{LOADING} {percent} %", unwell=True)
    assert (now, health.phase) == (48.0, Phase.STARTING)
    same = probed(health, patient, 57.0, f"{LOADING} 11 %", unwell=True)
    assert same.phase is Phase.STARTING
    stuck = probed(same, patient, 58.0, f"{LOADING} 11 %", unwell=True)
    assert stuck.phase is Phase.UNHEALTHY
    assert "10000 ms after it last said something new" in stuck.failure


def test_a_start_does_not_last_for_ever() -> None:
    patient = replace(PROBE, grace_max_ms=60_000)
    health, now = first_start(0.0), 0.0
    while health.phase is Phase.STARTING:
        now += 4
        health = probed(health, patient, now, f"{LOADING} {now}", unwell=True)
    assert now == 68.0, "the last new word that counts is at 56 s"


def test_only_answers_are_something_new() -> None:
    patient = replace(PROBE, grace_max_ms=60_000)
    first = probed(first_start(0.0), patient, 9.0, "Connection refused")
    assert probed(first, patient, 10.0, "no answer").phase is Phase.UNHEALTHY
    usual = probed(first_start(0.0), PROBE, 9.0, LOADING, unwell=True)
    assert probed(usual, PROBE, 10.0, "another", unwell=True).phase is Phase.UNHEALTHY


def test_the_grace_of_liveness_lasts_as_well() -> None:
    patient = replace(ALIVE, grace_max_ms=60_000)
    life = Liveness(since=0.0)
    for number in range(1, 13):
        said = ProbeAnswer(failure=f"{LOADING} {number}", unwell=True)
        life = asked_alive(life, patient, number * 4.0, said)
    assert life.failures == 0
