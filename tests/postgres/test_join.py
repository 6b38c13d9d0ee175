"""What a replica that has joined changes: nothing, where all is as the file says."""

import json
from pathlib import Path

import pytest

from pltfrms_postgres.join import made_by, patch_of
from pltfrms_postgres.passwords import is_kept, verifier_of
from pltfrms_postgres.replica import RefusedError

COMMON = json.loads((Path(__file__).parent / "golden" / "patroni-fra.json").read_text())
WANTED = COMMON["bootstrap"]["dcs"]


def test_settings_that_are_agreed_on_are_not_sent_again() -> None:
    assert patch_of(WANTED, WANTED) == {}
    assert patch_of({**WANTED, "pause": True}, WANTED) == {}


def test_only_what_differs_is_sent_and_what_is_not_wanted_goes() -> None:
    inner = WANTED["postgresql"]
    parameters = {**inner["parameters"], "work_mem": "1GB", "max_connections": 10}
    now = {**WANTED, "ttl": 30, "postgresql": {**inner, "parameters": parameters}}
    assert patch_of(now, WANTED) == {
        "ttl": 20,
        "postgresql": {"parameters": {"max_connections": 200, "work_mem": None}},
    }


def test_a_part_of_the_store_that_lost_its_settings_gets_all() -> None:
    assert patch_of({}, WANTED) == WANTED


def test_a_password_is_kept_as_postgresql_keeps_it() -> None:
    """The example of RFC 7677: user, pencil, and what its server answers with."""
    import base64  # noqa: PLC0415 - here alone

    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    kept = verifier_of("pencil", salt)
    assert kept == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert is_kept("pencil", kept)
    assert not is_kept("pencils", kept)
    assert not is_kept("pencil", "md5abc")
    assert not is_kept("pencil", "")


@pytest.mark.parametrize("password", ["", "p\u00e4ss", "a\nb", "a\0b"])
def test_a_password_that_clients_may_write_otherwise_is_refused(password: str) -> None:
    with pytest.raises(RefusedError, match="the password of app is empty, or has other"):
        made_by({"app": password}, {}, {})


def test_what_is_there_is_left_alone() -> None:
    kept = {"app": verifier_of("pencil", b"salt")}
    script = made_by({"app": "pencil"}, kept, {"shop": "app"})
    assert "PASSWORD" not in script
    assert "pencil" not in script
    assert script.count("WHERE NOT EXISTS") == 2
    other = made_by({"app": "crayon"}, kept, {})
    assert 'ALTER ROLE "app" LOGIN PASSWORD \'SCRAM-SHA-256$' in other
    assert "crayon" not in other
