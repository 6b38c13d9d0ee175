"""Twelve edges with route reflectors: real BIRDs, one namespace per machine."""

import os
import re
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from pltfrms.model.network.lab import Lab
from tests.render.instances_world import address, instance, instance_device, ready
from tests.render.namespaces import Net, eventually, network
from tests.render.test_bird_live import AGGREGATES, family, route, service
from tests.render.test_reflectors import TWELVE

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.xdist_group("bird-live"),
]
ADDRESSES = ("198.51.100.1", "2001:db8:100::1")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with network(TWELVE, Lab(), tmp_path_factory.mktemp("birds"), {}) as net:
        assert eventually(lambda: not net.sessions_down(), 60), net.sessions_down()
        for node in ("ams-n1", "lon-n1"):
            for address in ADDRESSES:
                service(net, node, address)
        yield net


def paths(net: Net, edge: str, address: str) -> set[str]:
    """Return the nexthops of all paths that an edge knows."""
    length = 128 if ":" in address else 32
    shown = net.birdc(edge, f"show route all {address}/{length}")
    return set(re.findall(r"BGP.next_hop: (\S+)", shown))


def same(known: Callable[[], set[str]], wanted: set[str]) -> bool:
    return known() == wanted


def gone(net: Net, edge: str, prefix: str) -> bool:
    return not route(net, edge, prefix, "104")


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_client_knows_all_paths_and_takes_the_nearest(net: Net, address: str) -> None:
    """Both clients hear the same of their reflectors, to whom both exits are equally far."""
    exits = {
        str(TWELVE.loopback6(TWELVE.machine(f"{datacenter}-e{number}")))
        for datacenter in ("ams", "lon")
        for number in (1, 2, 3, 4)
    }
    for client in ("fra-e3", "fra-e4"):
        known = partial(paths, net, client, address)
        assert eventually(partial(same, known, exits)), known()
    assert eventually(lambda: "dev bb-ams-e3" in route(net, "fra-e3", address))
    assert eventually(lambda: "dev bb-lon-e3" in route(net, "fra-e4", address))


def test_preferences_survive_reflection(net: Net) -> None:
    """A client of ams prefers instances next door; one of fra sees them as far away."""
    service(net, "ams-n1", ADDRESSES[0], proto=182)
    words = f"show route all {ADDRESSES[0]}/32"

    def local_preferences(edge: str) -> set[str]:
        return set(re.findall(r"BGP.local_pref: (\d+)", net.birdc(edge, words)))

    assert eventually(lambda: local_preferences("fra-e3") == {"45", "350"})
    assert eventually(lambda: local_preferences("ams-e4") == {"50", "48", "350"})
    assert eventually(lambda: "fab-" in route(net, "fra-e3", ADDRESSES[0]))
    service(net, "ams-n1", ADDRESSES[0])
    assert eventually(lambda: "dev bb-ams-e3" in route(net, "fra-e3", ADDRESSES[0]))


def test_all_edges_of_a_datacenter_know_its_instances_and_no_others_do(net: Net) -> None:
    instance_device(net, "ams-n1")
    instance(net, "ams-n1")
    wanted = {address("ams-n1"): [1010]}
    for number in (1, 2, 3, 4):
        assert eventually(lambda: ready(net, f"ams-e{number}") == wanted, 2)  # noqa: B023
        assert not ready(net, f"fra-e{number}")
    # A client has its own port to the node, and by reflectors what other edges have.
    show = f"show route {address('ams-n1')}/128"
    for session in ("node.ams-n1.a", "edge.ams-e1"):
        assert eventually(lambda: session in net.birdc("ams-e4", show), 2)  # noqa: B023


def test_a_client_hears_of_aggregates_elsewhere(net: Net) -> None:
    for prefix in AGGREGATES:
        end = "table 101 proto 181 metric 1"
        net.ip("lon-e4", f"{family(prefix)} route add unreachable {prefix} {end}")
        assert eventually(partial(route, net, "ams-e4", prefix, "104"), 2)
        assert "unreachable" in route(net, "ams-e4", prefix)
        net.ip("lon-e4", f"{family(prefix)} route del {prefix} table 101")
        assert eventually(partial(gone, net, "ams-e4", prefix), 1)


def test_a_client_hears_which_edges_of_other_datacenters_it_can_hear(net: Net) -> None:
    """Even those with whom its reflectors speak through the backbone links of other clients."""
    far = {
        edge: f"{TWELVE.loopback4(TWELVE.machine(edge))}"
        for edge in (f"{datacenter}-e{n}" for datacenter in ("ams", "lon") for n in range(1, 5))
    }

    def heard() -> set[str]:
        table = net.ip("fra-e4", "-4 route show table 104")
        return {edge for edge, address in far.items() if f"{address} " in table}

    assert eventually(lambda: heard() == set(far)), heard()
    net.ip("lon-e3", "link set bb-fra-e4 down")
    assert eventually(lambda: heard() == {edge for edge in far if "ams" in edge}), heard()
    net.ip("lon-e3", "link set bb-fra-e4 up")
