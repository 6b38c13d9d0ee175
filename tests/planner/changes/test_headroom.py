"""Whether there is room for what a change moves: numbers, kinds of traffic, what is unknown."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltfrms.model.messages.guards import Guard
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.links import Link
from pltfrms.model.network.peering import Peer, PeerKind
from pltfrms.model.network.topology import Guards, Platform
from pltfrms.model.network.traffic import Override
from pltfrms.model.running.state import (
    Contact,
    Load,
    MachineStatus,
    MachineView,
    SessionStatus,
    Snapshot,
)
from pltfrms.planner.changes.guards import doubts_of, make_proposal, verdicts_of
from pltfrms.planner.changes.headroom import Shortage, shortages
from pltfrms.planner.changes.ways import (
    NOT_MEASURED,
    Direction,
    Intent,
    Measured,
    Where,
    links,
    measured,
    ports,
    rate_words,
)
from tests.planner.networks import (
    FOUR,
    NETWORK,
    NOTHING,
    NOW_MS,
    SIX,
    drain,
    interventions,
    make_session,
    overrides,
    without_sessions,
)

GBIT = 10**9


def sized(platform: Platform, gbit: int = 10) -> Platform:
    """Return the platform with the same capacity on all ports."""
    return replace(
        platform,
        peers=tuple(
            replace(
                peer,
                sessions=tuple(replace(s, capacity_mbps=1000 * gbit) for s in peer.sessions),
            )
            for peer in platform.peers
        ),
    )


SIZED = sized(NETWORK)
WHERES = tuple(ports(Intent(platform=SIZED, interventions=NOTHING, at_ms=0), NOT_MEASURED))
LINK_ENDS = tuple(links(Intent(platform=SIZED, interventions=NOTHING, at_ms=0), NOT_MEASURED))


def load(received: float, sent: float) -> Load:
    return Load(received_bps=int(received * GBIT), sent_bps=int(sent * GBIT))


def seen(said: Mapping[str, tuple[float, float]] | None = None) -> Measured:
    """Return loads in Gbit/s (in, out), by `fra-e1/x-transit1`; others carry 1 Gbit/s."""
    loads = {where: load(1, 1) for where in (*WHERES, *LINK_ENDS)}
    for name, (received, sent) in (said or {}).items():
        edge, _, interface = name.partition("/")
        loads[edge, interface] = load(received, sent)
    return Measured(loads=loads)


def find(
    after: Platform,
    wanted: Interventions = NOTHING,
    known: Measured = NOT_MEASURED,
    *,
    before: Platform = SIZED,
) -> list[Shortage]:
    old = Intent(platform=before, interventions=NOTHING, at_ms=NOW_MS)
    new = Intent(platform=after, interventions=wanted, at_ms=NOW_MS)
    return list(shortages(old, new, known))


def without(known: Measured, *names: str) -> Measured:
    """Return what is measured but for some ports."""
    gone = {tuple(name.split("/")) for name in names}
    return replace(known, loads={k: v for k, v in known.loads.items() if k not in gone})


# ---- numbers -------------------------------------------------------------------------------


def test_incident_11_a_drain_moves_its_load_to_links_that_are_already_full() -> None:
    known = seen({"fra-e1/x-transit1": (0.4, 6.2), "fra-e2/x-transit1": (0.3, 5.1)})
    (shortage,) = find(SIZED, drain("transit1", "fra-e1", wait_ms=60_000), known)
    assert shortage == Shortage(
        about="transit1@fra-e1",
        sentence="carries 6.2 Gbit/s out; left in fra: 10 Gbit/s with 5.1 Gbit/s in use "
        "-> 113 %, more than 90 %",
        sure=True,
    )
    proposal = make_proposal(
        SIZED, SIZED, NOTHING, drain("transit1", "fra-e1", wait_ms=60_000), NOW_MS, known
    )
    (verdict,) = verdicts_of(proposal)
    assert (verdict.guard, verdict.about) == (Guard.HEADROOM, "transit1@fra-e1")
    assert verdict.sentence == shortage.sentence, "the drain's warning moves it at once"
    assert doubts_of(proposal) == ()


def test_up_to_the_limit_there_is_room() -> None:
    wanted = drain("transit1", "fra-e1")
    full = seen({"fra-e1/x-transit1": (1, 4), "fra-e2/x-transit1": (1, 5)})
    assert find(SIZED, wanted, full) == []
    more = seen({"fra-e1/x-transit1": (1, 4), "fra-e2/x-transit1": (1, 5.001)})
    (shortage,) = find(SIZED, wanted, more)
    assert "-> 91 %, more than 90 %" in shortage.sentence
    own = replace(SIZED, guards=Guards(headroom_percent=95))
    assert find(own, wanted, more, before=own) == []
    assert find(own, wanted, more), "no change raises its own limit"


def test_each_direction_counts_by_itself() -> None:
    known = seen({"fra-e1/x-transit1": (6, 1), "fra-e2/x-transit1": (6, 1)})
    (shortage,) = find(SIZED, drain("transit1", "fra-e1"), known)
    assert shortage.sentence.startswith("carries 6 Gbit/s in; ")
    mixed = seen({"fra-e1/x-transit1": (6, 1), "fra-e2/x-transit1": (1, 6)})
    assert find(SIZED, drain("transit1", "fra-e1"), mixed) == []


def test_a_port_that_leaves_the_spec_gives_and_a_new_one_takes() -> None:
    known = seen({"fra-e1/x-transit1": (1, 6.2), "fra-e2/x-transit1": (1, 5.1)})
    gone = without_sessions(SIZED, "transit1@fra-e1")
    assert [each.about for each in find(gone, known=known)] == ["transit1@fra-e1"]
    moved = replace(
        gone,
        peers=(
            *gone.peers,
            Peer(
                name="transit3",
                kind=PeerKind.TRANSIT,
                asn=64650,
                sessions=(replace(make_session("fra-e1", 70), capacity_mbps=10_000),),
            ),
        ),
    )
    assert find(moved, known=known) == []


# ---- which traffic goes where --------------------------------------------------------------


def test_an_exchange_cannot_carry_what_a_transit_carried_but_the_other_way_round() -> None:
    known = seen({"fra-e1/x-transit1": (1, 6), "fra-e2/x-transit1": (1, 6)})
    (shortage,) = find(SIZED, drain("transit1", "fra-e1"), known)
    assert "left in fra: 10 Gbit/s with 6 Gbit/s in use" in shortage.sentence
    known = seen({"fra-e2/x-ixp1": (1, 5), "fra-e1/x-transit1": (1, 6)})
    assert find(SIZED, drain("ixp1", "fra-e2"), known) == [], "two transits are left for it"


def test_the_last_transit_of_a_datacenter_sends_it_over_the_backbone() -> None:
    wanted = drain("transit2", "lon-e2")
    assert find(SIZED, wanted, seen()) == []
    busy = seen({"lon-e2/x-transit2": (1, 9), "lon-e1/bb-fra-e2": (1, 9.5)})
    (shortage,) = find(SIZED, wanted, busy)
    assert shortage.sentence == (
        "carries 9 Gbit/s out; left on the backbone of lon: 20 Gbit/s with 10.5 Gbit/s in use "
        "-> 98 %, more than 90 %"
    )
    full = {f"{edge}/x-transit1": (1.0, 9.0) for edge in ("fra-e1", "fra-e2", "ams-e2")}
    full |= {f"{edge}/x-transit2": (1.0, 9.0) for edge in ("ams-e1", "ams-e2", "lon-e2")}
    (shortage,) = find(SIZED, wanted, seen(full))
    assert "left in other datacenters: 50 Gbit/s with 45 Gbit/s in use" in shortage.sentence


def test_no_transit_anywhere_is_no_room() -> None:
    peers = tuple(peer for peer in SIZED.peers if peer.kind is not PeerKind.TRANSIT)
    found = find(replace(SIZED, peers=peers), known=seen())
    assert [each.sentence for each in found if each.sure][:1] == [
        "carry 6 Gbit/s out; 0 Mbit/s is left in other datacenters"
    ]


def test_a_session_that_is_down_takes_nothing() -> None:
    known = seen({"fra-e1/x-transit1": (1, 4), "fra-e2/x-transit1": (0, 0)})
    assert find(SIZED, drain("transit1", "fra-e1"), known) == []
    # The peer is gone at fra-e2: fra has nobody else, so the backbone would get it.
    down = replace(known, down=frozenset({"transit1@fra-e2"}))
    busy = {end: load(1, 9) for end in LINK_ENDS}
    down = replace(down, loads={**known.loads, **busy})
    (shortage,) = find(SIZED, drain("transit1", "fra-e1"), down)
    assert "left on the backbone of fra" in shortage.sentence
    assert find(SIZED, drain("transit1", "fra-e2"), down) == [], "nothing moves"


def test_a_customer_is_reached_over_its_own_ports_alone() -> None:
    shop = Peer(
        name="shop",
        kind=PeerKind.CUSTOMER,
        asn=64777,
        sessions=tuple(
            replace(make_session(edge, number), capacity_mbps=1000)
            for number, edge in ((60, "fra-e1"), (61, "fra-e2"))
        ),
    )
    platform = replace(SIZED, peers=(*SIZED.peers, shop))
    known = seen({"fra-e1/x-60": (0.1, 0.6), "fra-e2/x-61": (0.1, 0.5)})
    (shortage,) = find(platform, drain("shop", "fra-e1"), known, before=platform)
    assert "left in fra: 1 Gbit/s with 500 Mbit/s in use -> 110 %" in shortage.sentence
    assert find(platform, drain("shop"), known, before=platform) == [], "it is gone for us"


def test_a_prefix_that_is_withdrawn_from_a_port_may_move_all_that_comes_in() -> None:
    silent = replace(SIZED, traffic=(Override(announce=False, prefix=FOUR, edge="fra-e1"),))
    known = seen({"fra-e1/x-transit1": (6.2, 6.2), "fra-e2/x-transit1": (5.1, 5.1)})
    (shortage,) = find(silent, known=known)
    assert shortage.sentence.startswith("carries up to 6.2 Gbit/s in; left in fra: 10 Gbit/s")
    less = replace(SIZED, aggregates=tuple(a for a in SIZED.aggregates if a.prefix == SIX))
    assert find(less, known=known) == [], "nobody sends to what is announced nowhere"


def test_a_link_gives_to_the_other_links_of_both_ends() -> None:
    less = replace(SIZED, links=SIZED.links[1:])
    assert find(less, known=seen()) == []
    found = find(less, known=seen({"fra-e1/bb-ams-e2": (1, 6), "fra-e2/bb-lon-e1": (1, 5)}))
    assert [each.about for each in found] == ["fra-e1--ams-e2"]
    assert "left on the backbone of fra: 10 Gbit/s with 5 Gbit/s" in found[0].sentence
    added = replace(SIZED, links=(*SIZED.links[1:], Link(a="fra-e2", b="ams-e1")))
    (doubt,) = find(added, known=seen({"fra-e1/bb-ams-e2": (1, 9)}))
    assert (doubt.sure, "the capacity of fra-e2--ams-e1" in doubt.sentence) == (False, True)


def test_a_link_inside_a_datacenter_is_no_room_on_the_way_to_others() -> None:
    inside = Link(a="fra-e1", b="fra-e2", capacity_mbps=100_000)
    before = replace(SIZED, links=(*SIZED.links, inside))
    known = seen({"fra-e1/bb-ams-e2": (1, 6), "fra-e2/bb-lon-e1": (1, 5)})
    (shortage,) = find(replace(before, links=before.links[1:]), known=known, before=before)
    assert "left on the backbone of fra: 10 Gbit/s with 5 Gbit/s" in shortage.sentence


def test_a_port_of_several_sessions_gives_when_all_of_them_go() -> None:
    ixp = SIZED.peers[2]
    second = replace(ixp, name="ixp1b", asn=64799)
    platform = replace(SIZED, peers=(*SIZED.peers, second))
    known = seen({"fra-e2/x-ixp1": (1, 30)})
    assert find(platform, drain("ixp1", "fra-e2"), known, before=platform) == []
    (shortage,) = find(platform, drain(edge="fra-e2"), known, before=platform)[:1]
    assert shortage.about in {"fra-e2/x-ixp1", "transit1@fra-e2, fra-e2/x-ixp1"}


# ---- what is not known ---------------------------------------------------------------------


def test_what_is_not_known_is_named_and_neither_fine_nor_refused() -> None:
    wanted = drain("transit1", "fra-e1")
    (doubt,) = find(SIZED, wanted, without(seen(), "fra-e1/x-transit1"))
    assert doubt == Shortage(
        about="transit1@fra-e1",
        sentence="not known whether there is room in fra for its traffic: "
        "the load of transit1@fra-e1",
        sure=False,
    )
    unsaid = replace(SIZED.peers[0].sessions[1], capacity_mbps=0)
    first, _, third = SIZED.peers[0].sessions
    peers = (replace(SIZED.peers[0], sessions=(first, unsaid, third)), *SIZED.peers[1:])
    unsized = replace(SIZED, peers=peers)
    (doubt,) = find(unsized, wanted, seen(), before=unsized)
    assert doubt.sentence.endswith("the capacity of transit1@fra-e2")
    assert find(SIZED, wanted, without(seen(), "ams-e1/x-transit2")) == []
    proposal = make_proposal(NETWORK, NETWORK, NOTHING, wanted, NOW_MS)
    assert verdicts_of(proposal) == ()
    (said,) = doubts_of(proposal)
    assert (said.guard, said.about) == (Guard.HEADROOM, "transit1@fra-e1")


def test_too_much_is_too_much_whatever_is_not_known() -> None:
    known = without(seen({"fra-e1/x-transit1": (1, 9.5)}), "fra-e2/x-transit1")
    (shortage,) = find(SIZED, drain("transit1", "fra-e1"), known)
    assert shortage.sure


def test_what_is_measured_is_what_edges_in_contact_say() -> None:
    statuses = {
        name: MachineStatus(
            machine=name,
            sessions=(
                SessionStatus(name="peer.transit1.ipv4", up=False),
                SessionStatus(name="peer.transit1.ipv6", up=name == "fra-e2"),
            ),
            loads={"x-transit1": load(1, 2)},
        )
        for name in ("fra-e1", "fra-e2", "ams-e2")
    }
    views = {
        name: MachineView(
            contact=Contact.LOST if name == "ams-e2" else Contact.PRESENT, since_seconds=1
        )
        for name in statuses
    }
    snapshot = Snapshot(revision=1, platform=SIZED, statuses=statuses, machines=views)
    assert measured(snapshot) == Measured(
        loads={(edge, "x-transit1"): load(1, 2) for edge in ("fra-e1", "fra-e2")},
        down=frozenset({"transit1@fra-e1"}),
    )


def test_one_end_of_a_link_is_enough() -> None:
    known = Measured(loads={("ams-e2", "bb-fra-e1"): load(1, 2)})
    ends = links(Intent(platform=SIZED, interventions=NOTHING, at_ms=0), known)
    here = ends["fra-e1", "bb-ams-e2"]
    assert (here.bps(Direction.OUT), here.bps(Direction.IN)) == (GBIT, 2 * GBIT)


@pytest.mark.parametrize(
    ("bps", "words"),
    [(0, "0 Mbit/s"), (450_000_000, "450 Mbit/s"), (6_200_000_000, "6.2 Gbit/s")],
)
def test_rates_in_words(bps: int, words: str) -> None:
    assert rate_words(bps) == words


# ---- what holds for every change -----------------------------------------------------------

_RATE = st.integers(0, 12).map(lambda n: n * GBIT)
_LOADS = st.fixed_dictionaries(
    {
        where: st.builds(Load, received_bps=_RATE, sent_bps=_RATE)
        for where in (*WHERES, *LINK_ENDS)
    }
)
_HIDDEN = st.sets(st.sampled_from((*WHERES, *LINK_ENDS)), max_size=4)
_CHANGED = st.builds(
    lambda traffic, peers, joined: replace(
        SIZED, traffic=tuple(traffic), peers=tuple(peers), links=tuple(joined)
    ),
    st.lists(overrides, max_size=2),
    st.lists(st.sampled_from(SIZED.peers), unique=True),
    st.lists(st.sampled_from(SIZED.links), unique=True),
)


def _hide(loads: Mapping[Where, Load], hidden: set[Where]) -> Measured:
    # Both ends of a link tell the same, so that one alone can be hidden only with the other.
    ends = {(far.removeprefix("bb-"), f"bb-{near}") for near, far in hidden}
    return Measured(loads={w: x for w, x in loads.items() if w not in hidden | ends})


def _mirrored(loads: Mapping[Where, Load]) -> dict[Where, Load]:
    same = dict(loads)
    for link in SIZED.links:
        one = loads[link.a, f"bb-{link.b}"]
        same[link.b, f"bb-{link.a}"] = Load(
            received_bps=one.sent_bps, sent_bps=one.received_bps
        )
    return same


def test_what_is_full_already_is_no_sure_shortage_of_an_unknown_load() -> None:
    full = ("ams-e1", "bb-lon-e2")
    after = replace(
        SIZED,
        peers=(),
        links=tuple(link for link in SIZED.links if link.a == "ams-e1" and link.b == "lon-e2"),
    )
    idle = {where: load(0, 0) for where in (*WHERES, *LINK_ENDS)}
    loads = _hide(_mirrored(idle | {full: load(0, 10)}), {("ams-e1", "x-transit2")})
    found = find(after, NOTHING, loads)
    assert found
    assert not any(shortage.sure for shortage in found)


@settings(max_examples=300)
@given(_CHANGED, interventions, _LOADS, _HIDDEN)
def test_knowing_less_never_changes_an_answer_only_withholds_it(
    after: Platform, wanted: Interventions, said: dict[Where, Load], hidden: set[Where]
) -> None:
    loads = _mirrored(said)
    full = {s.about: s.sure for s in find(after, wanted, Measured(loads=loads))}
    part = {s.about: s.sure for s in find(after, wanted, _hide(loads, hidden))}
    assert all(full.values()), "with everything known nothing is doubtful"
    assert {about for about, sure in part.items() if sure} <= full.keys(), "sure is sure"
    assert full.keys() <= part.keys(), "silence means that there is room"


@settings(max_examples=200)
@given(_CHANGED, interventions, _LOADS, st.sampled_from(WHERES))
def test_more_load_never_makes_room(
    after: Platform, wanted: Interventions, said: dict[Where, Load], where: Where
) -> None:
    loads = _mirrored(said)
    old = loads[where]
    heavier = Load(received_bps=old.received_bps + 3 * GBIT, sent_bps=old.sent_bps + 3 * GBIT)
    before = {s.about for s in find(after, wanted, Measured(loads=loads))}
    more = {s.about for s in find(after, wanted, Measured(loads={**loads, where: heavier}))}
    assert before <= more


@settings(max_examples=100)
@given(interventions, _LOADS)
def test_nothing_is_short_when_nothing_changes(
    standing: Interventions, said: dict[Where, Load]
) -> None:
    same = Intent(platform=SIZED, interventions=standing, at_ms=NOW_MS)
    assert list(shortages(same, same, Measured(loads=said))) == []
    assert list(shortages(same, same, NOT_MEASURED)) == []


@settings(max_examples=100)
@given(_CHANGED, interventions)
def test_without_numbers_nothing_is_refused(after: Platform, wanted: Interventions) -> None:
    assert not any(each.sure for each in find(after, wanted))
