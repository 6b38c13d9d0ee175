"""Drains, freezes and blackholes as operators ask for them."""

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from pltfrms.errors import ConflictError, NotFoundError, UsageError
from pltfrms.model.messages.api import InterventionChange, Verb
from pltfrms.model.network.interventions import (
    LEAD_MS,
    Blackhole,
    Freeze,
    Interventions,
    Release,
)
from pltfrms.model.network.peering import Peer, PeerKind
from pltfrms.planner.changes.interventions import (
    MAX_AHEAD_MS,
    MAX_BLACKHOLE_MS,
    MAX_RELEASE_MS,
    apply_intervention,
)
from tests.planner.networks import NETWORK, NOTHING, NOW_MS

FREEZE = InterventionChange(verb=Verb.FREEZE, why="storm", by="ada")
HOUR_MS = 3_600_000


def _after(
    change: InterventionChange, before: Interventions = NOTHING, now_ms: int = NOW_MS
) -> Interventions:
    return apply_intervention(before, NETWORK, change, now_ms)


def _drain(
    peer: str = "", edge: str = "", interface: str = "", wait_ms: int | None = None
) -> InterventionChange:
    return InterventionChange(
        verb=Verb.DRAIN,
        peer=peer,
        edge=edge,
        interface=interface,
        wait_ms=wait_ms,
        why="cable",
        by="ada",
    )


def _hole(prefix: str, until_ms: int = NOW_MS + HOUR_MS) -> InterventionChange:
    return InterventionChange(verb=Verb.BLACKHOLE, prefix=prefix, until_ms=until_ms)


@pytest.mark.parametrize(
    ("change", "about"),
    [
        (_drain("transit1"), "transit1"),
        (_drain("transit1", "fra-e1"), "transit1@fra-e1"),
        (_drain(edge="fra-e1"), "fra-e1"),
        (_drain(edge="fra-e2", interface="x-ixp1"), "fra-e2/x-ixp1"),
    ],
)
def test_a_drain_is_written_down(change: InterventionChange, about: str) -> None:
    (drain,) = _after(change).drains
    assert (drain.about, drain.why, drain.by) == (about, "cable", "ada")
    assert (drain.since_ms, drain.wait_ms) == (NOW_MS + LEAD_MS, 60_000)
    undrain = replace(change, verb=Verb.UNDRAIN)
    assert _after(undrain, _after(change)) == NOTHING


def test_the_same_drain_again_changes_nothing() -> None:
    once = _after(_drain("transit1"))
    assert _after(_drain("transit1"), once, NOW_MS + 5000) == once
    both = _after(_drain("transit1", "fra-e1"), once)
    assert len(both.drains) == 2, "another drain is another drain"


def test_a_drain_can_be_hurried_up() -> None:
    once = _after(_drain("transit1"))
    (drain,) = _after(_drain("transit1", wait_ms=0), once, NOW_MS + 5000).drains
    assert (drain.since_ms, drain.wait_ms) == (NOW_MS + LEAD_MS, 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_drain("transi1"), "did you mean transit1? there are: ixp1, transit1, transit2"),
        (_drain(edge="fra-e9"), "there is no edge 'fra-e9'; did you mean fra-e"),
        (_drain(edge="fra-n1"), "there is no edge 'fra-n1'"),
        (_drain(edge="fra-e1", interface="x-ixp1"), "there are: x-transit1"),
        (_drain("ixp1", "fra-e1"), "no session fits ixp1@fra-e1; there are: transit1@fra-e1"),
        (replace(_drain("transit1"), verb=Verb.UNDRAIN), "transit1 is not drained; nothing is"),
        (InterventionChange(verb=Verb.UNBLACKHOLE, prefix="198.51.100.7"), "are: none"),
    ],
)
def test_what_is_not_there_is_not_found(change: InterventionChange, words: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        _after(change)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_drain(), "say what to drain"),
        (_drain(interface="x-ixp1"), "on which edge"),
        (_drain("transit1", wait_ms=-1), "cannot wait -1 ms"),
        (_hole("198.51.100.0/24"), "more than one address"),
        (_hole("198.51.100.7/24"), "is not an address"),
        (_hole("nonsense"), "is not an address"),
        (_hole("2001:db8:100::7%eth0"), "2001:db8:100::7%eth0/128 has a scope"),
        (_hole("192.0.2.7"), "in no aggregate of ours; there are: 198.51.100.0/24"),
        (_hole("198.51.100.7", NOW_MS), "over already"),
        (_hole("198.51.100.7", 0), "over already"),
        (_hole("198.51.100.7", NOW_MS + MAX_BLACKHOLE_MS + 1), "30 days at most"),
    ],
)
def test_what_makes_no_sense_is_refused(change: InterventionChange, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        _after(change)
    assert words in str(caught.value)


def test_undrain_names_what_is_drained_and_needs_no_platform() -> None:
    before = _after(_drain("transit1", "fra-e1"))
    undrain = InterventionChange(verb=Verb.UNDRAIN, peer="transit1")
    with pytest.raises(NotFoundError, match="drained: transit1@fra-e1"):
        _after(undrain, before)
    gone = replace(NETWORK, peers=())
    exact = replace(undrain, edge="fra-e1")
    assert apply_intervention(before, gone, exact, NOW_MS) == NOTHING


def test_a_freeze_keeps_its_beginning() -> None:
    once = _after(FREEZE)
    assert once.freeze == Freeze(since_ms=NOW_MS, why="storm", by="ada")
    assert _after(replace(FREEZE, why="other"), once, NOW_MS + 1) == once
    unfreeze = InterventionChange(verb=Verb.UNFREEZE)
    assert _after(unfreeze, once) == NOTHING
    assert _after(unfreeze) == NOTHING


def test_a_brake_is_released_for_a_while_and_holds_again_by_itself() -> None:
    until_ms = NOW_MS + HOUR_MS
    wish = InterventionChange(
        verb=Verb.RELEASE, datacenter="fra", until_ms=until_ms, why="fire", by="ada"
    )
    once = _released(wish, ("fra-n1", "fra-n2"))
    assert once.releases == (
        Release(
            datacenter="fra",
            nodes=("fra-n1", "fra-n2"),
            until_ms=until_ms,
            why="fire",
            by="ada",
        ),
    )
    assert _released(replace(wish, why="again"), ("fra-n1", "fra-n2"), once) == once
    longer = _released(replace(wish, until_ms=until_ms + 1), ("fra-n2", "fra-n3"), once)
    (release,) = longer.releases
    assert (release.nodes, release.until_ms) == (("fra-n2", "fra-n3"), until_ms + 1)
    assert once.released(until_ms - 1) == {"fra"}
    assert once.released(until_ms) == frozenset()
    assert _after(FREEZE, once, until_ms).releases == ()
    hold = InterventionChange(verb=Verb.HOLD, datacenter="fra")
    assert _after(hold, once) == NOTHING
    assert _after(hold) == NOTHING


def _released(
    wish: InterventionChange, nodes: tuple[str, ...], before: Interventions = NOTHING
) -> Interventions:
    return apply_intervention(before, NETWORK, wish, NOW_MS, nodes)


def test_a_brake_that_holds_nothing_is_not_released() -> None:
    wish = InterventionChange(verb=Verb.RELEASE, datacenter="fra", until_ms=NOW_MS + HOUR_MS)
    with pytest.raises(ConflictError, match="the brake of fra holds nothing"):
        _after(wish)


@pytest.mark.parametrize("until_ms", [0, NOW_MS, NOW_MS + MAX_RELEASE_MS + 1])
def test_a_brake_is_never_released_for_long(until_ms: int) -> None:
    wish = InterventionChange(verb=Verb.RELEASE, datacenter="fra", until_ms=until_ms)
    with pytest.raises(UsageError, match="a day at most"):
        _after(wish)


@pytest.mark.parametrize("verb", [Verb.RELEASE, Verb.HOLD])
def test_a_brake_is_that_of_a_datacenter(verb: Verb) -> None:
    wish = InterventionChange(verb=verb, datacenter="par", until_ms=NOW_MS + 1)
    with pytest.raises(NotFoundError, match="there is no datacenter 'par'"):
        _after(wish)


@pytest.mark.parametrize(
    "spec",
    [
        {"blackhole": False},
        {"blackhole": True, "kind": PeerKind.CUSTOMER},
        {"blackhole": True, "sessions": ()},
    ],
)
def test_a_blackhole_that_nobody_takes_is_refused(spec: dict[str, Any]) -> None:
    peers = tuple(replace(peer, **spec) for peer in NETWORK.peers)
    with pytest.raises(
        UsageError, match=r"nobody would drop 198\.51\.100\.7/32.*blackhole: true"
    ):
        apply_intervention(
            NOTHING, replace(NETWORK, peers=peers), _hole("198.51.100.7"), NOW_MS
        )


def test_a_blackhole_is_refused_if_those_who_take_it_lack_the_address_family() -> None:
    def of6(peer: Peer) -> Peer:
        sessions = tuple(
            replace(each, ours=each.ours[1:], theirs=each.theirs[1:]) for each in peer.sessions
        )
        return replace(peer, blackhole=True, sessions=sessions)

    only6 = replace(NETWORK, peers=tuple(map(of6, NETWORK.peers)))
    with pytest.raises(UsageError, match="no peer with an IPv4 session takes"):
        apply_intervention(NOTHING, only6, _hole("198.51.100.7"), NOW_MS)
    six = _hole("2001:db8:100::7")
    assert len(apply_intervention(NOTHING, only6, six, NOW_MS).blackholes) == 1


def test_a_blackhole_can_be_renewed_and_ended() -> None:
    once = _after(_hole("198.51.100.7"))
    host = ip_network("198.51.100.7/32")
    assert once.blackholes == (Blackhole(prefix=host, until_ms=NOW_MS + HOUR_MS),)
    assert _after(_hole("198.51.100.7/32"), once) == once
    longer = _after(_hole("198.51.100.7", NOW_MS + 2 * HOUR_MS), once)
    assert [hole.until_ms for hole in longer.blackholes] == [NOW_MS + 2 * HOUR_MS]
    two = _after(_hole("2001:db8:100::7"), longer)
    assert len(two.blackholes) == 2
    end = InterventionChange(verb=Verb.UNBLACKHOLE, prefix="198.51.100.7")
    assert [str(hole.prefix) for hole in _after(end, two).blackholes] == ["2001:db8:100::7/128"]


def test_what_is_over_is_dropped() -> None:
    once = _after(_hole("198.51.100.7"))
    assert len(_after(FREEZE, once, NOW_MS + HOUR_MS - 1).blackholes) == 1
    assert _after(FREEZE, once, NOW_MS + HOUR_MS).blackholes == ()


def test_what_is_over_by_itself_can_be_ended_too() -> None:
    """So that it is not named any more."""
    once = _after(
        _hole("198.51.100.7"), _after(replace(_drain("transit1"), until_ms=NOW_MS + 9))
    )
    late_ms = NOW_MS + HOUR_MS
    undrain = replace(_drain("transit1"), verb=Verb.UNDRAIN)
    end = InterventionChange(verb=Verb.UNBLACKHOLE, prefix="198.51.100.7")
    for change in (undrain, end):
        assert _after(change, once, late_ms) == NOTHING
    with pytest.raises(NotFoundError, match="transit2 is not drained; nothing is"):
        _after(replace(undrain, peer="transit2"), once, late_ms)
    with pytest.raises(NotFoundError, match="there are: none"):
        _after(replace(end, prefix="198.51.100.8"), once, late_ms)


# ---- datacenters, nodes, the calendar ------------------------------------------------------

LATER_MS = NOW_MS + HOUR_MS


def _place(**words: Any) -> InterventionChange:
    return InterventionChange(verb=Verb.DRAIN, why="power", by="ada", **words)


def test_a_datacenter_and_a_node_are_drained_and_undrained() -> None:
    both = _after(_place(node="fra-n1"), _after(_place(datacenter="fra")))
    assert [(d.about, d.wait_ms, d.why) for d in both.drains] == [
        ("datacenter/fra", 60_000, "power"),
        ("node/fra-n1", 0, "power"),
    ]
    left = _after(InterventionChange(verb=Verb.UNDRAIN, datacenter="fra"), both)
    assert [drain.about for drain in left.drains] == ["node/fra-n1"]
    with pytest.raises(NotFoundError, match="drained: node/fra-n1"):
        _after(InterventionChange(verb=Verb.UNDRAIN, datacenter="fra"), left)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"datacenter": "fr"}, "there is no datacenter 'fr'; did you mean fra"),
        ({"node": "fra-e1"}, "there is no node 'fra-e1'"),
        ({"datacenter": "fra", "node": "fra-n1"}, "say what to drain"),
        ({"datacenter": "fra", "peer": "transit1"}, "say what to drain"),
        ({"node": "fra-n1", "wait_ms": 0}, "no phases"),
        ({"node": "fra-n1", "since_ms": NOW_MS - 5000}, "would have begun 5 s ago"),
        ({"node": "fra-n1", "until_ms": NOW_MS}, "over before it begins"),
        ({"node": "fra-n1", "since_ms": LATER_MS, "until_ms": LATER_MS}, "over before"),
        ({"node": "fra-n1", "until_ms": NOW_MS + MAX_AHEAD_MS + 1}, "within ten years"),
        ({"node": "fra-n1", "since_ms": NOW_MS + MAX_AHEAD_MS + 1}, "within ten years"),
        ({"datacenter": "fra", "wait_ms": MAX_AHEAD_MS + 1}, "within ten years"),
    ],
)
def test_places_and_times_that_make_no_sense(
    words: dict[str, str | int], sentence: str
) -> None:
    with pytest.raises((NotFoundError, UsageError), match=sentence):
        _after(_place(**words))


def test_a_datacenter_without_a_session_has_nothing_to_drain() -> None:
    bare = replace(NETWORK, peers=())
    with pytest.raises(NotFoundError, match="no session fits datacenter/fra"):
        apply_intervention(NOTHING, bare, _place(datacenter="fra"), NOW_MS)


def test_a_plan_can_be_moved_begun_at_once_and_given_an_end() -> None:
    plan = _place(datacenter="fra", since_ms=LATER_MS, until_ms=LATER_MS + HOUR_MS)
    planned = _after(plan)
    assert (planned.drains[0].since_ms, planned.drains[0].until_ms) == (
        LATER_MS,
        LATER_MS + HOUR_MS,
    )
    assert _after(plan, planned, NOW_MS + 1) == planned
    (moved,) = _after(_place(datacenter="fra", since_ms=LATER_MS + 1), planned).drains
    assert (moved.since_ms, moved.until_ms) == (LATER_MS + 1, LATER_MS + HOUR_MS)
    (begun,) = _after(_place(datacenter="fra"), planned, NOW_MS + 7).drains
    assert begun.since_ms == NOW_MS + 7 + LEAD_MS
    with pytest.raises(UsageError, match="over before it begins"):
        _after(_place(datacenter="fra", since_ms=LATER_MS + HOUR_MS), planned)
    with pytest.raises(UsageError, match="is drained already"):
        _after(_place(datacenter="fra", since_ms=LATER_MS + 9), planned, LATER_MS + 1)


def test_a_drain_that_has_ended_by_itself_is_dropped() -> None:
    once = _after(_place(node="fra-n1", until_ms=LATER_MS))
    assert len(_after(FREEZE, once, LATER_MS - 1).drains) == 1
    assert _after(FREEZE, once, LATER_MS).drains == ()


def test_a_drain_lets_nodes_learn_of_their_guests_first_unless_it_is_urgent() -> None:
    once = _after(_drain("transit1"))
    assert once.drains[0].since_ms == NOW_MS + LEAD_MS
    assert _after(_drain("transit1"), once, NOW_MS + 1) == once
    (urgent,) = _after(_drain("transit1", wait_ms=0), once, NOW_MS + 1).drains
    assert urgent.since_ms == NOW_MS + 1
    assert _after(_drain("transit1", wait_ms=0)).drains[0].since_ms == NOW_MS
