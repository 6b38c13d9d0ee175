"""What an edge says of nodes with which it has no session. Texts are BIRD 2.0.12's."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from pltfrms.agent.routing.sessions import NODE_COALESCE_SECONDS
from pltfrms.agent.routing.witness import WAIT_SECONDS, Absences, Witness
from pltfrms.model.network.topology import Role
from pltfrms.model.running.machine import (
    INSTANCE_TABLE,
    MAIN_TABLE,
    REMOTE_TABLE,
    BgpState,
    Route,
)
from tests.agent.bench import Bench
from tests.simulation.virtual import run_virtual

UP = "Established"
NEVER = "Active"
CLOSED = "Active Socket: Connection closed"
SILENT = "Connect Error: BFD session down"


def sessions(*details: str, node: str = "fra-n1") -> tuple[BgpState, ...]:
    return tuple(
        BgpState(name=f"{Role.NODE}.{node}.{fabric}", up=detail == UP, detail=detail)
        for fabric, detail in zip("ab", details, strict=False)
    )


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ((UP, UP), Absences()),
        ((UP, SILENT), Absences()),
        ((SILENT, SILENT), Absences(("fra-n1",), ("fra-n1",))),
        ((SILENT, "Idle Error: Hold timer expired"), Absences(("fra-n1",), ("fra-n1",))),
        ((CLOSED, CLOSED), Absences(("fra-n1",))),
        ((CLOSED, SILENT), Absences(("fra-n1",))),
        (("Idle Received: Administrative shutdown", CLOSED), Absences(("fra-n1",))),
        ((NEVER, NEVER), Absences()),
        ((NEVER, SILENT), Absences()),
        (("Connect Socket: Connection refused", CLOSED), Absences()),
    ],
)
def test_how_a_session_ended_says_what_became_of_the_node(
    details: tuple[str, ...], said: Absences
) -> None:
    assert Witness().see(sessions(*details), 0.0) == said


def test_a_node_is_told_by_its_whole_name_whatever_dots_are_in_it() -> None:
    name = "Node1.fra1.example.net"
    states = (*sessions(SILENT, SILENT, node=name), *sessions(UP, UP, node="Node1.fra2"))
    assert Witness().see(states, 0.0) == Absences((name,), (name,))


def test_an_edge_that_just_began_says_nothing_until_a_session_would_have_come() -> None:
    witness = Witness()
    assert witness.see(sessions(NEVER, NEVER), 100.0) == Absences()
    assert witness.see(sessions(NEVER, NEVER), 100.0 + WAIT_SECONDS - 0.1) == Absences()
    assert witness.see(sessions(NEVER, NEVER), 100.0 + WAIT_SECONDS) == Absences(("fra-n1",))
    witness.forget()
    assert witness.see(sessions(NEVER, NEVER), 120.0) == Absences()


def test_sessions_with_others_than_nodes_say_nothing() -> None:
    states = (
        BgpState(name="edge.fra-e2", up=False, detail=SILENT),
        BgpState(name="peer.node.ipv4", up=False, detail=SILENT),
    )
    assert Witness().see(states, 0.0) == Absences()


def test_an_edge_reports_at_once_that_a_node_fell_silent() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        bench.bird.states = sessions(UP, UP)
        async with bench.life():
            await bench.passes(0.3)
            assert bench.status.missed == ()
            bench.bird.states = sessions(SILENT, SILENT)
            bench.network.set_route(
                Route(
                    prefix=ip_network("fd00::1/128"), table=INSTANCE_TABLE, proto=12, metric=1
                )
            )
            await bench.passes(0.2)
            said = bench.controllers.heartbeats[-1].status
            assert (said.missed, said.vanished) == (("fra-n1",), ("fra-n1",))
            bench.bird.alive = False
            await bench.passes(3.0)
            assert (bench.status.missed, bench.status.vanished) == ((), ())

    run_virtual(story())


def test_only_edges_say_what_they_miss() -> None:
    async def story() -> None:
        bench = Bench("fra-n1")
        async with bench.life():
            assert bench.status.missed is None

    run_virtual(story())


def test_nodes_tell_of_an_edge_that_is_gone_as_soon_as_a_way_to_it_ends() -> None:
    """With an edge goes a part of the default route; other routes are no reason to ask."""

    def states(*, up: bool) -> tuple[BgpState, ...]:
        detail = "Established" if up else SILENT
        return (BgpState(name="edge.fra-e1.a", up=up, detail=detail),)

    async def story() -> None:
        bench = Bench("fra-n1")
        bench.bird.states = states(up=True)
        async with bench.life():
            way = Route(prefix=ip_network("::/0"), table=MAIN_TABLE, proto=12, metric=32)
            bench.network.set_route(replace(way, table=REMOTE_TABLE))
            await bench.passes(NODE_COALESCE_SECONDS + 0.3)  # whatever that was, it is over
            bench.bird.states = states(up=False)
            bench.network.set_route(way)
            await bench.passes(NODE_COALESCE_SECONDS + 0.1)
            (said,) = bench.controllers.heartbeats[-1].status.sessions
            assert not said.up

    run_virtual(story())
