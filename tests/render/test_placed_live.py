"""An edge refuses from a node what is not placed there: real BIRDs."""

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pltfrms.model.network.topology import Guards, NodePrefixes
from pltfrms.render.bird import render_bird
from pltfrms.render.conditions import Conditions
from tests.render.instances_world import (
    PLATFORM,
    address,
    instance,
    instance_device,
    ready,
)
from tests.render.namespaces import Net, eventually, network
from tests.render.platforms import SMALL_LAB
from tests.render.test_bird_live import route, service
from tests.render.test_placed import permit

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.xdist_group("bird-live"),
]
NODE, EDGE = "fra-n1", "fra-e1"
SMALL_ONE = replace(
    PLATFORM,
    machines=tuple(machine for machine in PLATFORM.machines if machine.name in {NODE, EDGE}),
    links=(),
    peers=(),
    guards=Guards(node_prefixes=NodePrefixes.PLACED),
)
LAB = replace(SMALL_LAB, transits=(), ixps=(), eyeballs=(), networks=())
PREFIXES = ("198.51.100.1", "2001:db8:100::1")


@pytest.fixture
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with network(SMALL_ONE, LAB, tmp_path_factory.mktemp("birds"), {}) as net:
        assert eventually(lambda: not net.sessions_down(), 30), net.sessions_down()
        instance_device(net, NODE)
        yield net


def place(net: Net, *ids: int) -> None:
    permits = {NODE: tuple(permit(NODE, number) for number in ids)}
    text = render_bird(net.platform, EDGE, Conditions(permits=permits))
    log = str(net.directory / f"{EDGE}.log")
    config = net.directory / f"{EDGE}.conf"
    config.write_text(text.replace("/var/log/pltfrms/bird.log", log))
    assert "Reconfigured" in net.birdc(EDGE, "configure")


def heard(net: Net) -> list[bool]:
    """Return whether the edge has the service's prefixes, and its instance."""
    return [
        *(bool(route(net, EDGE, each)) for each in PREFIXES),
        address(NODE) in ready(net, EDGE),
    ]


def since(net: Net) -> list[str]:
    """Return the sessions with the node and since when they are as they are."""
    return [each for each in net.birdc(EDGE, "show protocols").splitlines() if "node." in each]


def test_what_is_not_placed_there_is_refused_until_it_is(net: Net) -> None:
    place(net, 2)
    before = since(net)
    assert len(before) == 2
    for prefix in PREFIXES:
        service(net, NODE, prefix)
    instance(net, NODE)
    log = net.directory / f"{EDGE}.log"
    things = ("198.51.100.1/32", "2001:db8:100::1/128", f"{address(NODE)}/128")
    assert eventually(
        lambda: all(f"not placed there: {each}" in log.read_text() for each in things), 3
    )
    assert heard(net) == [False, False, False]
    assert route(net, EDGE, "10.1.1.0/24"), "its own is always accepted"
    place(net, 1, 2)
    assert eventually(lambda: heard(net) == [True, True, True], 2)
    place(net)
    assert eventually(lambda: heard(net) == [False, False, False], 2)
    assert since(net) == before
