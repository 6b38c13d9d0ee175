"""Records of instances on a disk that is full or was torn."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms import codec
from pltfrms.drivers.kernel.memory import MemoryNetwork
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.workload.instance import records
from pltfrms.drivers.workload.instance.found import FoundInit
from pltfrms.drivers.workload.instance.records import KEPT_TORN, Record, Records, start_ticks
from pltfrms.drivers.workload.ports import RecordReport
from pltfrms.drivers.workload.process import ProcessRuntime
from pltfrms.errors import ConflictError, UnavailableError
from tests.contracts.test_workload import spec
from tests.faulty_disk import full_after

RECORD = Record(
    allocation=spec().allocation, pid=1, start_ticks=1, device="i1", fingerprint="old"
)


def _directories(home: Path) -> Directories:
    return Directories(
        config=home, state=home / "state", runtime=home / "run", log=home / "log"
    )


def _file(home: Path) -> Path:
    path = home / "run" / "instances" / f"{RECORD.allocation}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _aside(home: Path) -> Path:
    return _file(home).with_name(f"{RECORD.allocation}.json.torn")


def _torn(home: Path) -> Iterator[bytes]:
    """Cut the record at every byte."""
    path, text = _file(home), codec.encode(RECORD)
    for size in range(len(text)):
        path.write_bytes(text[:size])
        yield text[:size]


def _let_run(monkeypatch: pytest.MonkeyPatch, init: FoundInit | None) -> None:
    monkeypatch.setattr(records, "find_init", lambda _allocation, _runtime: init)


def _runtime(home: Path, network: MemoryNetwork | None = None) -> ProcessRuntime:
    group = home / "cgroup"
    group.mkdir(exist_ok=True)
    (group / "cgroup.controllers").write_text("cpu memory")
    return ProcessRuntime(
        _directories(home), network or MemoryNetwork([], []), cgroup_root=group
    )


def test_what_runs_is_known_whatever_became_of_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = os.getpid()
    _let_run(monkeypatch, FoundInit(pid=me, device="i1", fingerprint="old"))
    for _ in _torn(tmp_path):
        runtime = _runtime(tmp_path)
        running = asyncio.run(runtime.running())
        assert running[RECORD.allocation] == replace(RECORD.instance, pid=me)
        with pytest.raises(ConflictError, match="runs from an older spec"):
            asyncio.run(runtime.start(spec()))
        assert codec.decode(Record, _file(tmp_path).read_bytes()).pid == me


def test_of_an_instance_that_does_not_say_enough_no_second_copy_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _let_run(monkeypatch, FoundInit(pid=os.getpid(), device="", fingerprint=""))
    runtime = _runtime(tmp_path)
    for torn in _torn(tmp_path):
        with pytest.raises(UnavailableError, match="may be running"):
            asyncio.run(runtime.start(spec()))
        assert _file(tmp_path).read_bytes() == torn


def test_an_instance_that_cannot_be_told_is_not_taken_for_a_stopped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _let_run(monkeypatch, FoundInit(pid=os.getpid(), device="", fingerprint=""))
    runtime = _runtime(tmp_path)
    for _ in _torn(tmp_path):
        with pytest.raises(UnavailableError, match="may be running"):
            asyncio.run(runtime.stop(RECORD.instance, 0))
        with pytest.raises(UnavailableError, match="may be running"):
            asyncio.run(runtime.wait(RECORD.instance))
    _file(tmp_path).unlink()
    asyncio.run(runtime.stop(RECORD.instance, 0))
    assert asyncio.run(runtime.wait(RECORD.instance)).startswith("killed together")


def test_what_an_agent_has_started_it_knows_whatever_became_of_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _let_run(monkeypatch, FoundInit(pid=os.getpid(), device="", fingerprint=""))
    mine = replace(RECORD, pid=os.getpid(), start_ticks=start_ticks(os.getpid()) or 0)
    path = _file(tmp_path)
    for _ in _torn(tmp_path):
        torn = path.read_bytes()
        known = Records(tmp_path / "run")
        known.remember(mine)
        path.write_bytes(torn)
        assert known.recall(mine.instance) == mine
        assert codec.decode(Record, path.read_bytes()) == mine
    known = Records(tmp_path / "run")
    known.remember(mine)
    path.unlink()
    path.mkdir()  # a disk that does not give it
    assert known.every() == (mine,)


def test_a_torn_record_of_nothing_that_runs_holds_up_nobody_and_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _let_run(monkeypatch, None)
    runtime = _runtime(tmp_path)
    group = tmp_path / "cgroup" / "pltfrms" / RECORD.allocation
    for torn in _torn(tmp_path):
        group.mkdir()
        assert asyncio.run(runtime.running()) == {}
        assert not _file(tmp_path).exists()
        assert _aside(tmp_path).read_bytes() == torn
        assert not group.exists(), "its limits go, as after any other end"
        [mended] = runtime.records().mended
        assert mended.allocation == RECORD.allocation
        assert f"set aside as {_aside(tmp_path)}" in mended.detail
        assert runtime.records() == RecordReport(), "it is said once"


def test_the_device_that_a_torn_record_still_names_is_let_go(tmp_path: Path) -> None:
    network = MemoryNetwork([], [])
    asyncio.run(network.attach_instance("i1", 1))
    _file(tmp_path).write_bytes(codec.encode(RECORD)[:-5])
    asyncio.run(_runtime(tmp_path, network).running())
    assert "i1" not in network.addresses


def test_only_the_newest_torn_records_are_kept(tmp_path: Path) -> None:
    runtime = _runtime(tmp_path)
    for number in range(KEPT_TORN + 3):
        path = _file(tmp_path).with_name(f"web.fra.1-{number:02}.json")
        path.write_bytes(b"{")
        os.utime(path, (number, number))
        asyncio.run(runtime.running())
    kept = sorted(path.name for path in _file(tmp_path).parent.iterdir())
    assert kept == [f"web.fra.1-{n:02}.json.torn" for n in range(3, KEPT_TORN + 3)]


def test_a_record_that_cannot_be_read_is_said_as_long_as_that_is_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _let_run(monkeypatch, FoundInit(pid=os.getpid(), device="", fingerprint=""))
    runtime = _runtime(tmp_path)
    for _ in _torn(tmp_path):
        for _again in range(2):
            assert asyncio.run(runtime.running()) == {}
            said = runtime.records()
            assert f"remove {_file(tmp_path)}" in said.wrong
            assert said.mended == ()
    _file(tmp_path).unlink()
    asyncio.run(runtime.running())
    assert runtime.records() == RecordReport()


def test_of_many_records_that_cannot_be_read_some_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _let_run(monkeypatch, FoundInit(pid=os.getpid(), device="", fingerprint=""))
    for number in range(9):
        _file(tmp_path).with_name(f"web.fra.1-{number}.json").write_bytes(b"{")
    runtime = _runtime(tmp_path)
    asyncio.run(runtime.running())
    said = runtime.records().wrong
    assert said.count("the record of") == 3
    assert said.endswith("; and 6 more")


def test_a_record_that_is_made_anew_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _let_run(monkeypatch, FoundInit(pid=os.getpid(), device="i1", fingerprint="old"))
    runtime = _runtime(tmp_path)
    _file(tmp_path).write_bytes(b"")
    with full_after(0):
        for _again in range(2):
            assert asyncio.run(runtime.running())
            said = runtime.records()
            assert "nor written anew" in said.wrong
            assert said.mended == ()
    assert asyncio.run(runtime.running())
    assert [each.allocation for each in runtime.records().mended] == [RECORD.allocation]
    assert asyncio.run(runtime.running())
    assert runtime.records() == RecordReport()


def test_a_record_that_is_cut_at_any_byte_leaves_the_old_one(tmp_path: Path) -> None:
    kept = Records(tmp_path / "run")
    path = _file(tmp_path)
    kept.remember(RECORD)
    for size in range(len(codec.encode(RECORD))):
        with full_after(size), pytest.raises(OSError, match="too large"):
            kept.remember(RECORD)
        assert Records(tmp_path / "run").every() == (RECORD,)
        assert [each.name for each in path.parent.iterdir()] == [path.name]
