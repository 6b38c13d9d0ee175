"""Volumes outlive instances, are of one at a time, and lead nowhere else."""

import os
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.workload.disks.storage import host_binds
from pltfrms.drivers.workload.disks.volumes import VOLUMES, Volumes
from pltfrms.drivers.workload.process import ProcessRuntime
from pltfrms.errors import UnavailableError
from pltfrms.model.running.machine import InstanceSpec
from pltfrms.model.services.storage import HostPath, Storage, VolumeSpec
from tests.contracts.test_workload import directories_below, spec
from tests.namespaces import in_machine

MIB = 2**20
DATA = VolumeSpec(name="data", path="/srv/pltfrms-test/data", size_bytes=MIB)


def test_directories_are_made_once_and_stay_as_they_are(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path)
    (found,) = volumes.prepare("db.fra.1@1", [DATA]).values()
    assert found == str(tmp_path / "volumes" / "db.fra.1@1" / "data")
    Path(found, "rows").write_text("x" * 10_000)
    assert volumes.prepare("db.fra.1@1", [DATA]) == {DATA.path: found}
    assert Path(found, "rows").stat().st_size == 10_000
    assert volumes.found() == ("db.fra.1@1",)
    assert volumes.uses()["db.fra.1@1"]["data"].bytes >= 10_000


def test_what_was_made_and_is_gone_is_not_made_again(tmp_path: Path) -> None:
    volumes = Volumes(tmp_path)
    with pytest.raises(UnavailableError, match="not on this disk any more"):
        volumes.prepare("db.fra.1@1", [DATA], made=True)
    assert volumes.found() == ()
    volumes.prepare("db.fra.1@1", [])
    more = volumes.prepare("db.fra.1@1", [DATA], made=True)  # a directory more is no loss
    assert Path(more[DATA.path]).is_dir()


@pytest.mark.parametrize("part", ["volume", "directory"])
def test_a_symbolic_link_in_the_place_of_a_volume_is_refused(tmp_path: Path, part: str) -> None:
    volumes, elsewhere = Volumes(tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir()
    above = tmp_path / "volumes"
    above.mkdir()
    if part == "volume":
        (above / "db.fra.1@1").symlink_to(elsewhere)
    else:
        (above / "db.fra.1@1").mkdir()
        (above / "db.fra.1@1" / "data").symlink_to(elsewhere)
    with pytest.raises(UnavailableError, match=r"volume db\.fra\.1@1"):
        volumes.prepare("db.fra.1@1", [DATA])
    assert list(elsewhere.iterdir()) == []


def test_what_is_removed_takes_nothing_with_it_that_a_link_leads_to(tmp_path: Path) -> None:
    volumes, elsewhere = Volumes(tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("x")
    (found,) = volumes.prepare("db.fra.1@1", [DATA]).values()
    Path(found, "link").symlink_to(elsewhere)
    os.link(elsewhere / "precious", Path(found, "hard"))
    assert volumes.uses()["db.fra.1@1"]["data"].bytes < MIB
    volumes.remove("db.fra.1@1")
    volumes.remove("db.fra.1@1")
    assert volumes.found() == ()
    assert (elsewhere / "precious").read_text() == "x"


def test_what_cannot_be_deleted_whole_is_not_said_to_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes = Volumes(tmp_path)
    volumes.prepare("db.fra.1@1", [DATA])
    with monkeypatch.context() as disk:
        disk.setattr(shutil, "rmtree", lambda _path, **_words: None)
        for _ in range(2):
            with pytest.raises(UnavailableError, match="not all of it could be deleted"):
                volumes.remove("db.fra.1@1")
    volumes.remove("db.fra.1@1")
    assert list((tmp_path / "volumes").iterdir()) == []


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda _path: None, "No such file"),
        (lambda path: path.symlink_to("/etc"), "is a symbolic link"),
        (os.mkfifo, "neither a file nor a directory"),
    ],
)
def test_a_path_of_the_machine_is_a_plain_one(
    tmp_path: Path, make: Callable[[Path], None], says: str
) -> None:
    path = tmp_path / "geo"
    make(path)
    storage = Storage(host_paths=(HostPath(source=str(path), path="/geo"),))
    with pytest.raises(UnavailableError, match=says):
        host_binds(storage)


def test_a_link_in_the_middle_of_a_path_of_the_machine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "geo").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name, good in (("real", True), ("link", False)):
        source = str(tmp_path / name / "geo")
        storage = Storage(host_paths=(HostPath(source=source, path="/geo"),))
        if good:
            assert host_binds(storage) == {"/geo": source}
        else:
            with pytest.raises(UnavailableError, match="link is a symbolic link"):
                host_binds(storage)


def test_no_agent_starts_before_the_disk_that_volumes_are_on() -> None:
    packaging = Path(__file__).parents[3] / "packaging"
    unit = (packaging / "systemd" / "pltfrms-agent.service").read_text()
    assert f"\nRequiresMountsFor=/var/lib/pltfrms/{VOLUMES}\n" in unit


# ---- instances -----------------------------------------------------------------------------


def keeping(script: str, slot: int = 1, volume: str = "db.fra.1@1") -> InstanceSpec:
    wanted = spec(("sh", "-c", script), slot)
    return replace(wanted, storage=Storage(volumes=(DATA,)), volume=volume)


def play(root: Path, scenario: Callable[[ProcessRuntime], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        await scenario(ProcessRuntime(directories_below(root), KernelNetwork()))

    in_machine(whole)


@pytest.fixture
def clean() -> Any:
    yield
    for path in (Path(DATA.path), Path(DATA.path).parent):
        if path.is_dir():
            path.rmdir()


@pytest.mark.root
@pytest.mark.usefixtures("clean")
def test_what_one_instance_wrote_the_next_one_reads(tmp_path: Path) -> None:
    async def scenario(runtime: ProcessRuntime) -> None:
        first = keeping(f"echo kept >{DATA.path}/row")
        await runtime.wait(await runtime.start(first))
        second = keeping(f"cat {DATA.path}/row", slot=2)
        await runtime.wait(await runtime.start(second))
        log = directories_below(tmp_path).log / "instances" / f"{second.allocation}.log"
        assert log.read_text() == "kept\n"

    play(tmp_path, scenario)
    assert not Path(DATA.path, "row").exists()  # only instances see it there


@pytest.mark.root
@pytest.mark.usefixtures("clean")
def test_a_volume_is_of_one_instance_at_a_time_and_not_removed_under_it(
    tmp_path: Path,
) -> None:
    async def scenario(runtime: ProcessRuntime) -> None:
        first = await runtime.start(keeping("exec sleep 1000"))
        with pytest.raises(UnavailableError, match="another instance has its volume"):
            await runtime.start(keeping("exec sleep 1000", slot=2))
        again = ProcessRuntime(directories_below(tmp_path), KernelNetwork())
        with pytest.raises(UnavailableError, match="an instance has volume"):
            await again.remove_volume("db.fra.1@1")
        await runtime.stop(first, 0)
        second = await runtime.start(keeping("exec sleep 1000", slot=2))
        await runtime.stop(second, 0)
        await runtime.remove_volume("db.fra.1@1")
        assert await runtime.volumes() == {}

    play(tmp_path, scenario)


@pytest.mark.root
def test_no_link_leads_a_mount_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")

    async def scenario(runtime: ProcessRuntime) -> None:
        data = replace(DATA, path=str(tmp_path / "link" / "data"))
        wanted = replace(keeping("true"), storage=Storage(volumes=(data,)))
        with pytest.raises(UnavailableError, match="link: Not a directory"):
            await runtime.start(wanted)
        assert list((tmp_path / "there").iterdir()) == []

    play(tmp_path, scenario)
