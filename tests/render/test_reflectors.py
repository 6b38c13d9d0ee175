"""Who speaks iBGP with whom, with few edges and with many."""

import dataclasses
from ipaddress import ip_address
from pathlib import Path

import pytest

from pltfrms.model.network.links import Link, LinkKind
from pltfrms.model.network.topology import Datacenter, Machine, Platform, Role
from pltfrms.render.bird import render_bird
from pltfrms.render.routing.mesh import managed_edges, mesh
from tests.render.platforms import SMALL, machine
from tests.render.test_bird import complaints


def platform_of(edges_per_datacenter: tuple[int, ...]) -> Platform:
    """Return datacenters `fra`, `ams`, `lon`, ... with a node and so many edges each."""
    names = ("fra", "ams", "lon", "par")[: len(edges_per_datacenter)]
    return dataclasses.replace(
        SMALL,
        peers=(),
        datacenters=tuple(
            Datacenter(name=name, id=number, fabrics=("a",))
            for number, name in enumerate(names, 1)
        ),
        machines=tuple(
            each
            for name, count in zip(names, edges_per_datacenter, strict=True)
            for each in (
                *(machine(f"{name}-e{n}", name, Role.EDGE, n) for n in range(count, 0, -1)),
                machine(f"{name}-n1", name, Role.NODE, 1),
            )
        ),
        links=(Link(a="fra-e3", b="ams-e3"), Link(a="fra-e4", b="lon-e3")),
    )


TWELVE = platform_of((4, 4, 4))


def partners(platform: Platform, name: str) -> set[str]:
    found = mesh(platform, platform.machine(name)).edges
    return {edge.name.removeprefix("edge.") for edge in found}


def test_up_to_ten_edges_all_speak_with_all() -> None:
    ten = platform_of((4, 4, 2))
    for edge in managed_edges(ten):
        assert len(partners(ten, edge.name)) == 9
        assert not mesh(ten, edge).reflected
    text = render_bird(ten, "fra-e1")
    assert "add paths on" not in text
    assert "rr client" not in text


def test_from_eleven_on_the_first_two_of_every_datacenter_reflect() -> None:
    reflectors = {f"{dc}-e{n}" for dc in ("fra", "ams", "lon") for n in (1, 2)}
    assert partners(TWELVE, "fra-e1") == reflectors - {"fra-e1"} | {"fra-e3", "fra-e4"}
    assert partners(TWELVE, "fra-e4") == {"fra-e1", "fra-e2"}
    clients = {e.name for e in mesh(TWELVE, TWELVE.machine("fra-e1")).edges if e.client}
    assert clients == {"edge.fra-e3", "edge.fra-e4"}
    assert not any(e.client for e in mesh(TWELVE, TWELVE.machine("fra-e4")).edges)


@pytest.mark.parametrize("shape", [(11,), (10, 1), (5, 5, 5), (1, 1, 9), (3, 3, 3, 3)])
def test_both_ends_of_a_session_know_it_and_one_of_them_reflects(
    shape: tuple[int, ...],
) -> None:
    platform = dataclasses.replace(platform_of(shape), links=())
    for edge in managed_edges(platform):
        for other in partners(platform, edge.name):
            assert edge.name in partners(platform, other)
    told = {edge.name for edge in managed_edges(platform)}
    for edge in managed_edges(platform):
        assert heard(platform, edge) | {edge.name} == told


def heard(platform: Platform, me: Machine) -> set[str]:
    """Return whose routes an edge hears of, following them from edge to edge.

    A reflector passes a client's routes on to everybody and everybody's to its clients.
    """
    found: set[str] = set()
    for origin in managed_edges(platform):
        told, fresh = {origin.name}, [(origin.name, "")]
        while fresh:
            name, source = fresh.pop()
            for edge in mesh(platform, platform.machine(name)).edges:
                target = edge.name.removeprefix("edge.")
                passes = not source or edge.client or source in clients(platform, name)
                if passes and target not in told:
                    told.add(target)
                    fresh.append((target, name))
        found |= {origin.name} if me.name in told else set()
    return found - {me.name}


def clients(platform: Platform, name: str) -> set[str]:
    found = mesh(platform, platform.machine(name)).edges
    return {edge.name.removeprefix("edge.") for edge in found if edge.client}


def test_an_edge_of_others_has_no_part_in_it() -> None:
    edges = tuple(
        dataclasses.replace(each, external=each.name in {"fra-e1", "lon-e4"})
        for each in TWELVE.machines
    )
    platform = dataclasses.replace(TWELVE, machines=edges)
    assert not mesh(platform, platform.machine("fra-e2")).reflected
    assert partners(platform, "fra-e2").isdisjoint({"fra-e1", "lon-e4"})


def test_bird_accepts_reflectors_and_clients(tmp_path: Path) -> None:
    for name in ("fra-e1", "fra-e3", "lon-e4"):
        text = render_bird(TWELVE, name)
        assert text.count("add paths on;") == 2
        assert text.count("rr client;") == (2 if name == "fra-e1" else 0)
        assert complaints(text, tmp_path) == ""


def test_nobody_may_tell_an_edge_the_way_to_the_far_end_of_its_tunnel(tmp_path: Path) -> None:
    endpoints = (ip_address("192.0.2.1"), ip_address("192.0.2.2"))
    link = dataclasses.replace(SMALL.links[0], kind=LinkKind.WIREGUARD, endpoints=endpoints)
    text = render_bird(dataclasses.replace(SMALL, links=(link,)), "fra-e1")
    assert "define OUR_TUNNEL_ENDS4 = [ 192.0.2.2/32- ];" in text
    assert "OUR_TUNNEL_ENDS6" not in text
    assert "OUR_TUNNEL_ENDS" not in render_bird(SMALL, "fra-e1")
    assert complaints(text, tmp_path) == ""
