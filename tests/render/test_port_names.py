"""Machine ports with the names that the spec gives, and several links between two edges."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from pltfrms.lab.layout.wiring import make_wiring
from pltfrms.model.network.links import FabricPort
from pltfrms.model.network.topology import Platform
from pltfrms.model.network.tunnels import tunnel_keys, tunnels_of
from pltfrms.planner.balancing.balancing import hooks_of
from pltfrms.planner.changes.ways import NOT_MEASURED, Intent, links
from pltfrms.render.bird import render_bird
from pltfrms.render.conditions import Conditions
from pltfrms.render.external import render_external
from pltfrms.render.filter import render_filter
from pltfrms.render.kernel import network_state
from pltfrms.render.routing.cold import cold_routes
from tests.planner.networks import NOTHING
from tests.render.external import OTHERS
from tests.shapes.shapes import read

VLANS = read("vlans-and-bonds").platform
LINES = read("two-lines-to-each").platform
PORTS = {
    "ham-e1": {"eno1.100", "bond0.20", "eno1.30", "eno2.4000"},
    "ham-n1": {"eno1.100", "bond0.20"},
    "ham-n2": {"enp3s0f0np0", "bond0.20"},
    "ham-c1": {"eno1.100", "bond0.20"},
    "ber1": {"eno1.100", "fab-b", "eno1.30", "br0.7"},
    "ber2": {"eno1.100", "bond0.20", "wg-hamburg_2"},
}


def _texts(platform: Platform, machine: str) -> Iterable[str]:
    yield render_bird(platform, machine, Conditions(cold=True))
    yield render_filter(platform, machine)
    yield repr(network_state(platform, machine))
    yield repr(hooks_of(platform, machine, {}))


@pytest.mark.parametrize("machine", sorted(PORTS))
def test_a_machine_is_told_of_its_ports_by_their_names_and_of_no_others(machine: str) -> None:
    state = network_state(VLANS, machine)
    assert {each.name for each in state.devices} == {"lo", *PORTS[machine]}
    for text in _texts(VLANS, machine):
        for usual in ("fab-a", "fab-b", "bb-", "x-"):
            if not any(port.startswith(usual) for port in PORTS[machine]):
                assert usual not in text.replace('"fab-*", "bb-*"', "").replace('"fab-*"', "")
    hooked = {each.device for each in hooks_of(VLANS, machine, {})}
    assert hooked == PORTS[machine]


@pytest.mark.parametrize("machine", sorted(PORTS))
def test_bfd_runs_fast_on_every_port_inside_whatever_its_name(machine: str) -> None:
    text = render_bird(VLANS, machine)
    bfd = text[text.index("protocol bfd") :]
    first = bfd[bfd.index("interface") : bfd.index("{", bfd.index("interface"))]
    for port in PORTS[machine] - {"eno2.4000", "br0.7", "fab-b"}:
        assert f'"{port}"' in first
    assert "eno2.4000" not in first


def test_sysctls_of_a_vlan_are_paths_with_slashes_since_its_name_has_a_dot() -> None:
    sysctls = dict(network_state(VLANS, "ham-n1").sysctls)
    assert sysctls["net/ipv6/conf/eno1.100/addr_gen_mode"] == "1"


def test_traffic_is_counted_at_the_ports_that_carry_it() -> None:
    intent = Intent(platform=VLANS, interventions=NOTHING, at_ms=0)
    ends = links(intent, NOT_MEASURED)
    assert ("ham-e1", "eno1.30") in ends
    assert ("ber1", "eno1.30") in ends
    assert ("ber2", "wg-hamburg_2") in ends
    assert ("ham-e2", "bb-ber2") in ends


def test_the_lab_makes_ports_with_these_names() -> None:
    shape = read("vlans-and-bonds")
    assert shape.lab is not None
    wiring = make_wiring(VLANS, shape.lab)
    for machine, ports in PORTS.items():
        assert {port.interface for _, port in wiring.ports_of(machine)} == ports


def test_a_router_of_others_is_told_the_names_that_its_ports_have_in_the_spec() -> None:
    port = FabricPort(fabric="a", interface="eno1.100")
    machines = tuple(replace(each, ports=(port,)) for each in OTHERS.machines)
    text = render_external(replace(OTHERS, machines=machines), "fra-x3")
    assert "interface eno1.100\n" in text
    assert "fab-a" not in text


def test_links_between_the_same_two_edges_have_names_ports_and_keys_of_their_own() -> None:
    ours = LINES.links_of("osl-e1")
    assert [link.name for link in ours] == [
        "osl-e1--got-e1",
        "got-e1--osl-e1:coast",
        "osl-e1--got-e1:spare",
        "osl-e1--osl-e2",
    ]
    ports = [link.interface_at("osl-e1") for link in ours]
    assert ports == ["bb-got-e1", "eno3", "bb-got-e1.spare", "eno5"]
    near, far = (tunnels_of(LINES, edge) for edge in ("osl-e1", "got-e1"))
    assert [each.interface for each in (*near, *far)] == ["bb-got-e1.spare", "bb-osl-e1.spare"]
    here = tunnel_keys(b"x" * 32, "osl-e1", near[0], 1)
    there = tunnel_keys(b"x" * 32, "got-e1", far[0], 1)
    assert (here.ours, here.theirs) == (there.theirs, there.ours)


def test_a_cold_start_takes_all_links_to_an_edge_at_once() -> None:
    far = LINES.machine("got-e1")
    (way,) = (
        each
        for each in cold_routes(LINES, LINES.machine("osl-e1"))
        if each.loopback == LINES.loopback6(far)
    )
    ports = [port for _, port in way.nexthops]
    assert ports == ["bb-got-e1", "eno3", "bb-got-e1.spare"]


def test_a_link_of_one_datacenter_stands_in_for_the_fabric_and_costs_more() -> None:
    text = render_bird(LINES, "osl-e1", Conditions(costs={"osl-e1--osl-e2": 10}))
    assert 'interface "eno5" {\n      type ptp; cost 10;' in text
    assert 'interface "fab-a" {\n      type ptp; cost 1;' in text
