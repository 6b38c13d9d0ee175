"""A router of others in a lab: FRR as the lab starts it, with a node of ours."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from pltfrms.lab.client.client import LabClient, start_capsule
from pltfrms.lab.layout.assembly import make_parts, network_lines
from pltfrms.lab.layout.speakers import BIRD, BIRD_CONFIG
from pltfrms.lab.parts import LabParts, MachineParts
from pltfrms.model.network.lab import Lab
from pltfrms.render.bird import render_bird
from pltfrms.render.external import render_external
from pltfrms.render.kernel import network_state
from tests.lab.labs import inside
from tests.render.external import OTHERS

PLATFORM = replace(
    OTHERS, machines=tuple(one for one in OTHERS.machines if one.name in {"fra-x3", "fra-n1"})
)
BIRDC = ("birdc", "-s", "/run/pltfrms/bird.ctl")


def _node(name: str) -> MachineParts:
    state = network_state(PLATFORM, name)
    return MachineParts(
        name=name,
        units=(BIRD,),
        files=((BIRD_CONFIG, render_bird(PLATFORM, name)),),
        sysctls=state.sysctls,
        network=tuple(network_lines(replace(state, rules=()))),
    )


def _parts() -> LabParts:
    parts = make_parts(PLATFORM, Lab(), "")
    edge = parts.machine("fra-x3")
    return replace(parts, machines=(edge, _node("fra-n1")))


def eventually(condition: Callable[[], object], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(condition())


def test_it_runs_frr_with_the_text_that_we_print_and_no_agent() -> None:
    edge = make_parts(PLATFORM, Lab(), "").machine("fra-x3")
    assert [unit.name for unit in edge.units] == ["zebra", "bfdd", "bgpd"]
    assert "".join(text for _, text in edge.files) == render_external(PLATFORM, "fra-x3")


@pytest.fixture
def lab() -> Iterator[LabClient]:
    lab = start_capsule("test-external", "/somewhere", _parts(), lambda _text: None)
    try:
        yield lab
    finally:
        lab.down()


@pytest.mark.root
@pytest.mark.xdist_group("netns")
def test_frr_and_a_node_of_ours_speak(lab: LabClient) -> None:
    def up() -> int:
        return inside(lab, "fra-n1", *BIRDC, "show protocols").count("Established")

    assert eventually(lambda: up() == 2, 20)
    for family, pool in (("-4", "10.1.1.0/24"), ("-6", "fd00:77:0:1001:1::/80")):
        shown = ("ip", family, "route", "show", pool)
        assert eventually(lambda: inside(lab, "fra-x3", *shown).count("nexthop") == 2, 5)  # noqa: B023
    logs = inside(lab, "fra-x3", "sh", "-c", "cat /var/log/pltfrms/*.log")
    assert "starting" in logs
    assert [line for line in logs.splitlines() if "config line" in line] == []
