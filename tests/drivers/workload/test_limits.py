"""Which group an instance gets, where a service manager leaves us one and where not."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.drivers.workload.instance.limits import INSTANCES_UNIT, CgroupLimits, within
from pltfrms.model.running.machine import InstanceSpec
from pltfrms.model.services.storage import IoLimits

SPEC = InstanceSpec(
    allocation="web.fra.1-1",
    process=("sleep", "9"),
    files=(),
    environment=(),
    device="i1",
    service_addresses=(),
    unicast_addresses=(),
    cpu=0.5,
    memory_bytes=1000,
    stop_grace_ms=1,
)


def tree(root: Path, *groups: Path, controllers: str = "cpu memory") -> Path:
    for group in (root, *(root / each for each in groups)):
        group.mkdir(parents=True, exist_ok=True)
        (group / "cgroup.controllers").write_text(controllers)
    return root


def test_instances_go_below_the_unit_that_outlives_the_agent(tmp_path: Path) -> None:
    limits = CgroupLimits(tree(tmp_path, INSTANCES_UNIT))
    limits.confine(SPEC, 77)
    group = tmp_path / INSTANCES_UNIT / SPEC.allocation
    assert (group / "cgroup.procs").read_text() == "77"
    assert (group / "cpu.max").read_text() == "50000 100000"
    assert limits.sentence() == f"enforced by cgroup v2 below {tmp_path / INSTANCES_UNIT}"
    assert not (tmp_path / "pltfrms").exists()
    # The tree above is the service manager's.
    assert not (tmp_path / "cgroup.subtree_control").exists()


def test_instances_go_there_also_where_nothing_can_be_limited(tmp_path: Path) -> None:
    limits = CgroupLimits(tree(tmp_path, INSTANCES_UNIT, controllers="hugetlb"))
    limits.confine(SPEC, 77)
    group = tmp_path / INSTANCES_UNIT / SPEC.allocation
    assert [each.name for each in group.iterdir()] == ["cgroup.procs"]
    assert limits.sentence().startswith("not enforced: ")


@pytest.mark.parametrize("controllers", ["cpu memory", "hugetlb"])
def test_the_unit_may_come_after_the_agent(tmp_path: Path, controllers: str) -> None:
    limits = CgroupLimits(tree(tmp_path, controllers=controllers))
    tree(tmp_path, INSTANCES_UNIT, controllers=controllers)
    limits.confine(SPEC, 77)
    assert (tmp_path / INSTANCES_UNIT / SPEC.allocation / "cgroup.procs").exists()


def test_without_the_unit_all_is_as_before(tmp_path: Path) -> None:
    limits = CgroupLimits(tree(tmp_path))
    limits.confine(SPEC, 77)
    assert (tmp_path / "pltfrms" / SPEC.allocation / "memory.max").read_text() == "1000"
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory"


def disks(root: Path, *, partition: bool) -> Path:
    """Return what the kernel says of block devices: the files of `root` are on disk 8:16."""
    number = root.stat().st_dev
    devices, disk = root / "dev", root / "sdb"
    place = disk / "sdb1" if partition else disk
    place.mkdir(parents=True)
    devices.mkdir()
    (disk / "dev").write_text("8:16\n")
    if partition:
        (place / "partition").write_text("1\n")
        (place / "dev").write_text("8:17\n")
    (devices / f"{os.major(number)}:{os.minor(number)}").symlink_to(place)
    return devices


@pytest.mark.parametrize("partition", [True, False])
def test_what_is_limited_of_a_disk_is_the_whole_one(tmp_path: Path, *, partition: bool) -> None:
    root = tree(tmp_path / "tree", INSTANCES_UNIT, controllers="cpu memory io")
    group = root / INSTANCES_UNIT / SPEC.allocation
    group.mkdir()
    (group / "io.max").touch()
    limits = CgroupLimits(root, tmp_path, disks(tmp_path, partition=partition))
    assert "or none for 8:16" in limits.io_free(SPEC.allocation)
    limits.confine(replace(SPEC, io=IoLimits(write_bytes=1 << 20, reads=9)), 77)
    said = "8:16 rbps=max wbps=1048576 riops=9 wiops=max"
    assert (group / "io.max").read_text() == said
    assert limits.io_free(SPEC.allocation) == ""
    controllers = (root / INSTANCES_UNIT / "cgroup.subtree_control").read_text()
    assert controllers == "+cpu +memory +io"
    limits.confine(SPEC, 78)  # again, in a group that could not be removed in time
    assert (group / "io.max").read_text() == "8:16 rbps=max wbps=max riops=max wiops=max"


def test_who_cannot_be_limited_runs_and_it_is_said_why(tmp_path: Path) -> None:
    wanted = replace(SPEC, io=IoLimits(writes=9))
    root = tree(tmp_path / "tree", INSTANCES_UNIT)
    for devices, why in (
        (disks(tmp_path, partition=False), "has no io at"),
        (tmp_path / "none", "is on no disk that the kernel has as one"),
    ):
        limits = CgroupLimits(root, tmp_path, devices)
        limits.confine(wanted, 77)
        assert why in limits.io_free(SPEC.allocation)
    bare = tree(tmp_path / "bare", INSTANCES_UNIT, controllers="hugetlb")
    assert "by cgroup v2 only" in CgroupLimits(bare, tmp_path).io_free(SPEC.allocation)


def test_a_command_runs_also_where_its_group_takes_nobody(tmp_path: Path) -> None:
    """What the kernel refuses to us is no answer of the instance's."""
    group = tmp_path / "web.fra.1-1"
    group.mkdir()
    words = within((tmp_path / "gone", group), ("sh", "-c", 'echo "$0 $1"', "a b", "c"))
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "a b c\n"
    assert (group / "cgroup.procs").read_text().strip().isdigit()


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ("low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n", ""),
        ("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n", "it went over its memory"),
        ("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", "it went over its memory"),
        (
            "low 0\nhigh 0\nmax 0\noom 0\noom_kill 1\n",
            "the machine, or all instances together, had no more memory",
        ),
    ],
    ids=["nothing", "own", "v1", "of all"],
)
def test_who_is_ended_for_the_memory_of_all_has_not_gone_over_its_own(
    tmp_path: Path, events: str, why: str
) -> None:
    limits = CgroupLimits(tree(tmp_path, INSTANCES_UNIT))
    limits.confine(SPEC, 77)
    group = tmp_path / INSTANCES_UNIT / SPEC.allocation
    (group / "memory.events").write_text(events)
    assert limits.want_of_memory(SPEC.allocation) == why
