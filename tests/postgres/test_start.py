"""What a replica makes for itself before it becomes Patroni."""

import json
import subprocess
from pathlib import Path

import pytest

from pltfrms.drivers.identity.authority import make_store_authority
from pltfrms.model.services.parts import ROOTS_FILE, STORE_FILE
from pltfrms.render.instances.store_part import render_store_part
from pltfrms.specfile import load_platform
from pltfrms_postgres.certificates import certificates_in, make_certificate
from pltfrms_postgres.replica import RefusedError
from pltfrms_postgres.start import check_version, store_of, write

PLATFORM = load_platform(Path("examples/three-datacenters/platform.yaml"))
NAMES = ("DNS:fra-1.db.acme.internal", "IP:fd00::1")


def shown(certificate: Path, *fields: str) -> str:
    command = ["openssl", "x509", "-noout", "-in", str(certificate), *fields]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return str(done.stdout)


def test_a_certificate_is_by_the_authority_and_has_all_names(tmp_path: Path) -> None:
    made = make_store_authority("acme")
    authority, ca = tmp_path / "authority.pem", tmp_path / "ca.pem"
    authority.write_text(f"{made.key.strip()}\n{made.certificate}")
    ca.write_text(made.certificate)
    key, text = make_certificate(authority, "db", NAMES)
    assert key.startswith("-----BEGIN EC PRIVATE KEY-----")
    own = tmp_path / "own.pem"
    own.write_text(text)
    text = shown(own, "-subject", "-startdate", "-enddate", "-ext", "subjectAltName")
    assert "CN = db" in text
    assert "1970" in text
    assert "9999" in text
    assert "DNS:fra-1.db.acme.internal, IP Address:FD00:0:0:0:0:0:0:1" in text
    check = ("openssl", "verify", "-x509_strict", "-CAfile", ca, own)
    assert subprocess.run(check, check=False, capture_output=True).returncode == 0


def test_of_an_authority_members_are_shown_no_key_wherever_it_stands() -> None:
    made = make_store_authority("acme")
    key, certificate = made.key.strip(), made.certificate.strip()
    for text in (f"{key}\n{certificate}\n", f"{certificate}\n{key}", f"{certificate}{key}"):
        assert certificates_in(text) == f"{certificate}\n"


def test_an_authority_that_is_none_is_said(tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    authority.write_text("nothing")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        make_certificate(authority, "db", NAMES)
    assert caught.value.stderr


def test_who_is_believed_at_the_store_is_found_from_anywhere(tmp_path: Path) -> None:
    for secure, roots in ((True, str(tmp_path / ROOTS_FILE)), (False, None)):
        said = render_store_part(PLATFORM, "fra-n1", "db", secure=secure)
        (tmp_path / STORE_FILE).write_text(said)
        assert store_of(tmp_path) == json.loads(said) | {"roots": roots}


def test_data_of_another_version_is_not_touched(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    with pytest.raises(RefusedError, match="install postgresql-17"):
        check_version(tmp_path / "17", programs)
    programs.mkdir()
    (programs / "postgres").touch()
    check_version(tmp_path / "17", programs)
    (tmp_path / "15").mkdir()
    (tmp_path / "15" / "PG_VERSION").touch()
    check_version(tmp_path / "15", programs)
    with pytest.raises(RefusedError, match="data of version 15, and 17 is wanted"):
        check_version(tmp_path / "17", programs)


def test_a_file_takes_the_place_of_another_and_follows_no_link(tmp_path: Path) -> None:
    elsewhere, place = tmp_path / "elsewhere", tmp_path / "run" / "file"
    elsewhere.write_text("kept")
    place.parent.mkdir()
    place.symlink_to(elsewhere)
    write(place, "new")
    assert (elsewhere.read_text(), place.read_text()) == ("kept", "new")
    assert place.stat().st_mode & 0o777 == 0o600
