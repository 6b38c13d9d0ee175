"""Several links between two edges, and one inside a datacenter: each stands in for others."""

import os
import re
import time
from collections.abc import Iterator

import pytest

from bench.rig import Rig, running_lab
from tests.shapes.answers import check_answers
from tests.shapes.shapes import DIRECTORY, read

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(300)]

NAME = "two-lines-to-each"
PLATFORM = read(NAME).platform
WITHIN_SECONDS = 5.0


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running_lab(DIRECTORY / NAME, f"lines-{os.getpid()}") as (client, ready):
        yield Rig(client, ready, 0.0)


def _port(rig: Rig, machine: str, far_end: str) -> str:
    """Return the port through which a machine reaches the loopback of another; empty: none."""
    address = PLATFORM.loopback6(PLATFORM.machine(far_end))
    shown = rig.run(machine, "ip", "-6", "route", "get", str(address), check=False)
    found = re.search(r" dev (\S+)", shown)
    return found.group(1) if found else ""


def _next_port(rig: Rig, machine: str, far_end: str, gone: set[str]) -> str:
    until = time.monotonic() + WITHIN_SECONDS
    while (port := _port(rig, machine, far_end)) in {"", "lo", *gone}:
        assert time.monotonic() < until, f"still {port} after {WITHIN_SECONDS} s"
        time.sleep(0.05)
    return port


def _wait_for_port(rig: Rig, machine: str, far_end: str, wanted: str) -> None:
    """Wait until OSPF has found the best way: after a start, others may come up before it."""
    until = time.monotonic() + 30
    while (port := _port(rig, machine, far_end)) != wanted:
        assert time.monotonic() < until, f"still {port}"
        time.sleep(0.1)


def test_every_client_is_answered_by_its_nearest_and_hears_only_what_is_ours(
    rig: Rig,
) -> None:
    check_answers(read(NAME), rig.client, rig.ready)


def test_each_link_between_two_edges_takes_over_when_another_is_cut(rig: Rig) -> None:
    links = {each.interface_at("osl-e1"): each for each in PLATFORM.links_of("osl-e1")}
    used: set[str] = set()
    try:
        for _ in range(3):
            port = _next_port(rig, "osl-e1", "got-e1", used)
            rig.client.fault(f"link/{links[port].name}", "silent")
            used.add(port)
        assert used == {"bb-got-e1", "eno3", "bb-got-e1.spare"}
    finally:
        rig.client.heal()


def test_a_link_inside_a_datacenter_takes_over_when_the_fabric_fails(rig: Rig) -> None:
    _wait_for_port(rig, "osl-e2", "osl-e1", "fab-a")
    try:
        rig.client.fault("fabric/osl/a", "silent")
        assert _next_port(rig, "osl-e2", "osl-e1", {"fab-a"}) == "eno5"
    finally:
        rig.client.heal()
    _wait_for_port(rig, "osl-e2", "osl-e1", "fab-a")


def test_a_link_is_found_by_its_label_whichever_end_is_named_first(rig: Rig) -> None:
    ways = ("link/osl-e1--got-e1:coast", "link/got-e1--osl-e1:coast")
    for target in ways:
        rig.client.fault(target, "silent")
        (fault,) = rig.client.faults()
        assert fault.target == "link/got-e1--osl-e1:coast"
        rig.client.heal(target)
