"""Records of instances on a disk that is full or was torn."""

import asyncio
from pathlib import Path

import pytest

from pltfrms import codec
from pltfrms.drivers.kernel.memory import MemoryNetwork
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.workload.instance_files import InstanceFiles, Record
from pltfrms.drivers.workload.process import ProcessRuntime
from pltfrms.errors import UnavailableError
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


def test_of_an_instance_with_a_torn_record_no_second_copy_is_started(tmp_path: Path) -> None:
    runtime = ProcessRuntime(_directories(tmp_path), MemoryNetwork([], []))
    path, text = _file(tmp_path), codec.encode(RECORD)
    for size in range(len(text)):
        path.write_bytes(text[:size])
        with pytest.raises(UnavailableError, match="may run already"):
            asyncio.run(runtime.start(spec()))
        assert path.read_bytes() == text[:size]


def test_a_record_that_is_cut_at_any_byte_leaves_the_old_one(tmp_path: Path) -> None:
    files = InstanceFiles(_directories(tmp_path))
    path = _file(tmp_path)
    files.remember(RECORD)
    for size in range(len(codec.encode(RECORD))):
        with full_after(size), pytest.raises(OSError, match="too large"):
            files.remember(RECORD)
        assert files.records() == (RECORD,)
        assert [each.name for each in path.parent.iterdir()] == [path.name]
