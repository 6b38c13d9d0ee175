"""The ways to other edges in the first seconds."""

from itertools import pairwise

from pltfrms.model.network.topology import Role
from pltfrms.render.bird import render_bird
from pltfrms.render.conditions import Conditions
from pltfrms.render.routing.cold import cold_routes
from tests.render.platforms import SMALL


def test_every_way_ends_where_it_leads_and_gets_nearer() -> None:
    """Follow the nexthops machine by machine: no loop, no dead end."""
    edges = SMALL.machines_of(Role.EDGE)
    for me in edges:
        routes = cold_routes(SMALL, me)
        assert {route.loopback for route in routes} == {
            SMALL.loopback6(edge) for edge in edges if edge != me
        }
        for goal in routes:
            path = [me]
            while SMALL.loopback6(path[-1]) != goal.loopback:
                here = path[-1]
                way = next(r for r in cold_routes(SMALL, here) if r.loopback == goal.loopback)
                address, interface = way.nexthops[0]
                path.append(
                    next(
                        edge
                        for edge in edges
                        if edge != here
                        and (
                            interface == f"bb-{edge.name}"
                            or (
                                interface.startswith("fab-")
                                and edge.datacenter == here.datacenter
                                and address.packed[-2:] == edge.id.to_bytes(2, "big")
                            )
                        )
                    )
                )
                assert len(path) <= len(edges)
            assert all(one != other for one, other in pairwise(path))


def test_only_a_cold_edge_has_them() -> None:
    edge = SMALL.machines_of(Role.EDGE)[0].name
    node = SMALL.machines_of(Role.NODE)[0].name
    assert "static.cold6" in render_bird(SMALL, edge, Conditions(cold=True))
    assert "static.cold6" not in render_bird(SMALL, edge)
    assert render_bird(SMALL, node, Conditions(cold=True)) == render_bird(SMALL, node)
