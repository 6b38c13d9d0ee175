"""What machines are told where the infrastructure has no IPv4, or little of it."""

from dataclasses import replace
from ipaddress import IPv4Network

from pltfrms.model.network.topology import Role
from pltfrms.render.bird import render_bird
from pltfrms.render.filter import render_filter
from pltfrms.render.kernel import network_state
from tests.render.platforms import SMALL

BARE = replace(SMALL, infrastructure4=None)
_LONE = "10.0.0.0/8"


def test_without_ipv4_no_machine_has_an_ipv4_address_but_on_ports_to_the_outside() -> None:
    for machine in BARE.machines:
        outside = {session.interface for _, session in BARE.sessions_of(machine.name)}
        for device in network_state(BARE, machine.name).devices:
            versions = {address.version for address in device.addresses}
            assert versions <= ({4, 6} if device.name in outside else {6}), device


def test_without_ipv4_edges_tell_each_other_a_mark_and_look_for_it() -> None:
    home, far = (BARE.machine(name) for name in ("fra-e1", "ams-e1"))
    mine, theirs = (str(BARE.mesh_mark(each)) for each in (home, far))
    text = render_bird(BARE, "fra-e1")
    assert f"route {mine} unreachable;" in text
    assert f"source = RTS_STATIC && net = {mine} then return true;" in text
    (sought,) = [line for line in text.splitlines() if "define EDGES_ELSEWHERE" in line]
    assert theirs in sought
    assert mine not in sought
    piped = text[text.index("protocol pipe 'pipe.elsewhere6'") :].split("}")[0]
    assert "is_edge_elsewhere()" in piped
    assert "mark6" not in render_bird(SMALL, "fra-e1")


def test_no_address_of_the_usual_prefix_is_in_any_text_of_a_platform_that_has_none() -> None:
    for platform in (BARE, replace(SMALL, infrastructure4=IPv4Network("172.20.0.0/16"))):
        for machine in platform.machines:
            lines = render_bird(platform, machine.name).splitlines()
            usual = [line for line in lines if "10." in line and "router id" not in line]
            assert all("10.0.0.0/8+" in line for line in usual), usual
            # Towards the outside it is as private as every other such prefix.
            text = render_filter(platform, machine.name).split("chain to_outside")
            assert _LONE not in text[0] + text[-1].partition("chain to_edge")[2]


def test_a_node_learns_instances_from_a_pool_as_long_as_the_prefix_makes_it() -> None:
    platform = replace(SMALL, infrastructure4=IPv4Network("172.20.0.0/16"))
    node = platform.machines_of(Role.NODE, "fra")[0]
    assert str(platform.pool4(node)) == "172.20.16.64/26"
    assert f"route {platform.pool4(node)} unreachable;" in render_bird(platform, node.name)
    edge = platform.machines_of(Role.EDGE, "fra")[0]
    assert f"{platform.pool4(node)} ]" in render_bird(platform, edge.name)
