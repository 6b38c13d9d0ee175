"""Transits that send a full table, a default route alone, or both: is every client answered?"""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from pltfrms.drivers.bird.daemon import BirdDaemon
from pltfrms.model.network.peering import DefaultRoute
from pltfrms.model.network.topology import Guards, Platform
from pltfrms.model.running.state import OutsideTable
from pltfrms.planner.routing.way_back import has_way_back
from pltfrms.render.bird import render_bird
from tests.render.namespaces import Net, eventually, network
from tests.render.platforms import IXP, SMALL, SMALL_LAB, TRANSIT
from tests.render.test_bird_live import AGGREGATES, AMS_ONLY, CLIENT, aggregate, route, service

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.xdist_group("bird-live"),
]

EDGES: Final = ("fra-e1", "fra-e2", "ams-e1")
"""The first alone has a transit; the third reaches it over the backbone."""
FRA_ONLY: Final = ("198.51.100.3", "2001:db8:100::3")
ACCEPTING: Final = replace(
    SMALL,
    peers=(replace(TRANSIT, default=DefaultRoute.ACCEPT), IXP),
    guards=Guards(table_floor4=2, table_floor6=2),
)
"""Its full table has the networks of two clients."""
REFUSING: Final = replace(ACCEPTING, peers=(TRANSIT, IXP))
_ORIGINATE: Final = "".join(
    f"""
protocol static 'static.default{number}' {{
  ipv{number} {{ preference 1; }};
  route {default} unreachable;
}}
"""
    for number, default in ((4, "0.0.0.0/0"), (6, "::/0"))
)
_SENDS: Final = {
    "full": "if net.len = 0 then reject;",
    "default": "if net.len = 0 then accept; reject;",
    "both": "if net.len = 0 then accept;",
}


def send(net: Net, what: str) -> None:
    """Let the transit send these things to its customers, us."""
    file = net.directory / "transit1.conf"
    original = file.with_suffix(".original")
    if not original.exists():
        original.write_text(file.read_text())
    begin = "function to_customer() {\n"
    text = original.read_text().replace(begin, f"{begin}  {_SENDS[what]}\n")
    file.write_text(text)
    assert "Reconfigur" in net.birdc("transit1", "configure")


def believe(net: Net, platform: Platform) -> None:
    """Have the edges run what this platform says."""
    for edge in EDGES:
        log = str(net.directory / f"{edge}.log")
        text = render_bird(platform, edge).replace("/var/log/pltfrms/bird.log", log)
        (net.directory / f"{edge}.conf").write_text(text)
        assert "Reconfigur" in net.birdc(edge, "configure")


def tables(net: Net, edge: str) -> tuple[OutsideTable, ...]:
    bird = BirdDaemon(Path("/nonexistent"), net.directory / f"{edge}.ctl")
    return asyncio.run(bird.outside(SMALL.asn))


def ways_back(net: Net) -> set[bool]:
    """Return what edges and families have of ways back: all, none, or some."""
    return {has_way_back(ACCEPTING, each) for edge in EDGES for each in tables(net, edge)}


def has_default(net: Net) -> bool:
    """Return whether the edge over there has default routes of both families."""
    return all(each.default for each in tables(net, "ams-e1"))


def answered(net: Net) -> set[bool]:
    """Return whether the client behind the transit is answered by both datacenters."""
    return {
        net.ping("berlin", client, target)
        for addresses in (FRA_ONLY, AMS_ONLY)
        for client, target in zip(CLIENT, addresses, strict=True)
    }


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    directory = tmp_path_factory.mktemp("defaults")
    with network(ACCEPTING, SMALL_LAB, directory, {"transit1": _ORIGINATE}) as net:
        assert eventually(lambda: not net.sessions_down(), 30), net.sessions_down()
        for node, addresses in (("fra-n1", FRA_ONLY), ("ams-n1", AMS_ONLY)):
            for address in addresses:  # the node itself answers for the instance
                service(net, node, address)
                net.ip(node, f"addr add {address}/{128 if ':' in address else 32} dev lo")
        for prefix in AGGREGATES:
            aggregate(net, "add", "fra-e1", prefix)
        for prefix in AGGREGATES:
            assert eventually(lambda: route(net, "berlin", prefix))  # noqa: B023
        yield net


@pytest.mark.parametrize("what", ["full", "default", "both"])
def test_clients_are_answered_whatever_the_transit_sends(net: Net, what: str) -> None:
    send(net, what)
    expected = what != "full"

    def arrived() -> bool:
        every = [each for edge in EDGES for each in tables(net, edge)]
        return all(
            each.default is expected and (each.routes == 2) is (what != "default")
            for each in every
        )

    assert eventually(arrived, 5), {edge: tables(net, edge) for edge in EDGES}
    assert eventually(lambda: answered(net) == {True}, 5)
    assert ways_back(net) == {True}


def test_every_edge_sends_along_the_default_route_where_the_transit_is(net: Net) -> None:
    send(net, "default")
    for words in ("-4 route show default", "-6 route show default"):
        for edge, device in zip(EDGES, ("x-transit1", "fab-a", "bb-fra-e1"), strict=True):
            assert eventually(lambda: device in net.ip(edge, words), 5), edge  # noqa: B023
    assert "unreachable" in route(net, "fra-e1", "10.0.0.0/8"), "nothing of inside goes out"
    assert "unreachable" in route(net, "ams-e1", "fd00:77::/48")


def test_nodes_take_all_edges_for_equal_and_hear_nothing_of_the_outside(net: Net) -> None:
    for what in ("full", "default"):
        send(net, what)
        assert eventually(lambda: has_default(net) is (what == "default"), 5)  # noqa: B023
        for version, prefix in ((4, "0.0.0.0/0"), (6, "::/0")):
            shown = f"-{version} route show default"
            assert eventually(lambda: net.ip("fra-n1", shown).count("nexthop") == 4, 5)  # noqa: B023
            for machine in ("fra-n1", "ams-c1"):
                said = net.birdc(machine, f"show route all {prefix} where source = RTS_BGP")
                assert "BGP.as_path: 64500\n" in said
                assert "64601" not in said
                assert "(64500, 1, 7)" not in said


def test_a_default_route_is_never_told_to_the_outside(net: Net) -> None:
    send(net, "both")
    assert eventually(lambda: has_default(net), 5)
    for machine in ("transit1", "ixp1"):
        for protocol in ("fra-e1", "fra-e2", "ams-e1"):
            shown = net.birdc(machine, f'show route where proto ~ "*{protocol}*"')
            assert "0.0.0.0/0" not in shown
            assert "::/0" not in shown


def test_a_refused_default_route_is_no_way_back_and_that_is_seen(net: Net) -> None:
    """The outage: all sessions are up, all is announced, and nobody is answered."""
    send(net, "default")
    believe(net, REFUSING)
    assert eventually(lambda: ways_back(net) == {False}, 5), "in every edge"
    assert answered(net) == {False}
    assert not net.sessions_down()
    believe(net, ACCEPTING)
    assert eventually(lambda: ways_back(net) == {True}, 5)
    assert eventually(lambda: answered(net) == {True}, 5)


def test_a_default_route_goes_with_its_session_everywhere(net: Net) -> None:
    send(net, "default")
    assert eventually(lambda: ways_back(net) == {True}, 5)
    net.birdc("fra-e1", 'disable "peer.transit1.*"')
    assert eventually(lambda: ways_back(net) == {False}, 5)
    for edge in EDGES:
        assert eventually(lambda: not net.ip(edge, "-4 route show default"), 5), edge  # noqa: B023
    assert eventually(lambda: net.ip("fra-n1", "-4 route show default").count("nexthop") == 4)
    net.birdc("fra-e1", 'enable "peer.transit1.*"')
    assert eventually(lambda: ways_back(net) == {True}, 15)
