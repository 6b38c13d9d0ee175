"""What each edge would announce to each peer."""

from dataclasses import replace

import pytest

from pltfrms.model.network.announcements import (
    Announcement,
    announcements,
    announcements_of,
    preference_of,
)
from pltfrms.model.network.interventions import DrainPhase
from pltfrms.model.network.peering import PeerKind
from pltfrms.model.network.topology import Platform
from pltfrms.model.network.traffic import Override
from tests.planner.networks import (
    FOUR,
    NETWORK,
    NOTHING,
    NOW_MS,
    SIX,
    drain,
    make_session,
    with_peer,
)


def _one(platform: Platform, session: str = "transit1@fra-e1") -> Announcement:
    (found,) = (
        each
        for each in announcements(platform, NOTHING, NOW_MS)
        if (each.session, each.prefix) == (session, FOUR)
    )
    return found


def _with(*traffic: Override) -> Platform:
    return replace(NETWORK, traffic=traffic)


def test_every_aggregate_goes_to_every_session_as_it_is() -> None:
    found = announcements(NETWORK, NOTHING, NOW_MS)
    assert len(found) == 9 * 2
    assert len({(each.session, each.prefix) for each in found}) == 18
    assert {each.prefix for each in found} == {FOUR, SIX}
    assert all(each.visible and not each.prepend and each.med is None for each in found)
    assert _one(NETWORK, "ixp1@fra-e2").datacenter == "fra"


def test_a_session_of_one_family_gets_the_aggregates_of_that_family() -> None:
    peer = NETWORK.peers[0]
    both = peer.sessions[0]
    only4 = replace(both, ours=both.ours[:1], theirs=both.theirs[:1])
    platform = with_peer(NETWORK, replace(peer, sessions=(only4,)))
    found = list(announcements_of(platform, "fra-e1", NOTHING, NOW_MS))
    assert [each.prefix for each in found] == [FOUR]


def test_a_second_session_of_an_edge_with_a_peer_has_its_own_name() -> None:
    peer = NETWORK.peers[0]
    twice = replace(peer, sessions=(*peer.sessions, make_session("fra-e1", 50)))
    names = {each.session for each in announcements(with_peer(NETWORK, twice), NOTHING, 0)}
    assert {"transit1@fra-e1", "transit1:2@fra-e1"} <= names


@pytest.mark.parametrize(
    ("override", "count"),
    [
        (Override(announce=False), 18),
        (Override(announce=False, prefix=FOUR), 9),
        (Override(announce=False, peer="transit1"), 6),
        (Override(announce=False, kind=PeerKind.IXP), 6),
        (Override(announce=False, datacenter="ams"), 6),
        (Override(announce=False, edge="ams-e2"), 4),
        (Override(announce=False, edge="ams-e2", peer="transit1", prefix=SIX), 1),
        (Override(announce=False, edge="ams-e2", datacenter="fra"), 0),
    ],
)
def test_an_override_holds_where_all_its_conditions_hold(
    override: Override, count: int
) -> None:
    found = announcements(_with(override), NOTHING, NOW_MS)
    assert sum(not each.visible for each in found) == count


def test_later_overrides_win_and_leave_what_they_do_not_name() -> None:
    one = _one(
        _with(
            Override(announce=False, prepend=1, communities=((64601, 1),)),
            Override(announce=True, med=7, communities=((64601, 2), (64601, 1))),
            Override(prefix=SIX, prepend=3),
        )
    )
    assert (one.announce, one.prepend, one.med) == (True, 1, 7)
    assert one.communities == ((64601, 1), (64601, 2))


def test_an_override_that_is_over_does_not_count() -> None:
    over = Override(announce=False, preference=7, until_ms=NOW_MS)
    peer = NETWORK.peers[0]
    assert _one(_with(over)).visible
    assert preference_of(_with(over), peer, peer.sessions[0], NOW_MS) == 100
    still = replace(over, until_ms=NOW_MS + 1)
    assert not _one(_with(still)).visible
    assert preference_of(_with(still), peer, peer.sessions[0], NOW_MS) == 7


def test_a_drain_warns_first_and_then_withdraws() -> None:
    interventions = drain("transit1", "fra-e1", wait_ms=5)
    seen = [
        {
            (each.drain, each.visible)
            for each in announcements(NETWORK, interventions, NOW_MS + later)
            if each.session == "transit1@fra-e1"
        }
        for later in (4, 5)
    ]
    assert seen == [{(DrainPhase.SHUTDOWN, True)}, {(DrainPhase.WITHDRAWN, False)}]
    others = announcements(NETWORK, interventions, NOW_MS + 5)
    assert sum(not each.visible for each in others) == 2


def test_an_edge_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        list(announcements_of(NETWORK, "fra-e9", NOTHING, NOW_MS))
