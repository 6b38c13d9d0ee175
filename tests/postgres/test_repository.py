"""What pgBackRest is told, whom a job asks, and what it makes of the answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from pltfrms_postgres.backup import END, KINDS, judged, script_of
from pltfrms_postgres.replica import RefusedError
from pltfrms_postgres.repository import members_in, repository_configuration
from tests.specfile.test_postgres import BACKUP, loaded

HOSTS = """\
127.0.0.1 localhost
fd00::1 fra-1.shop-db.acme.internal fra-1.shop-db # and more
10.1.0.3 fra-1.shop-db.acme.internal fra-1.shop-db
fd00::2 ams-1.shop-db.acme.internal ams-1.shop-db
fd00::3 ams-1.shop-db2.acme.internal ams-1.shop-db2
2001:db8::1 writer.shop-db.acme.internal writer.shop-db
2001:db8::2 shop-db.acme.internal shop-db
"""


def configuration(directory: Path, key: str = "ID:a:b/c+d", cipher: str = "opens=it#") -> str:
    files = dict(loaded(directory, "users: [report]", BACKUP).run.files)
    told: dict[str, Any] = json.loads(files["patroni.json"])
    place = json.loads(files["postgres.json"])["backup"]
    return repository_configuration(told, place, "shop-db", key, cipher)


def test_the_place_is_what_the_file_says_and_nothing_is_plain_there(tmp_path: Path) -> None:
    lines = configuration(tmp_path).splitlines()
    assert lines.count("[shop-db]") == 1
    for line in (
        "repo1-s3-endpoint=s3.example.net",
        "repo1-storage-port=443",
        "repo1-path=/postgres",
        "repo1-s3-key=ID",
        "repo1-s3-key-secret=a:b/c+d",
        "repo1-cipher-type=aes-256-cbc",
        "repo1-cipher-pass=opens=it#",
        "repo1-retention-full=2",
        "pg1-path=/var/lib/postgresql/member/15",
    ):
        assert line in lines
    assert not any(line.startswith("repo1-storage-ca-file") for line in lines)


@pytest.mark.parametrize(
    "key", ["", "mine", "mine:", ":his", "mine:a\nrepo1-path=/", "mine:a b"]
)
def test_a_key_that_is_none_is_refused_without_being_shown(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="the key of the bucket") as caught:
        configuration(tmp_path, key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("cipher", ["", "a b", "a\nb", "\xe4"])
def test_a_cipher_that_is_none_is_refused(tmp_path: Path, cipher: str) -> None:
    with pytest.raises(ValueError, match="the cipher"):
        configuration(tmp_path, cipher=cipher)


def test_members_are_found_by_their_names() -> None:
    found = ("ams-1.shop-db.acme.internal", "fra-1.shop-db.acme.internal")
    assert members_in(HOSTS, "shop-db") == found
    assert members_in(HOSTS, "shop") == ()


def test_what_went_wrong_there_goes_wrong_here() -> None:
    assert judged("full", f"done\n{END}0\n") == "done"
    for kind, said in (
        ("full", f"no\n{END}56\n"),
        ("full", "done\n"),
        ("full", ""),
        ("verify", f"status: error\n{END}0\n"),
        ("verify", f"nothing\n{END}0\n"),
    ):
        with pytest.raises(RefusedError):
            judged(kind, said)
    assert judged("verify", f"status: ok\n{END}0\n") == "status: ok"


def test_a_first_backup_makes_what_backups_need() -> None:
    assert "stanza-create && tell --type=diff backup;" in script_of("db", "diff")
    assert "stanza-create" not in script_of("db", "verify")


def test_what_clients_have_to_hurry_for_ends_no_backup() -> None:
    for kind in KINDS:
        assert script_of("db", kind).startswith("SET statement_timeout = 0;\n")
