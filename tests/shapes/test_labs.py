"""The platforms of this directory as labs: clients are answered, and nothing private leaves."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from bench.rig import running_lab
from pltfrms.errors import NotFoundError
from pltfrms.lab.client.client import LabClient, find_lab
from pltfrms.lab.client.ready import ReadyReport
from pltfrms.model.addresses import Prefix
from pltfrms.model.network.lab import Daemon
from tests.shapes.shapes import DIRECTORY, WITH_LABS, Shape, read

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(300)]

_BIRDC = ("birdc", "-s", "/run/pltfrms/bird.ctl")


@pytest.fixture(params=WITH_LABS)
def started(request: pytest.FixtureRequest) -> Iterator[tuple[Shape, LabClient, ReadyReport]]:
    shape = read(request.param)
    with running_lab(shape.directory, f"shape-{os.getpid()}") as (client, ready):
        yield shape, client, ready


def test_every_client_is_answered_by_its_nearest_and_hears_only_what_is_ours(
    started: tuple[Shape, LabClient, ReadyReport],
) -> None:
    shape, client, ready = started
    assert shape.lab is not None
    nearest = {eyeball.name: eyeball.nearest for eyeball in shape.lab.eyeballs}
    assert ready.answers
    assert {(a.eyeball, a.datacenter) for a in ready.answers} == set(nearest.items())
    ours = {aggregate.prefix for aggregate in shape.platform.aggregates}
    heard = {
        prefix
        for name in shape.lab.machines
        if shape.lab.daemon(name) is Daemon.BIRD
        for prefix in _heard_of_us(client, name, shape.platform.asn)
    }
    customers = {each.prefix for peer in shape.platform.peers for each in peer.allowed}
    assert ours <= heard <= ours | customers


_KILLED = """
import sys
from pathlib import Path
from bench.rig import running_lab
with running_lab(Path(sys.argv[1]), sys.argv[2]):
    print("up", flush=True)
    sys.stdin.read()
"""


def test_a_lab_ends_with_who_started_it_however_that_ends() -> None:
    name = f"killed-{os.getpid()}"
    words = (sys.executable, "-c", _KILLED, str(DIRECTORY / "one-site"), name)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"up\n"
        assert find_lab(name).machines()
        starter.kill()
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            find_lab(name)
        except NotFoundError:
            return
        time.sleep(0.1)
    raise AssertionError("it runs on")


def _heard_of_us(client: LabClient, machine: str, asn: int) -> set[Prefix]:
    """Return the prefixes that a network outside has from our AS, by any way."""
    argv = client.exec_argv(machine, [*_BIRDC, "show route all"])
    shown = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
    found: set[Prefix] = set()
    prefix = ""
    for line in shown.splitlines():
        begin = re.match(r"([0-9a-f.:]+/[0-9]+) ", line)
        prefix = begin.group(1) if begin else prefix
        path = re.search(r"BGP\.as_path: ([0-9 ]+)", line)
        if path and str(asn) in path.group(1).split():
            found.add(ip_network(prefix))
    return found
