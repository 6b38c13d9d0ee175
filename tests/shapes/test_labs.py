"""The platforms of this directory as labs: clients are answered, and nothing private leaves."""

import re
import subprocess
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from pltfrms.lab.client.client import LabClient, start_lab
from pltfrms.lab.client.ready import ReadyReport, apply_services, wait_ready
from pltfrms.model.addresses import Prefix
from pltfrms.model.lab import Daemon
from tests.shapes.shapes import WITH_LABS, Shape, read

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(300)]

_BIRDC = ("birdc", "-s", "/run/pltfrms/bird.ctl")
_READY_SECONDS = 90.0


@pytest.fixture(params=WITH_LABS)
def started(request: pytest.FixtureRequest) -> Iterator[tuple[Shape, LabClient, ReadyReport]]:
    shape = read(request.param)
    client = start_lab(shape.directory, f"shape-{request.param}", _silent)
    try:
        apply_services(client, shape.directory, _silent)
        yield shape, client, wait_ready(client, _READY_SECONDS, _silent)
    finally:
        client.down()


def _silent(_sentence: str) -> None:
    """Progress is for people."""


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
