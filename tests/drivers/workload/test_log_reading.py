"""The bounded files of a log, read from their end, and on from where one was."""

from pathlib import Path

import pytest

from pltfrms.drivers.workload.instance.instance_init import BoundedLog
from pltfrms.drivers.workload.measuring.log_reading import LogReader
from pltfrms.errors import UsageError
from pltfrms.model.messages.glass import InstanceLog

WEB = "web.fra.1-1"


def log_at(directory: Path, most_bytes: int = 1000, name: str = WEB) -> BoundedLog:
    return BoundedLog(str(directory / f"{name}.log"), most_bytes, 3)


def read(directory: Path, lines: int = 10, after: str = "") -> InstanceLog:
    (found,) = LogReader(directory).read(WEB, lines, after)
    return found


def test_the_last_lines_are_read_over_all_parts(tmp_path: Path) -> None:
    log = log_at(tmp_path, 30)
    for number in range(20):
        log.write(f"line {number:02}\n".encode())
    assert (tmp_path / f"{WEB}.log.1").exists()
    assert read(tmp_path, 3).lines == ("line 17", "line 18", "line 19")
    assert read(tmp_path, 5).lines == tuple(f"line {number}" for number in range(15, 20))
    assert read(tmp_path, 1000).lines[-1] == "line 19"
    assert read(tmp_path, 0).lines == ()


def test_one_reads_on_from_where_one_was_whatever_was_rotated(tmp_path: Path) -> None:
    log = log_at(tmp_path, 60)
    heard: list[str] = []
    position = "0.0"
    for number in range(60):
        log.write(f"line {number}\n".encode())
        if number % 5 == 0:
            found = read(tmp_path, after=position)
            heard += found.lines
            position = found.position
    assert heard == [f"line {number}" for number in range(56)]


def test_a_line_is_read_once_it_is_whole(tmp_path: Path) -> None:
    log = log_at(tmp_path)
    log.write(b"one\ntw")
    first = read(tmp_path, after="0.0")
    assert first.lines == ("one",)
    once = read(tmp_path)
    assert once.lines == ("one", "tw"), "who looks once sees all"
    assert once.position == read(tmp_path, 0).position == first.position
    log.write(b"o\n")
    assert read(tmp_path, after=first.position).lines == ("two",)


def test_a_service_has_the_logs_of_its_own_instances_alone(tmp_path: Path) -> None:
    for name in (WEB, "web.fra.2-7", "web-api.fra.1-1", "db.fra.1-1"):
        log_at(tmp_path, name=name).write(name.encode() + b"\n")
    found = LogReader(tmp_path).read("web", 10)
    assert {each.allocation: each.lines for each in found} == {
        WEB: (WEB,),
        "web.fra.2-7": ("web.fra.2-7",),
    }
    assert LogReader(tmp_path).read("nope", 10) == ()
    assert LogReader(tmp_path / "absent").read(WEB, 10) == ()


@pytest.mark.parametrize("name", ["../x", "web/../x", "/etc/passwd", "", "web.*", "web.fra.1"])
def test_what_is_no_name_is_not_looked_for(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        LogReader(tmp_path).read(name, 10)
    with pytest.raises(UsageError):
        LogReader(tmp_path).read(WEB, 10, "../../x")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    (tmp_path / f"{WEB}.log").symlink_to(tmp_path / "secret")
    assert read(tmp_path).lines == ()


def test_what_is_said_without_end_is_read_within_bounds(tmp_path: Path) -> None:
    log = log_at(tmp_path, 10_000_000)
    log.write(b"x" * 3_000_000)
    assert sum(map(len, read(tmp_path).lines)) == 10_000
    found = read(tmp_path, after="0.0")
    assert sum(map(len, found.lines)) == 10_000
    assert read(tmp_path, after=found.position).lines == ()
    log.write(b"\xff\x1b[31m\n")
    assert read(tmp_path, after=found.position).lines == ("\ufffd\x1b[31m",)
