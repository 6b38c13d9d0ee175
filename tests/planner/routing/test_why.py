"""Why a prefix is announced, or a route used."""

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from pltfrms.errors import NotFoundError
from pltfrms.model.addresses import Prefix
from pltfrms.model.messages.glass import RouteView
from pltfrms.model.network.interventions import Blackhole, Drain, Interventions
from pltfrms.model.network.peering import PeerKind, Reject
from pltfrms.model.network.traffic import Override
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import (
    AggregateStatus,
    Contact,
    MachineView,
    SessionStatus,
    Snapshot,
)
from pltfrms.planner.routing.why import Why, compare, crossings, why_announced, why_used
from tests.cli.world import HEALTHY

NOW_MS = 1_700_000_000_000
AGGREGATE = ip_network("198.51.100.0/24")
ELSEWHERE = ip_network("203.0.113.0/24")
HOLE = Blackhole(prefix=ip_network("198.51.100.7/32"), until_ms=NOW_MS + 1, why="attack")


def with_session(snapshot: Snapshot, *, up: bool = True) -> Snapshot:
    """Return the snapshot with the reported session of transit1 at fra-e1."""
    detail = "Established" if up else "Active: connection refused"
    session = SessionStatus(name="peer.transit1.ipv4", up=up, detail=detail)
    status = replace(snapshot.statuses["fra-e1"], sessions=(session,))
    return replace(snapshot, statuses={**snapshot.statuses, "fra-e1": status})


FINE = with_session(HEALTHY)


def out(snapshot: Snapshot, prefix: Prefix = AGGREGATE) -> Why:
    (at,) = crossings(snapshot, "transit1", "fra-e1", prefix.version)
    return why_announced(snapshot, at, prefix, NOW_MS)


def test_a_healthy_aggregate_is_announced() -> None:
    why = out(FINE)
    assert why.so is True
    assert why.because == ("fra-e1 announces it: services are healthy in this datacenter",)


def test_an_edge_that_holds_it_back_says_why() -> None:
    held = AggregateStatus(
        prefix=str(AGGREGATE), announced=False, reason=Reason.NO_LOCAL_SERVICE
    )
    status = replace(FINE.statuses["fra-e1"], aggregates=(held,))
    why = out(replace(FINE, statuses={**FINE.statuses, "fra-e1": status}))
    assert why.so is False
    assert "too few services are healthy" in why.because[0]


def test_a_session_that_is_down() -> None:
    why = out(with_session(HEALTHY, up=False))
    assert why.so is False
    assert why.because == ("transit1@fra-e1 is down (Active: connection refused)",)


def test_a_drain_and_what_comes_before_it() -> None:
    drain = Drain(peer="transit1", since_ms=NOW_MS - 10, wait_ms=5, why="line works")
    why = out(replace(FINE, interventions=Interventions(drains=(drain,))))
    assert why.so is False
    assert why.because[0] == "the session is drained (line works): transit1"
    early = replace(drain, wait_ms=50)
    why = out(replace(FINE, interventions=Interventions(drains=(early,))))
    assert why.so is True
    assert why.because[-1] == "it is being drained: it leaves with graceful shutdown"


def test_overrides_forbid_or_change() -> None:
    def over(override: Override) -> Why:
        return out(replace(FINE, platform=replace(FINE.platform, traffic=(override,))))

    why = over(Override(peer="transit1", announce=False, why="too expensive"))
    assert (why.so, why.because[0]) == (False, "an override says so (too expensive)")
    why = over(Override(peer="transit1", prepend=2, med=7, no_export=True))
    assert why.so is True
    assert why.because[-1] == "it leaves with our ASN 2 more times, MED 7, no-export"
    assert over(Override(peer="transit1", announce=False, until_ms=NOW_MS)).so is True


def test_what_is_not_known_is_not_healthy() -> None:
    why = out(HEALTHY)
    assert why.so is None
    assert why.because[-1] == "fra-e1 has not reported the session"
    lost = MachineView(contact=Contact.LOST, since_seconds=9)
    why = out(replace(FINE, machines={**FINE.machines, "fra-e1": lost}))
    assert why.so is None
    assert "fra-e1 is lost" in why.because[-1]


def test_prefixes_that_are_no_aggregate() -> None:
    part = out(FINE, ip_network("198.51.100.7/32"))
    assert (part.so, "only as a whole" in part.because[0]) == (False, True)
    assert out(FINE, ELSEWHERE).so is None


def attacked(**peer: Any) -> Snapshot:
    """Return the snapshot with a blackhole, and peers that are as `peer` says."""
    peers = tuple(replace(each, **peer) for each in FINE.platform.peers)
    return replace(
        FINE,
        platform=replace(FINE.platform, peers=peers),
        interventions=Interventions(blackholes=(HOLE,)),
    )


def test_a_blackhole_is_announced_to_those_who_take_it() -> None:
    takes = attacked(blackhole=True)
    assert out(takes, HOLE.prefix) == Why(so=True, because=("as a blackhole (attack)",))
    down = with_session(takes, up=False)
    assert out(down, HOLE.prefix).so is False
    assert "is down" in out(down, HOLE.prefix).because[0]
    drain = Drain(peer="transit1", since_ms=NOW_MS - 10, wait_ms=5)
    drained = replace(takes, interventions=replace(takes.interventions, drains=(drain,)))
    assert out(drained, HOLE.prefix).because == ("the session is drained: transit1",)
    silent = replace(takes, statuses={})
    assert out(silent, HOLE.prefix).so is None


@pytest.mark.parametrize(
    ("peer", "why"),
    [
        ({"blackhole": False}, "its spec does not say `blackhole: true`"),
        ({"blackhole": True, "kind": PeerKind.CUSTOMER}, "it is a customer"),
    ],
)
def test_who_takes_no_blackholes_is_told_of_none(peer: dict[str, Any], why: str) -> None:
    judged = out(attacked(**peer), HOLE.prefix)
    assert judged == Why(so=False, because=(f"transit1 takes no blackholes from us: {why}",))


def test_peers_and_sessions_that_are_not_there() -> None:
    with pytest.raises(NotFoundError, match="transit1"):
        crossings(FINE, "nobody", "", 4)
    with pytest.raises(NotFoundError, match="at fra-n1"):
        crossings(FINE, "transit1", "fra-n1", 4)
    assert len(crossings(FINE, "transit1", "", 6)) > 1


# ---- in ------------------------------------------------------------------------------------

BEST = RouteView(
    machine="fra-e1",
    prefix=str(ELSEWHERE),
    session="peer.ixp1.ipv4",
    best=True,
    as_path=("65020",),
    origin="IGP",
    local_preference=200,
)
OURS = replace(
    BEST,
    session="peer.transit1.ipv4",
    best=False,
    as_path=("65010", "65011"),
    local_preference=100,
)


def used(*accepted: RouteView, refused: tuple[RouteView, ...] = (), up: bool = True) -> Why:
    snapshot = with_session(HEALTHY, up=up)
    (at,) = crossings(snapshot, "transit1", "fra-e1", 4)
    return why_used(snapshot, at, ELSEWHERE, accepted, refused)


def test_a_route_from_a_peer() -> None:
    assert used(replace(OURS, best=True)).so is True
    worse = used(BEST, OURS)
    assert worse.because == ("peer.ixp1.ipv4 wins: local preference 200 against 100",)
    refusal = replace(OURS, filtered=True, reject=Reject.BOGON)
    assert "reserved" in used(BEST, refused=(refusal,)).because[0]
    unexplained = used(refused=(replace(OURS, filtered=True),))
    assert "says no reason" in unexplained.because[0]
    assert "does not bring it" in used(BEST).because[0]
    assert "is down" in used(BEST, up=False).because[0]
    wider = replace(OURS, best=True, prefix="203.0.0.0/16")
    assert used(wider).because[0] == "the longest match is 203.0.0.0/16"
    part = replace(refusal, prefix="203.0.113.0/24")
    assert used(wider, refused=(part,)).so is False
    default = replace(refusal, prefix="0.0.0.0/0", reject=Reject.LENGTH)
    missing = used(BEST, refused=(default,)).because
    assert "does not bring it; the longest match, 203.0.113.0/24" in missing[0]
    assert missing[1].startswith("0.0.0.0/0 is refused")
    assert used(wider, refused=(default,)).so is True


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (OURS, "local preference 200 against 100"),
        (replace(BEST, as_path=("1", "2")), "hops in the AS path 1 against 2"),
        (replace(BEST, origin="Incomplete"), "origin IGP against Incomplete"),
        (replace(BEST, med=5), "MED 0 against 5"),
        (replace(BEST, session="edge.ams-e1"), "learned here against at another edge"),
        (replace(BEST, as_path=("9",), med=5), "among equals"),
        (replace(BEST, local_preference=None), "not both are BGP"),
    ],
)
def test_the_first_difference_decides(other: RouteView, words: str) -> None:
    assert words in compare(BEST, other)
