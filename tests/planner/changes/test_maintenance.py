"""One failure domain at a time: of datacenters, and of nodes without room for more."""

from dataclasses import replace
from typing import Any

import pytest

from pltfrms.model.messages.guards import Guard, Verdict
from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.network.topology import Role
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import (
    AggregateStatus,
    Contact,
    MachineStatus,
    SessionStatus,
    Snapshot,
)
from pltfrms.planner.changes.maintenance import judge_maintenance
from tests.planner.networks import NETWORK
from tests.strategies import make_platform, make_service, make_snapshot, make_spec

NOW_MS = 1_893_535_200_000
"""2030-01-01 22:00 UTC."""
HOUR_MS = 3_600_000


def drain(**words: Any) -> Drain:
    return Drain(**{"since_ms": NOW_MS, "wait_ms": 60_000, **words})


def judge(snapshot: Snapshot, new: Drain, *standing: Drain) -> dict[Guard, Verdict]:
    """Return what is said to a drain while others stand."""
    before = replace(snapshot, interventions=Interventions(drains=standing))
    others = tuple(each for each in standing if each.place != new.place)
    after = replace(snapshot, interventions=Interventions(drains=(*others, new)))
    return {each.guard: each for each in judge_maintenance(before, after, NOW_MS)}


# ---- datacenters ---------------------------------------------------------------------------

THREE = make_snapshot(NETWORK)
NIGHT = {"since_ms": NOW_MS + HOUR_MS, "until_ms": NOW_MS + 2 * HOUR_MS}


def test_the_second_datacenter_is_told_who_drains_the_first() -> None:
    first = drain(datacenter="fra", why="power", by="ada@ops")
    verdict = judge(THREE, drain(datacenter="ams"), first)[Guard.MAINTENANCE_LOCK]
    assert (verdict.about, verdict.sentence) == (
        "datacenter/ams",
        "datacenter/fra is drained by ada@ops since 2030-01-01 22:00:00 UTC (power)",
    )


@pytest.mark.parametrize(
    ("standing", "refused"),
    [
        (drain(datacenter="fra", **NIGHT), True),
        (drain(datacenter="fra", since_ms=NIGHT["until_ms"] - 1), True),
        (drain(datacenter="fra", since_ms=NIGHT["until_ms"]), False),
        (drain(datacenter="fra", until_ms=NIGHT["since_ms"]), False),
        (drain(datacenter="fra", until_ms=NIGHT["since_ms"] + 1), True),
        (drain(datacenter="ams"), False),
        (drain(peer="transit1"), False),
        (drain(edge="fra-e1"), False),
        (drain(node="fra-n1"), False),
    ],
)
def test_only_drains_of_other_datacenters_at_the_same_time_count(
    standing: Drain,
    refused: bool,  # noqa: FBT001 - a column of the table
) -> None:
    found = judge(THREE, drain(datacenter="ams", **NIGHT), standing)
    assert (Guard.MAINTENANCE_LOCK in found) is refused


def test_a_planned_drain_is_told_with_its_times() -> None:
    verdict = judge(THREE, drain(datacenter="ams"), drain(datacenter="fra", **NIGHT))
    assert verdict[Guard.MAINTENANCE_LOCK].sentence == (
        "datacenter/fra is to be drained from 2030-01-01 23:00:00 UTC until "
        "2030-01-02 00:00:00 UTC"
    )


def test_what_was_allowed_is_not_asked_again_unless_it_grows() -> None:
    fra, ams = drain(datacenter="fra"), drain(datacenter="ams", until_ms=NOW_MS + HOUR_MS)
    assert judge(THREE, drain(peer="transit1"), fra, ams) == {}
    assert judge(THREE, replace(ams, wait_ms=0), fra, ams) == {}
    assert judge(THREE, replace(ams, until_ms=NOW_MS + 1), fra, ams) == {}
    longer = replace(ams, until_ms=NOW_MS + HOUR_MS + 1)
    assert Guard.MAINTENANCE_LOCK in judge(THREE, longer, fra, ams)
    assert Guard.MAINTENANCE_LOCK in judge(THREE, replace(ams, until_ms=0), fra, ams)


def _announcing(*edges: str, silent: str = "") -> Snapshot:
    """Return the platform with what these edges say: all is up and announced, or withheld."""
    statuses = {
        edge: MachineStatus(
            machine=edge,
            sessions=tuple(
                SessionStatus(name=f"peer.{name}.ipv{family}", up=True, exported=1)
                for name in NETWORK.session_names(edge)
                for family in (4, 6)
            ),
            aggregates=tuple(
                AggregateStatus(
                    prefix=str(each.prefix),
                    announced=edge != silent,
                    reason=Reason.LOCAL_SERVICE,
                )
                for each in NETWORK.aggregates
            ),
        )
        for edge in edges
    }
    return replace(THREE, statuses=statuses)


def test_the_only_datacenter_that_really_announces_stays() -> None:
    every = [edge.name for edge in NETWORK.machines_of(Role.EDGE)]
    assert judge(_announcing(*every), drain(datacenter="fra")) == {}
    fra = [edge for edge in every if edge.startswith("fra")]
    verdict = judge(_announcing(*fra), drain(datacenter="fra"))[Guard.LAST_ANNOUNCER]
    assert verdict.sentence == (
        "no other datacenter than fra announces it now; of 6 sessions it is not known"
    )
    assert judge(_announcing(*fra), drain(datacenter="ams")) == {}
    assert judge(_announcing(*fra), drain(datacenter="fra", **NIGHT)) == {}, "not now"


# ---- nodes ---------------------------------------------------------------------------------


def cluster(count: int, replicas: int, **contacts: Contact) -> Snapshot:
    """Return so many nodes of a datacenter, and a service of one replica per node at most."""
    named = {f"fra-{node}": contact for node, contact in contacts.items()}
    services = (make_service(make_spec(replicas=replicas)),)
    return make_snapshot(make_platform({"fra": count, "ams": 3}), services, contacts=named)


def test_one_node_may_go_if_the_rest_has_room() -> None:
    assert judge(cluster(3, 2), drain(node="fra-n1")) == {}
    verdict = judge(cluster(3, 3), drain(node="fra-n1"))[Guard.HEADROOM]
    assert (verdict.about, verdict.sentence) == (
        "node/fra-n1",
        "2 nodes would be left in contact, with room for 2 of the 3 replicas of fra",
    )
    assert judge(cluster(3, 3), drain(node="ams-n1")).keys() == {Guard.HEADROOM}


def test_a_second_node_may_go_if_a_third_may_fail() -> None:
    first = drain(node="fra-n1", by="ada")
    assert judge(cluster(5, 2), drain(node="fra-n2"), first) == {}
    verdict = judge(cluster(4, 2), drain(node="fra-n2"), first)[Guard.MAINTENANCE_LOCK]
    assert verdict.sentence == (
        "node/fra-n1 is drained by ada since 2030-01-01 22:00:00 UTC; 2 nodes would be left in "
        "contact, and if one of them fails, there is room for 1 of the 2 replicas of fra"
    )
    assert judge(cluster(4, 2), drain(node="fra-n2"), drain(node="ams-n1")) == {}
    assert (
        judge(
            cluster(4, 2),
            drain(node="fra-n2", **NIGHT),
            drain(node="fra-n1", until_ms=NIGHT["since_ms"]),
        )
        == {}
    )


def test_a_node_while_another_datacenter_is_drained_needs_room_too() -> None:
    found = judge(cluster(3, 2), drain(node="fra-n1"), drain(datacenter="ams"))
    assert found.keys() == {Guard.MAINTENANCE_LOCK}
    assert judge(cluster(3, 2), drain(node="fra-n1"), drain(datacenter="fra")) == {}


def test_a_lost_node_is_no_room_and_an_unknown_one_cannot_be_relied_on() -> None:
    lost = cluster(3, 2, n2=Contact.LOST)
    assert judge(lost, drain(node="fra-n1")).keys() == {Guard.HEADROOM}
    assert judge(lost, drain(node="fra-n2")) == {}, "it is gone already"
    unknown = cluster(3, 2, n2=Contact.UNKNOWN)
    assert judge(unknown, drain(node="fra-n1")).keys() == {Guard.HEADROOM}


def test_the_biggest_node_is_the_one_that_may_fail() -> None:
    snapshot = cluster(4, 6)
    spec = make_spec(replicas=6, cpu=1.0, max_per_node=6)
    machines = tuple(
        replace(m, cpu={"fra-n3": 6.0}.get(m.name, 3.0)) if m.role is Role.NODE else m
        for m in snapshot.platform.machines
    )
    snapshot = replace(
        snapshot,
        services={"web": make_service(spec)},
        platform=replace(snapshot.platform, machines=machines),
    )
    verdict = judge(snapshot, drain(node="fra-n2"), drain(node="fra-n1"))
    assert "room for 3 of the 6" in verdict[Guard.MAINTENANCE_LOCK].sentence
