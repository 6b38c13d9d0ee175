"""What a secret makes of the services that use it."""

from dataclasses import replace

import pytest

from pltfrms.errors import ConflictError, NotFoundError, UsageError
from pltfrms.model.messages.api import Change
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.jobs import JobRun, JobSpec, RunState
from pltfrms.model.services.secrets import OnChange, SecretNote, SecretUse
from pltfrms.model.services.service import ServiceSpec
from pltfrms.planner.changes.change import apply_change
from pltfrms.planner.changes.secrets import (
    changed_secret,
    deleted_secret,
    jobs_with,
    newly_used,
    users_of,
    versions_kept,
)
from pltfrms.planner.placement.target import Makings
from tests.strategies import make_allocation, make_platform, make_spec

PLATFORM = make_platform({"fra": 2, "ams": 2})


def note(name: str = "db", version: int = 1) -> SecretNote:
    return SecretNote(name=name, version=version)


def using(*uses: SecretUse, name: str = "web") -> ServiceSpec:
    spec = make_spec(name)
    return replace(spec, run=replace(spec.run, secrets=uses))


RESTARTS = SecretUse(name="db", file="db")
STAYS = SecretUse(name="db", variable="DB", on_change=OnChange.NOTHING)
SIGNALLED = SecretUse(name="db", file="db", on_change=OnChange.SIGNAL_HUP)


def accepted(*specs: ServiceSpec) -> Snapshot:
    known = Snapshot(revision=1, platform=PLATFORM, secrets={"db": note(), "tls": note("tls")})
    after = apply_change(known, Change(services=specs)).snapshot
    name = f"{specs[0].name}.fra.1-1" if specs else "x.fra.1-1"
    return replace(after, allocations={name: make_allocation(name, "fra-n1")})


def test_a_service_is_pinned_to_the_value_that_it_follows() -> None:
    after = accepted(using(RESTARTS, replace(RESTARTS, name="tls", on_change=OnChange.NOTHING)))
    assert [use.version for use in after.services["web"].spec.run.secrets] == [1, 0]
    again = apply_change(
        after, Change(services=(using(*after.services["web"].spec.run.secrets),))
    )
    assert again.lines == ()


def test_an_unknown_secret_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(UsageError, match="there is no secret 'bd'; there are: db, tls"):
        accepted(using(replace(RESTARTS, name="bd")))


def test_another_value_is_a_version_that_is_rolled_out_and_can_go_back() -> None:
    before = accepted(using(RESTARTS), using(STAYS, name="calm"), using(SIGNALLED, name="told"))
    outcome = changed_secret(before, note(version=2))
    assert [line.about for line in outcome.lines] == ["secret/db", "service/web"]
    web = outcome.snapshot.services["web"]
    assert web.version == 2
    assert web.rolling
    assert web.before
    assert web.before.spec.run.secrets[0].version == 1
    for name in ("calm", "told"):
        assert outcome.snapshot.services[name] == before.services[name]
    assert versions_kept(outcome.snapshot, "db") == {1, 2}


def test_a_machine_hears_of_what_runs_on_it_and_of_nothing_else() -> None:
    before = accepted(using(RESTARTS))
    after = changed_secret(before, note(version=2)).snapshot

    def told(snapshot: Snapshot, machine: str) -> list[tuple[str, int]]:
        target = Makings(snapshot, 1).target(machine, 0)
        return [(each.name, each.version) for each in target.secrets]

    assert told(before, "fra-n1") == [("db", 1)]
    assert told(after, "fra-n1") == [("db", 1), ("db", 2)]
    others = {machine.name for machine in PLATFORM.machines} - {"fra-n1"}
    assert [told(after, name) for name in sorted(others)] == [[]] * len(others)


def test_a_value_that_nobody_restarts_for_is_news_to_the_machine() -> None:
    before = accepted(using(STAYS))
    after = changed_secret(before, note(version=2)).snapshot
    one, two = (Makings(each, 1).made_of("fra-n1", 0) for each in (before, after))
    assert one != two
    assert Makings(before, 1).made_of("ams-n1", 0) == Makings(after, 1).made_of("ams-n1", 0)


def test_a_secret_that_is_used_is_not_deleted() -> None:
    before = accepted(using(RESTARTS), using(STAYS, name="calm"))
    with pytest.raises(ConflictError, match="secret db is used by calm, web"):
        deleted_secret(before, "db")
    assert deleted_secret(before, "tls").snapshot.secrets.keys() == {"db"}
    with pytest.raises(NotFoundError, match="there is no secret 'x'; there are: db, tls"):
        deleted_secret(before, "x")


def test_a_version_that_may_come_back_keeps_its_secret() -> None:
    before = accepted(using(RESTARTS))
    after = apply_change(before, Change(services=(make_spec(),))).snapshot
    assert after.services["web"].spec.run.secrets == ()
    assert [each.name for each in users_of(after, "db")] == ["web"]


def test_to_give_a_service_another_secret_is_a_right_of_its_own() -> None:
    before = accepted(using(RESTARTS))
    change = Change(services=(using(RESTARTS, replace(RESTARTS, name="tls", file="tls")),))
    assert newly_used(before, apply_change(before, change).snapshot) == ("secret/tls",)
    assert newly_used(before, before) == ()


def test_a_job_has_what_it_was_given_by_who_has_the_right_and_keeps_it() -> None:
    backup = JobSpec(name="backup", run=replace(make_spec().run, secrets=(RESTARTS,)))
    before = accepted()
    after = apply_change(before, Change(jobs=(backup,))).snapshot
    assert newly_used(before, after) == ("secret/db",)
    again = Change(jobs=(replace(backup, retries=3),))
    assert newly_used(after, apply_change(after, again).snapshot) == ()
    assert jobs_with(after, "db") == ("backup",)
    with pytest.raises(ConflictError, match="secret db is used by job backup: take it out"):
        deleted_secret(after, "db")
    bare = Change(jobs=(replace(backup, run=make_spec().run),))
    without = apply_change(after, bare).snapshot
    assert "db" not in deleted_secret(without, "db").snapshot.secrets
    run = JobRun(job="backup", number=1, spec=backup)
    with pytest.raises(ConflictError, match="used by job backup"):
        deleted_secret(replace(without, runs={run.id: run}), "db")
    ended = replace(run, state=RunState.FAILED)
    assert jobs_with(replace(without, runs={run.id: ended}), "db") == ()
