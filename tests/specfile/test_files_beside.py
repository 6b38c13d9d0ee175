"""Files of a directory beside a spec are its own, and nothing else of the disk is."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pltfrms.errors import SpecError
from pltfrms.specfile import load_service

SPEC = """service: web
run:
  process: [serve]
  files: {own.conf: x}
  files_from: conf
replicas: {per_datacenter: 1}
ports: [80/tcp]
probe: {http: /, port: 80}
"""
LINE = 5


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "spec" / "conf" / "sites").mkdir(parents=True)
    (tmp_path / "spec" / "web.yaml").write_text(SPEC)
    (tmp_path / "spec" / "conf" / "main.conf").write_text("listen ${pltfrms.address6}\n")
    (tmp_path / "spec" / "conf" / "sites" / "a b.conf").write_text("é\n")
    (tmp_path / "outside").write_text("not for anybody\n")
    return tmp_path / "spec"


def said(place: Path) -> list[tuple[str, int, str]]:
    with pytest.raises(SpecError) as caught:
        load_service(place / "web.yaml")
    assert "not for anybody" not in str(caught.value)
    return [(each.file, each.line, each.what) for each in caught.value.problems]


def test_files_of_a_directory_are_files_of_the_service(place: Path) -> None:
    (place / "conf" / "also.conf").symlink_to("main.conf")
    (place / "conf" / "logo").write_bytes(b"\x89PNG\0")
    (place / "conf" / "nul").write_bytes(b"a\0")
    (place / "conf" / "main.conf").chmod(0o700)
    run = load_service(place / "web.yaml").run
    assert dict(run.binary) == {"logo": "iVBORwA=", "nul": "YQA="}
    assert dict(run.modes) == {"main.conf": 0o755, "also.conf": 0o755}
    assert dict(run.files) == {
        "own.conf": "x",
        "main.conf": "listen ${pltfrms.address6}\n",
        "also.conf": "listen ${pltfrms.address6}\n",
        "sites/a b.conf": "é\n",
    }


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("../outside", "'../outside' is not a directory beside this file"),
        ("conf/../..", "'conf/../..' is not a directory beside this file"),
        ("/etc", "'/etc' is not a directory beside this file"),
        ("''", "empty"),
        ('"a\\0b"', "is not a directory beside this file"),
        ("nowhere", "nowhere cannot be read: No such file or directory"),
        ("web.yaml", "web.yaml cannot be read: Not a directory"),
        ("away", "away is a link that leads elsewhere"),
        ("round", "round cannot be read"),
        ("[conf]", "must be text, not a list"),
    ],
)
def test_what_is_no_directory_beside_it_is_refused(place: Path, name: str, what: str) -> None:
    (place / "away").symlink_to(place.parent)
    (place / "round").symlink_to("round")
    spec = place / "web.yaml"
    spec.write_text(SPEC.replace("files_from: conf", f"files_from: {name}"))
    [(file, line, why)] = said(place)
    assert (file, line) == (str(spec), LINE)
    assert what in why


def link(path: Path) -> None:
    path.symlink_to("../../outside")


def absolute(path: Path) -> None:
    path.symlink_to(path.parents[2] / "outside")


def directory(path: Path) -> None:
    path.symlink_to("sites")


def gone(path: Path) -> None:
    path.symlink_to("nowhere")


def large(path: Path) -> None:
    path.write_text("x" * 500_001)


def unknown(path: Path) -> None:
    path.write_text("a\n${pltfrms.adress6}\n")


def odd_name(path: Path) -> None:
    path.with_name("a\nb").write_text("x")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (link, "is a link that leads out of its directory"),
        (absolute, "is a link that leads out of its directory"),
        (directory, "is neither a file nor a directory"),
        (gone, "cannot be read: No such file or directory"),
        (os.mkfifo, "is neither a file nor a directory"),
        (large, "has more than 500000 bytes"),
        (unknown, "unknown variable ${pltfrms.adress6}"),
        (odd_name, "is not a name below the working directory"),
    ],
)
def test_what_is_no_file_of_its_own_is_refused(
    place: Path, make: Callable[[Path], None], what: str
) -> None:
    make(place / "conf" / "odd")
    [(file, line, why)] = said(place)
    assert (file, line) == (str(place / "web.yaml"), LINE)
    assert what in why


def test_a_file_is_said_once_and_all_together_are_bounded(place: Path) -> None:
    (place / "conf" / "own.conf").write_text("y")
    assert [what for _, _, what in said(place)] == ["own.conf is in conf, too"]
    (place / "conf" / "own.conf").unlink()
    for number in range(2):
        (place / "conf" / f"large{number}").write_text("x" * 300_000)
    [(_, _, what)] = said(place)
    assert "at most 500000 fit" in what
    for number in range(1000):
        (place / "conf" / f"small{number}").touch()
    assert [what for _, _, what in said(place)] == ["conf has more than 1000 files"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("binary: {logo: 'no base64'}", "is not in base64"),
        ("binary: {../logo: YQA=}", "is not a name below the working directory"),
        ("binary: {own.conf: YQA=}", "own.conf is in files, too"),
        ("binary: {own.conf/x: YQA=}", "own.conf is a file, so nothing can be below it"),
        ("binary: {main.conf: YQA=}", "main.conf is in conf, too"),
        ("modes: {nowhere: '0755'}", "there is no file 'nowhere'"),
        ("modes: {own.conf: '4755'}", "'4755' is not the mode of a file"),
    ],
)
def test_odd_files_and_modes_are_refused(place: Path, line: str, what: str) -> None:
    (place / "web.yaml").write_text(SPEC.replace("  files_from", f"  {line}\n  files_from"))
    assert what in " ".join(each for _, _, each in said(place))
