"""What every platform of this directory says to its daemons, and to its neighbours."""

import subprocess
from pathlib import Path

import pytest

from pltfrms.lab.layout.assembly import make_parts
from pltfrms.model.network.announcements import announcements
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.lab import Daemon
from pltfrms.render.bird import render_bird
from pltfrms.render.emulated.internet import render_internet
from pltfrms.render.filter import render_filter
from pltfrms.render.kernel import network_state
from pltfrms.specfile.load import load_directory
from tests.shapes.shapes import DIRECTORY, NAMES, WITH_LABS, read


def complaints(file: Path) -> str:
    """Return what BIRD's parser says against a file, if anything."""
    words = ("bird", "-p", "-c", str(file))
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("name", NAMES)
def test_bird_accepts_every_text_of_ours(name: str, tmp_path: Path) -> None:
    platform = read(name).platform
    refused = {}
    for machine in platform.managed:
        file = tmp_path / f"{machine.name}.conf"
        file.write_text(render_bird(platform, machine.name))
        refused[machine.name] = complaints(file)
    assert {machine: what for machine, what in refused.items() if what} == {}


@pytest.mark.parametrize("name", NAMES)
def test_every_machine_has_a_network_and_where_it_meets_others_a_filter(name: str) -> None:
    platform = read(name).platform
    for machine in platform.managed:
        devices = [device.name for device in network_state(platform, machine.name).devices]
        assert len(devices) == len(set(devices))
        assert all(len(device) < 16 for device in devices), "the kernel takes 15 characters"
    for edge in platform.managed:
        speaks = bool(platform.sessions_of(edge.name))
        assert bool(render_filter(platform, edge.name)) is speaks, edge.name


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_aggregates_is_announced_and_each_somewhere(name: str) -> None:
    platform = read(name).platform
    made = announcements(platform, Interventions(), 0)
    ours = {aggregate.prefix for aggregate in platform.aggregates}
    assert {each.prefix for each in made if each.visible} == ours


@pytest.mark.parametrize("name", WITH_LABS)
def test_its_services_and_its_lab_are_right(name: str, tmp_path: Path) -> None:
    platform, services, lab = load_directory(DIRECTORY / name)
    assert platform is not None
    assert lab is not None
    assert services, "without a service nobody is answered"
    parts = make_parts(platform, lab, "")
    assert {each.name for each in parts.machines} >= {each.name for each in platform.managed}
    for machine in lab.machines:
        if lab.daemon(machine) is Daemon.BIRD:
            file = tmp_path / f"{machine}.conf"
            file.write_text(render_internet(platform, lab, machine))
            assert complaints(file) == "", machine


def test_there_are_as_many_as_we_say() -> None:
    assert len(NAMES) >= 40
    assert len(WITH_LABS) >= 10
