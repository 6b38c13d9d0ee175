"""Nodes know who has the connections that a drain brings to them."""

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from pltfrms.model.network.interventions import Drain, Interventions
from tests.planner.targets import make_target
from tests.strategies import (
    make_allocation,
    make_platform,
    make_service,
    make_snapshot,
    make_spec,
)

PLATFORM = make_platform({"fra": 2, "ams": 1})
ALLOCATIONS = (
    make_allocation("web.fra.1-1", "fra-n1"),
    make_allocation("web.ams.1-1", "ams-n1", slot=2),
    make_allocation("gone.ams.1-1", "ams-n1", slot=3),
)
SNAPSHOT = make_snapshot(PLATFORM, (make_service(make_spec()),), ALLOCATIONS)
THERE = PLATFORM.instance6(PLATFORM.machine("ams-n1"), 1, 2)


def guests(machine: str, *drains: Drain) -> tuple[IPv6Address, ...]:
    snapshot = replace(SNAPSHOT, interventions=Interventions(drains=drains))
    return make_target(snapshot, machine).guests


@pytest.mark.parametrize(
    "drain",
    [
        Drain(datacenter="ams", since_ms=0, wait_ms=9),
        Drain(datacenter="fra", since_ms=SNAPSHOT.now_ms + 2000, wait_ms=9),
        Drain(peer="transit1", edge="fra-e1", since_ms=0, wait_ms=9),
    ],
)
def test_nodes_know_the_instances_elsewhere_while_a_drain_moves_clients_or_is_about_to(
    drain: Drain,
) -> None:
    assert guests("fra-n2", drain) == (THERE,)
    assert guests("fra-e1", drain) == ()


def test_nobody_has_guests_when_no_clients_are_moved() -> None:
    assert guests("fra-n1") == ()
    assert guests("fra-n1", Drain(node="ams-n1", since_ms=0, wait_ms=0)) == ()
    over = Drain(datacenter="ams", since_ms=0, wait_ms=9, until_ms=1)
    assert guests("fra-n1", over) == (() if SNAPSHOT.now_ms >= 1 else (THERE,))
