"""Log files whatever the disk does: bounded, no part lost without need, none left behind."""

import errno
import os
import time
from pathlib import Path

import pytest

from pltfrms.drivers.ports import Directories
from pltfrms.drivers.workload.instance.instance_files import InstanceFiles
from pltfrms.drivers.workload.instance.instance_init import BoundedLog

NAME = "web.log.1-1"
LINE = b"0123456\n"
SUFFIXES = ("", ".1", ".2", ".3")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    logs = tmp_path / "log" / "instances"
    logs.mkdir(parents=True)
    return logs


def _files(directory: Path) -> InstanceFiles:
    home = directory.parents[1]
    return InstanceFiles(
        Directories(config=home, state=home / "state", runtime=home / "run", log=home / "log")
    )


def _log(directory: Path, most_bytes: int = 8) -> BoundedLog:
    return BoundedLog(str(directory / f"{NAME}.log"), most_bytes, 3)


def _parts(directory: Path) -> dict[str, bytes]:
    """Return all files by what their names have after `.log`."""
    return {
        path.name.removeprefix(f"{NAME}.log"): path.read_bytes() for path in directory.iterdir()
    }


def _no_new_files(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def full(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT and not Path(path).exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", full)


@pytest.mark.parametrize("before", range(2, 7))
def test_a_disk_without_room_for_new_files_takes_the_oldest_part_and_not_the_newest(
    directory: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    log = _log(directory)
    lines = [b"line %2d\n" % number for number in range(before + 3)]
    for line in lines[:before]:
        log.write(line)
    parts = len(_parts(directory))
    _no_new_files(monkeypatch)
    for line in lines[before:]:
        log.write(line)
        said = lines[: lines.index(line) + 1]
        assert _parts(directory) == dict(zip(SUFFIXES, said[: -parts - 1 : -1], strict=False))


def test_a_log_of_one_part_loses_that_where_there_cannot_be_another(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = _log(directory)
    log.write(b"line  0\n")
    _no_new_files(monkeypatch)
    log.write(b"line  1\n")
    assert _parts(directory) == {"": b"line  1\n"}


@pytest.mark.parametrize("wrong", ["", ".new", ".1"])
def test_a_log_goes_on_where_its_parts_cannot_be_renamed(
    directory: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    log, real = _log(directory), os.rename

    def refuse(old: str, new: str) -> None:
        if new.endswith(wrong):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(old, new)

    with monkeypatch.context() as broken:
        broken.setattr(os, "rename", refuse)
        for _ in range(5):
            log.write(LINE)
            assert max(map(len, _parts(directory).values())) <= len(LINE)
    for number in range(4):
        log.write(b"line %2d\n" % number)
    newest_first = [b"line %2d\n" % number for number in (3, 2, 1, 0)]
    assert _parts(directory) == dict(zip(SUFFIXES, newest_first, strict=True))


@pytest.mark.parametrize("left", [*SUFFIXES, ".new"])
def test_no_part_of_an_ended_instance_escapes(directory: Path, left: str) -> None:
    path = directory / f"{NAME}.log{left}"
    path.write_bytes(LINE)
    os.utime(path, (1, 1))
    (other := directory / "web.log.2-1.log.1").write_bytes(LINE)
    _files(directory).remove_leftovers((), time.time() - 60, 1000)
    assert list(directory.iterdir()) == [other]


def test_the_newest_part_says_when_an_instance_ended(directory: Path) -> None:
    for suffix in SUFFIXES:
        path = directory / f"{NAME}.log{suffix}"
        path.write_bytes(LINE)
        if suffix != ".1":
            os.utime(path, (1, 1))
    _files(directory).remove_leftovers((), time.time() - 60, 1000)
    assert len(_parts(directory)) == len(SUFFIXES)


def test_a_log_that_is_renamed_while_we_look_is_no_fault(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (NAME, "web.log.2-1"):
        path = directory / f"{name}.log"
        path.write_bytes(LINE)
        os.utime(path, (1, 1))
    real = Path.stat

    def stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if path.name.startswith(NAME):
            raise FileNotFoundError(path)
        return real(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", stat)
    files = _files(directory)
    files.remove_leftovers((), time.time() - 60, 1000)
    files.rotate_log(NAME, 1)
    assert _parts(directory).keys() == {"", ".1"}
