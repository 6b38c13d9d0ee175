"""The expected catchment, on the platform that everybody starts with."""

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from pltfrms.model.network.announcements import announcements
from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.network.lab import Lab
from pltfrms.model.network.topology import Platform
from pltfrms.model.network.traffic import Override
from pltfrms.planner.routing.catchment import catchments
from pltfrms.specfile import load_lab, load_platform

EXAMPLE = Path(__file__).parents[3] / "examples" / "three-datacenters"
PREFIX = ip_network("198.51.100.1/32")
EVERYWHERE = ("fra", "ams", "lon")


@pytest.fixture(scope="module")
def platform() -> Platform:
    return load_platform(EXAMPLE / "platform.yaml")


@pytest.fixture(scope="module")
def lab(platform: Platform) -> Lab:
    return load_lab(EXAMPLE / "lab.yaml", platform)


def answers(
    platform: Platform,
    lab: Lab,
    interventions: Interventions | None = None,
    serving: tuple[str, ...] = EVERYWHERE,
) -> dict[str, tuple[str, ...]]:
    made = announcements(platform, interventions or Interventions(), 1000)
    return {
        each.client: each.datacenters
        for each in catchments(platform, lab, made, PREFIX, serving)
    }


def test_the_nearest_datacenter_answers(platform: Platform, lab: Lab) -> None:
    wished = {eyeball.name: (eyeball.nearest,) for eyeball in lab.eyeballs}
    assert answers(platform, lab) == wished


def test_where_a_service_does_not_run_the_nearest_by_backbone_answers(
    platform: Platform, lab: Lab
) -> None:
    found = answers(platform, lab, serving=("ams", "lon"))
    assert found["berlin"] == ("ams",), "5 ms to ams, 14 ms to lon"
    assert answers(platform, lab, serving=()) == dict.fromkeys(found, ())


@pytest.mark.parametrize("wait_ms", [0, 10_000])
def test_a_drained_peer_is_used_by_nobody_who_has_another_path(
    platform: Platform, lab: Lab, wait_ms: int
) -> None:
    drain = Drain(peer="ixp1", since_ms=1000, wait_ms=wait_ms)
    found = answers(platform, lab, Interventions(drains=(drain,)))
    assert found["reading"] == ("ams",), "over transit2, whose best link is that of ams"
    assert found["berlin"] == ("fra",)


def test_a_longer_path_moves_traffic_only_where_it_is_said(
    platform: Platform, lab: Lab
) -> None:
    longer = Override(peer="transit1", datacenter="fra", prepend=2)
    found = answers(replace(platform, traffic=(longer,)), lab)
    assert found["berlin"] == ("ams",), "transit1 now prefers its own link to ams"
    assert found["reading"] == ("lon",)


def test_without_any_announcement_nobody_is_answered(platform: Platform, lab: Lab) -> None:
    silent = replace(platform, traffic=(Override(announce=False),))
    assert set(answers(silent, lab).values()) == {()}
