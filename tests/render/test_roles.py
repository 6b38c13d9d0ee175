"""What BIRD is told on machines with several roles: it parses, and fits together."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.model.network.peering import Peer
from pltfrms.model.network.topology import Guards, NodePrefixes, Platform, Role, link_local
from pltfrms.render.bird import render_bird
from pltfrms.render.conditions import Conditions
from pltfrms.render.kernel import network_state
from tests.render.platforms import IXP, TRANSIT
from tests.render.roles import MIXED, PAIR, THREE, server, triangle
from tests.render.test_bird import complaints

ONE = triangle(server("fra1", 1))
ONE = replace(ONE, links=())
WITHOUT_IPV4 = replace(MIXED, infrastructure4=None)
SHAPES = {"one": ONE, "three": THREE, "pair": PAIR, "mixed": MIXED, "no IPv4": WITHOUT_IPV4}
EVERY = [(shape, each.name) for shape, one in SHAPES.items() for each in one.machines]
_SESSION = re.compile(
    r"protocol bgp '([^']+)' from (?:machine|edge)_session \{.*?\n\}", re.DOTALL
)


def sessions(platform: Platform, name: str) -> dict[str, str]:
    """Return the text of each session inside, by its name."""
    text = render_bird(platform, name)
    found = [(each[1], each[0]) for each in _SESSION.finditer(text)]
    assert not [name for name, count in Counter(name for name, _ in found).items() if count > 1]
    return dict(found)


@pytest.mark.parametrize(("shape", "name"), EVERY)
def test_bird_accepts_every_text(shape: str, name: str, tmp_path: Path) -> None:
    platform = SHAPES[shape]
    assert complaints(render_bird(platform, name), tmp_path) == ""
    placed = replace(platform, guards=Guards(node_prefixes=NodePrefixes.PLACED))
    assert complaints(render_bird(placed, name, Conditions(permits={})), tmp_path) == ""


@pytest.mark.parametrize("peers", [(TRANSIT,), (TRANSIT, IXP)])
def test_bird_accepts_an_edge_and_node_with_peers(
    peers: tuple[Peer, ...], tmp_path: Path
) -> None:
    machines = (server("fra-e1", 1), server("fra-e2", 2), server("ams-e1", 1))
    platform = replace(MIXED, machines=machines, links=(), peers=peers)
    for machine in machines:
        assert complaints(render_bird(platform, machine.name), tmp_path) == ""


@pytest.mark.parametrize("shape", SHAPES)
def test_every_session_has_its_other_end(shape: str) -> None:
    platform = SHAPES[shape]
    ends = {
        (machine.name, said.split(".")[1], said.split(".")[2])
        for machine in platform.machines
        for said in sessions(platform, machine.name)
        if said.count(".") == 2
    }
    assert ends == {(there, here, fabric) for here, there, fabric in ends}
    for datacenter in platform.datacenters:
        here = [m for m in platform.machines if m.datacenter == datacenter.name]
        for one in here:
            for other in here:
                meet = one.has(Role.EDGE) and other.has(Role.NODE)
                assert not meet or one == other or (one.name, other.name, "a") in ends


@pytest.mark.parametrize("shape", SHAPES)
def test_both_ends_agree_on_their_asns(shape: str) -> None:
    platform = SHAPES[shape]
    said = {
        (machine.name, other, fabric): ends(platform, machine.name, text)
        for machine in platform.machines
        for name, text in sessions(platform, machine.name).items()
        if name.count(".") == 2
        for _, other, fabric in (name.split("."),)
    }
    for (one, other, fabric), (ours, address, theirs) in said.items():
        assert (theirs, ours) == (said[other, one, fabric][0], said[other, one, fabric][2])
        assert address == str(link_local(platform.machine(other)))


def ends(platform: Platform, name: str, session: str) -> tuple[int, str, int]:
    """Return our ASN, the neighbour's address and its ASN."""
    usual = re.search(
        r"template bgp \w+ \{\n  local (fe80::\S+) as (\w+);", render_bird(platform, name)
    )
    ours = re.search(r"\n  local (fe80::\S+) as (\w+);", session) or usual
    theirs = re.search(r"neighbor (fe80::\S+)%'\S+' as (\w+);", session)
    assert ours
    assert theirs
    our_asn = {"OUR_ASN": str(platform.asn)}
    return int(our_asn.get(ours[2], ours[2])), theirs[1], int(our_asn.get(theirs[2], theirs[2]))


def test_a_machine_alone_has_no_session_inside() -> None:
    assert sessions(ONE, "fra1") == {}
    assert set(sessions(THREE, "fra1")) == {"edge.ams1", "edge.lon1"}


def test_an_edge_that_is_a_node_looks_its_own_services_up_first() -> None:
    state = network_state(THREE, "fra1")
    assert [rule.table for rule in state.rules] == [100]
    assert ("net/ipv6/conf/all/forwarding", "1") in state.sysctls
