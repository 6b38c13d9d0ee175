"""Secrets that a change has made, since a service uses them and they are not there."""

from dataclasses import replace

import pytest

from pltfrms.errors import ConflictError, UsageError
from pltfrms.model.messages.api import Change
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.jobs import JobSpec
from pltfrms.model.services.secrets import Generate, OnChange, SecretNote, SecretUse
from pltfrms.model.services.service import ServiceSpec
from pltfrms.planner.changes.change import Outcome, apply_change
from tests.strategies import make_platform, make_spec

PASSWORD = SecretUse(name="db", file="db", generate=Generate.PASSWORD)
AUTHORITY = SecretUse(name="pki", file="pki", generate=Generate.AUTHORITY)
CERTIFICATE = SecretUse(name="pki-ca", file="ca")
THERE = Snapshot(
    revision=1,
    platform=make_platform({"fra": 2, "ams": 2}),
    secrets={"old": SecretNote(name="old", version=3)},
)


def using(*uses: SecretUse, name: str = "web") -> ServiceSpec:
    spec = make_spec(name)
    return replace(spec, run=replace(spec.run, secrets=uses))


def changed(*specs: ServiceSpec, known: Snapshot = THERE) -> Outcome:
    return apply_change(known, Change(services=specs), secrets_last=4)


def test_what_is_not_there_is_made_with_a_number_that_none_had() -> None:
    outcome = changed(using(PASSWORD), using(PASSWORD, name="other"))
    [made] = outcome.secrets
    assert (made.note.name, made.note.version, made.kind) == ("db", 5, Generate.PASSWORD)
    assert [line.about for line in outcome.lines if "secret/" in line.about] == ["secret/db"]
    for name in ("web", "other"):
        [use] = outcome.snapshot.services[name].spec.run.secrets
        assert use.version == 5


def test_to_apply_the_same_again_makes_nothing() -> None:
    again = changed(using(PASSWORD), known=changed(using(PASSWORD)).snapshot)
    assert (again.secrets, again.lines) == ((), ())


def test_what_has_a_value_keeps_it() -> None:
    outcome = changed(using(replace(PASSWORD, name="old")))
    assert outcome.secrets == ()
    assert outcome.snapshot.secrets == THERE.secrets


def test_a_job_has_its_secret_made_too() -> None:
    job = JobSpec(name="backup", run=using(PASSWORD).run)
    outcome = apply_change(THERE, Change(jobs=(job,)))
    assert [each.note.name for each in outcome.secrets] == ["db"]


def test_an_authority_has_its_certificate_beside_it() -> None:
    outcome = changed(using(AUTHORITY, CERTIFICATE))
    assert {"pki", "pki-ca"} < outcome.snapshot.secrets.keys()
    about = [line.about for line in outcome.lines]
    assert about[:2] == ["secret/pki", "secret/pki-ca"]


def test_a_certificate_takes_nobodys_name() -> None:
    taken = {**THERE.secrets, "pki-ca": SecretNote(name="pki-ca", version=1)}
    with pytest.raises(ConflictError, match="would be the secret pki-ca"):
        changed(using(AUTHORITY), known=replace(THERE, secrets=taken))
    other = replace(PASSWORD, name="pki-ca", file="other")
    with pytest.raises(ConflictError, match="would be the secret pki-ca"):
        changed(using(AUTHORITY), using(other, name="other"))


def test_two_who_want_different_things_of_one_secret_are_told() -> None:
    other = replace(AUTHORITY, name="db")
    with pytest.raises(UsageError, match="db is to be generated as password and as authority"):
        changed(using(PASSWORD), using(other, name="other"))


def test_who_does_not_ask_for_it_is_given_nothing() -> None:
    plain = replace(PASSWORD, generate=Generate.NOTHING, on_change=OnChange.NOTHING)
    with pytest.raises(UsageError, match="there is no secret 'db'"):
        changed(using(plain))
