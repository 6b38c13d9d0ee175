"""On how many sessions an aggregate is heard, and what is not known of it."""

from dataclasses import replace

import pytest

from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.topology import Guards, Platform, Role
from pltfrms.model.network.traffic import Override
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import AggregateStatus, MachineStatus, SessionStatus
from pltfrms.planner.routing.visibility import Visibility, visibility
from tests.planner.networks import FOUR, NETWORK, NOTHING, NOW_MS, drain

EDGES = tuple(edge.name for edge in NETWORK.machines_of(Role.EDGE))


def say(
    edge: str, *, announced: bool = True, up: bool = True, exported: int = 1
) -> MachineStatus:
    """Return what an edge says of its sessions and of the aggregates."""
    return MachineStatus(
        machine=edge,
        sessions=tuple(
            SessionStatus(name=f"peer.{name}.ipv{family}", up=up, exported=exported)
            for name in NETWORK.session_names(edge)
            for family in (4, 6)
        ),
        aggregates=tuple(
            AggregateStatus(
                prefix=str(each.prefix), announced=announced, reason=Reason.LOCAL_SERVICE
            )
            for each in NETWORK.aggregates
        ),
    )


ALL = {edge: say(edge) for edge in EDGES}


def look(
    platform: Platform = NETWORK,
    done: Interventions = NOTHING,
    statuses: dict[str, MachineStatus] = ALL,
) -> Visibility:
    """Return the visibility of the IPv4 aggregate."""
    return visibility(platform, done, statuses, NOW_MS)[0]


def test_everything_is_heard_everywhere() -> None:
    seen = look()
    assert (seen.prefix, seen.sessions, seen.unknown, seen.possible) == (FOUR, 9, 0, 9)
    assert seen.datacenters == {"fra", "ams", "lon"}
    assert seen.shortfalls(NETWORK) == ()


@pytest.mark.parametrize(
    "silent",
    [say("fra-e2", announced=False), say("fra-e2", up=False), say("fra-e2", exported=0)],
)
def test_what_does_not_leave_is_not_heard(silent: MachineStatus) -> None:
    assert look(statuses={**ALL, "fra-e2": silent}).sessions == 7


def test_drains_and_overrides_are_not_heard_but_a_warning_is() -> None:
    assert look(done=drain(datacenter="fra")).datacenters == {"ams", "lon"}
    assert look(done=drain(datacenter="fra", wait_ms=1)).sessions == 9
    hidden = replace(NETWORK, traffic=(Override(announce=False, peer="ixp1"),))
    assert look(hidden).sessions == 6


def test_what_edges_have_not_told_is_unknown_and_no_problem_by_itself() -> None:
    seen = look(statuses={"fra-e1": say("fra-e1")})
    assert (seen.sessions, seen.unknown) == (1, 8)
    assert seen.shortfalls(NETWORK) == ()
    assert look(statuses={}).unknown == 9


def test_counts_of_before_an_announcement_are_not_known_and_no_problem() -> None:
    said = {edge: say(edge, exported=0) for edge in EDGES}
    early = {
        edge: replace(
            status, sessions=tuple(replace(each, counted=False) for each in status.sessions)
        )
        for edge, status in said.items()
    }
    assert look(statuses=said).shortfalls(NETWORK) != ()
    seen = look(statuses=early)
    assert (seen.sessions, seen.unknown) == (0, 9)
    assert seen.shortfalls(NETWORK) == ()


def test_floors_are_said_with_numbers() -> None:
    withheld = {edge: say(edge, announced=edge == "fra-e1") for edge in EDGES}
    floored = replace(NETWORK, guards=Guards(announce_floor=2))
    assert look(statuses=withheld).shortfalls(floored) == (
        "announced on 1 of 9 sessions; vantage_floor is 2",
        "announced from 1 datacenters; announce_floor is 2",
    )
    off = replace(NETWORK, guards=Guards(vantage_floor=0))
    assert look(statuses=withheld).shortfalls(off) == ()
    del withheld["ams-e1"]
    high = replace(NETWORK, guards=Guards(vantage_floor=3, announce_floor=2))
    assert look(statuses=withheld).shortfalls(high) == (
        "announced on 1 of 9 sessions (1 more not known); vantage_floor is 3",
    )


def test_a_platform_with_one_session_needs_no_second() -> None:
    peer = replace(NETWORK.peers[0], sessions=NETWORK.peers[0].sessions[:1])
    one = replace(NETWORK, peers=(peer,))
    assert look(one).shortfalls(one) == ()
    assert look(one, statuses={"fra-e1": say("fra-e1", up=False)}).shortfalls(one) != ()
