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
from pltfrms.drivers.workload import instance_files
from pltfrms.drivers.workload.found import FoundInit
from pltfrms.drivers.workload.instance_files import InstanceFiles, Record
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


def _torn(home: Path) -> Iterator[bytes]:
    """Cut the record at every byte."""
    path, text = _file(home), codec.encode(RECORD)
    for size in range(len(text)):
        path.write_bytes(text[:size])
        yield text[:size]


def _let_run(monkeypatch: pytest.MonkeyPatch, init: FoundInit | None) -> None:
    monkeypatch.setattr(instance_files, "find_init", lambda _allocation: init)


def test_what_runs_is_known_whatever_became_of_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = os.getpid()
    _let_run(monkeypatch, FoundInit(pid=me, device="i1", fingerprint="old"))
    runtime = ProcessRuntime(_directories(tmp_path), MemoryNetwork([], []))
    for _ in _torn(tmp_path):
        running = asyncio.run(runtime.running())
        assert running[RECORD.allocation] == replace(RECORD.instance, pid=me)
        with pytest.raises(ConflictError, match="runs from an older spec"):
            asyncio.run(runtime.start(spec()))
        assert codec.decode(Record, _file(tmp_path).read_bytes()).pid == me


def test_of_an_instance_that_does_not_say_enough_no_second_copy_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _let_run(monkeypatch, FoundInit(pid=os.getpid(), device="", fingerprint=""))
    runtime = ProcessRuntime(_directories(tmp_path), MemoryNetwork([], []))
    for torn in _torn(tmp_path):
        with pytest.raises(UnavailableError, match="may run already"):
            asyncio.run(runtime.start(spec()))
        assert _file(tmp_path).read_bytes() == torn


def test_a_torn_record_of_nothing_that_runs_holds_up_nobody(tmp_path: Path) -> None:
    files = InstanceFiles(_directories(tmp_path))
    for _ in _torn(tmp_path):
        files.check(RECORD.allocation)
        assert not _file(tmp_path).exists()


def test_a_record_that_is_cut_at_any_byte_leaves_the_old_one(tmp_path: Path) -> None:
    files = InstanceFiles(_directories(tmp_path))
    path = _file(tmp_path)
    files.remember(RECORD)
    for size in range(len(codec.encode(RECORD))):
        with full_after(size), pytest.raises(OSError, match="too large"):
            files.remember(RECORD)
        assert files.records() == (RECORD,)
        assert [each.name for each in path.parent.iterdir()] == [path.name]
