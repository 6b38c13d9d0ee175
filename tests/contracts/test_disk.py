"""What every `ports.Disk` does."""

import os
from pathlib import Path

import pytest

from pltfrms.drivers.disk import DirectoryDisk, MemoryDisk
from pltfrms.drivers.ports import Disk
from pltfrms.errors import UsageError


@pytest.fixture(params=["memory", "directory"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return DirectoryDisk(tmp_path / "a/b") if request.param == "directory" else MemoryDisk()


def test_the_last_write_is_read(disk: Disk) -> None:
    assert disk.read("target.json") is None
    disk.write("target.json", b"one")
    disk.write("target.json", b"two")
    disk.write("other", b"")
    assert disk.read("target.json") == b"two"
    assert disk.read("other") == b""
    assert not disk.late("target.json")


@pytest.mark.parametrize("name", ["", "../target", "/etc/passwd", ".hidden", "a/b"])
def test_a_name_is_not_a_path(disk: Disk, name: str) -> None:
    with pytest.raises(UsageError):
        disk.write(name, b"")
    with pytest.raises(UsageError):
        disk.read(name)
    with pytest.raises(UsageError):
        disk.late(name)


def test_a_document_outlives_the_disk_that_wrote_it(tmp_path: Path) -> None:
    DirectoryDisk(tmp_path).write("target", b"kept")
    assert DirectoryDisk(tmp_path).read("target") == b"kept"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_power_cut_leaves_the_old_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = DirectoryDisk(tmp_path)
    disk.write("target", b"old")

    def cut(_fd: int) -> None:
        raise OSError("no power")

    monkeypatch.setattr(os, "fsync", cut)
    with pytest.raises(OSError, match="no power"):
        disk.write("target", b"new")
    assert disk.read("target") == b"old"
