"""The lab of the example in which every machine has several roles."""

from pathlib import Path

import pytest

from pltfrms.lab.capsule.faults import find_target
from pltfrms.lab.layout.assembly import make_parts
from pltfrms.lab.parts import SegmentKind
from pltfrms.specfile import load_lab, load_platform

EXAMPLE = Path(__file__).parents[3] / "examples/three-servers"
PLATFORM = load_platform(EXAMPLE / "platform.yaml")
PARTS = make_parts(PLATFORM, load_lab(EXAMPLE / "lab.yaml", PLATFORM), "text")


def test_the_whole_platform_fits_in_sixty_lines() -> None:
    assert len((EXAMPLE / "platform.yaml").read_text().splitlines()) <= 60
    assert len(PLATFORM.datacenters) == 3


@pytest.mark.parametrize("name", ["fra1", "ams1", "lon1"])
def test_a_server_runs_everything_once(name: str) -> None:
    units = [unit.name for unit in PARTS.machine(name).units]
    assert units == ["agent", "bird", "etcd", "controller"]


@pytest.mark.parametrize("role", ["edge", "node", "controller", "machine"])
def test_a_server_is_found_by_each_of_its_roles(role: str) -> None:
    target = find_target(PARTS, f"{role}/fra1")
    assert (target.name, target.machines) == ("edge/fra1", ("fra1",))


def test_a_server_that_boots_systemd_gets_ports_and_ways_and_no_file_of_ours() -> None:
    lab = load_lab(EXAMPLE / "lab.yaml", PLATFORM)
    parts = make_parts(PLATFORM, lab, "text", trees={"fra1": "/trees/trixie"})
    fra1, direct = parts.machine("fra1"), PARTS.machine("fra1")
    assert (fra1.tree, fra1.files, fra1.network) == ("/trees/trixie", (), direct.network)
    assert [unit.name for unit in fra1.units] == [unit.name for unit in direct.units]
    assert not any(unit.command or unit.entry for unit in fra1.units)
    assert parts.machine("ams1") == PARTS.machine("ams1")
    assert parts.machine("hoster1") == PARTS.machine("hoster1")


def test_instances_run_on_servers() -> None:
    assert find_target(PARTS, "instance/web/fra/1").machines == ("fra1",)


def test_a_server_alone_has_no_fabric() -> None:
    kinds = {segment.kind for segment in PARTS.wiring.segments}
    assert SegmentKind.FABRIC not in kinds
