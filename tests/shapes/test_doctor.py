"""`doctor` on machines of a lab whose ports have names of an operating system."""

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from bench.rig import Rig, running_lab
from tests.shapes.answers import check_answers
from tests.shapes.shapes import DIRECTORY, read

pytestmark = [pytest.mark.live, pytest.mark.calm, pytest.mark.root, pytest.mark.timeout(300)]

NAME = "vlans-and-bonds"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running_lab(DIRECTORY / NAME, f"doctor-{os.getpid()}") as (client, ready):
        yield Rig(client, ready, 0.0)


def _doctor(rig: Rig, machine: str, part: str = "ports") -> list[dict[str, Any]]:
    words = (sys.executable, "-m", "pltfrms.cli.main", "doctor", part, "--json")
    found: list[dict[str, Any]] = json.loads(rig.run(machine, *words, check=False))
    return found


def test_every_client_is_answered_by_its_nearest_and_hears_only_what_is_ours(
    rig: Rig,
) -> None:
    check_answers(read(NAME), rig.client, rig.ready)


def test_a_lab_has_what_its_spec_names_on_every_machine(rig: Rig) -> None:
    found = {each.name: _doctor(rig, each.name) for each in read(NAME).platform.managed}
    assert {name: findings for name, findings in found.items() if findings} == {}


def test_what_is_taken_away_from_a_port_is_found(rig: Rig) -> None:
    rig.run("ham-n1", "ip", "link", "set", "eno1.100", "mtu", "1400")
    (finding,) = _doctor(rig, "ham-n1")
    assert finding["what"] == "its MTU is 1400, and must be 1540 at least"
    rig.client.fault("fabric/ham/b", "cut")
    assert "it has no carrier" in {each["what"] for each in _doctor(rig, "ham-c1")}
    rig.client.heal()
    rig.run("ham-n1", "ip", "link", "set", "eno1.100", "down")
    rig.run("ham-n1", "ip", "link", "set", "eno1.100", "name", "eno1.101")
    (finding,) = _doctor(rig, "ham-n1")
    assert finding["what"] == "there is no such interface"
    assert finding["hint"] == "did you mean eno1.101?"


def test_ours_may_be_on_our_ports_and_others_are_found(rig: Rig) -> None:
    def uses() -> set[str]:
        return {each["use"] for each in _doctor(rig, "ham-c1", "machine")}

    mine = {"BGP", "BFD", "etcd", "the controller", "the looking glass", "firewall", "sysctl"}
    assert not uses() & mine
    assert not [use for use in uses() if use.startswith("way to")]
    rig.run("ham-c1", "nft", "add table inet other")
    rig.run(
        "ham-c1",
        "nft",
        "add chain inet other in { type filter hook input priority 0; policy drop; };"
        "add rule inet other in accept",
    )
    rig.client.fault("machine/ham-n1", "silent")
    found = uses()
    assert {"firewall", "way to ham-n1"} <= found
    rig.client.heal()
