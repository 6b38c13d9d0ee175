"""What the neighbours see of a change."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pltfrms.model.messages.guards import Effect
from pltfrms.model.network.announcements import announcements
from pltfrms.model.network.interventions import Blackhole, Interventions
from pltfrms.model.network.links import FabricPort, Link, LinkKind
from pltfrms.model.network.peering import (
    Allowed,
    DefaultRoute,
    OriginValidation,
    Peer,
    PeerKind,
    RtrCache,
)
from pltfrms.model.network.topology import (
    Aggregate,
    AnnouncePolicy,
    Guards,
    NodePrefixes,
    Platform,
    Timers,
)
from pltfrms.model.network.traffic import Override
from pltfrms.planner.changes.routing_diff import routing_changes
from tests.planner.networks import (
    FOUR,
    NETWORK,
    NOTHING,
    NOW_MS,
    SIX,
    drain,
    interventions,
    make_session,
    platforms,
    with_peer,
    without_sessions,
)

Seen = list[tuple[str, str, Effect]]
TRANSIT = NETWORK.peers[0]


def _diff(
    after: Platform,
    interventions_after: Interventions = NOTHING,
    *,
    before: Platform = NETWORK,
    interventions_before: Interventions = NOTHING,
) -> Seen:
    changes = routing_changes(before, after, interventions_before, interventions_after, NOW_MS)
    return [(change.session, change.what, change.effect) for change in changes]


def _with(*traffic: Override) -> Platform:
    return replace(NETWORK, traffic=traffic)


def _session_change(**changes: object) -> Seen:
    """Return what a change of the first session of transit1 shows."""
    first = replace(TRANSIT.sessions[0], **changes)  # type: ignore[arg-type] # by field name
    sessions = (first, *TRANSIT.sessions[1:])
    return _diff(with_peer(NETWORK, replace(TRANSIT, sessions=sessions)))


def test_a_withdrawal_is_seen_where_it_happens_and_nowhere_else() -> None:
    override = Override(announce=False, prefix=FOUR, peer="transit1", edge="fra-e1")
    assert _diff(_with(override)) == [("transit1@fra-e1", f"-{FOUR}", Effect.MOVES)]
    back = _diff(NETWORK, before=_with(override))
    assert back == [("transit1@fra-e1", f"+{FOUR}", Effect.MOVES)]


def test_attributes_are_shown_with_what_they_were() -> None:
    override = Override(
        prefix=FOUR,
        edge="fra-e1",
        prepend=2,
        med=10,
        no_export=True,
        communities=((64601, 3), (64601, 1, 2)),
    )
    assert _diff(_with(override)) == [
        (
            "transit1@fra-e1",
            (
                f"{FOUR} prepend x0 -> x2, med none -> 10, no-export off -> on, "
                "communities none -> 64601:3 64601:1:2"
            ),
            Effect.MOVES,
        )
    ]
    silent = _with(Override(prefix=FOUR, edge="fra-e1", announce=False))
    ((_, what, _),) = _diff(_with(override), before=silent)
    assert what == f"+{FOUR} prepend x2 med 10 no-export communities 64601:3 64601:1:2"


def test_a_preference_moves_traffic() -> None:
    assert _diff(_with(Override(edge="fra-e1", preference=50))) == [
        ("transit1@fra-e1", "preference 100 -> 50", Effect.MOVES)
    ]


def test_what_becomes_of_a_default_route_moves_traffic() -> None:
    accepting = with_peer(NETWORK, replace(TRANSIT, default=DefaultRoute.ACCEPT))
    seen = _diff(accepting)
    assert ("transit1@fra-e1", "default refuse -> accept", Effect.MOVES) in seen
    assert len(seen) == len(TRANSIT.sessions)


def test_sessions_come_and_go_with_their_prefixes() -> None:
    less = without_sessions(NETWORK, "transit1@fra-e1")
    assert _diff(less) == [
        ("transit1@fra-e1", "session removed", Effect.MOVES),
        ("transit1@fra-e1", f"-{FOUR}", Effect.MOVES),
        ("transit1@fra-e1", f"-{SIX}", Effect.MOVES),
    ]
    assert [what for _, what, _ in _diff(NETWORK, before=less)] == [
        "session added",
        f"+{FOUR}",
        f"+{SIX}",
    ]


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("bfd", False, "bfd on -> off"),
        ("gtsm", True, "gtsm off -> on"),
        ("require_role", True, "require_role off -> on"),
        ("interface", "eth7", "interface x-transit1 -> eth7"),
        (
            "theirs",
            make_session("fra-e1", 0).theirs[:1],
            "their addresses 203.0.113.0, 2001:db8:f000:: -> 203.0.113.0",
        ),
        ("password", "open sesame", "password added"),
    ],
)
def test_what_makes_bird_restart_a_session_is_a_reset(
    field: str, value: object, what: str
) -> None:
    assert _session_change(**{field: value}) == [("transit1@fra-e1", what, Effect.RESET)]


def test_a_password_is_never_shown() -> None:
    secret = with_peer(
        NETWORK,
        replace(
            TRANSIT,
            sessions=tuple(replace(each, password="hush") for each in TRANSIT.sessions),  # noqa: S106 - no secret
        ),
    )
    other = with_peer(
        NETWORK,
        replace(
            TRANSIT,
            sessions=tuple(replace(each, password="psst") for each in TRANSIT.sessions),  # noqa: S106 - no secret
        ),
    )
    changed, removed = _diff(other, before=secret), _diff(NETWORK, before=secret)
    assert [what for _, what, _ in changed] == ["password changed"] * 3
    assert [what for _, what, _ in removed] == ["password removed"] * 3


def test_the_peer_itself_changes_on_all_its_sessions() -> None:
    peer = replace(TRANSIT, asn=64999, kind=PeerKind.PNI, max_prefixes4=9)
    seen = _diff(with_peer(NETWORK, peer))
    assert [line[1:] for line in seen if line[0] == "transit1@ams-e2"] == [
        ("kind transit -> pni", Effect.RESET),
        ("asn 64601 -> 64999", Effect.RESET),
        ("role customer -> peer", Effect.RESET),
        ("preference 100 -> 220", Effect.MOVES),
        ("max_prefixes ipv4 1500000 -> 9", Effect.COSMETIC),
    ]
    assert len(seen) == 3 * 5


def test_timers_of_bfd_are_cosmetic() -> None:
    timers = Timers(external_bfd_interval_ms=200, bfd_multiplier=5)
    seen = _diff(replace(NETWORK, timers=timers))
    assert len(seen) == 9 * 2
    assert seen[:2] == [
        ("transit1@fra-e1", "bfd interval 300 ms -> 200 ms", Effect.COSMETIC),
        ("transit1@fra-e1", "bfd multiplier 3 -> 5", Effect.COSMETIC),
    ]


def test_what_a_customer_may_no_longer_announce_moves_traffic() -> None:
    allowed = Allowed(prefix=ip_network("192.0.2.0/24"), max_length=24)
    longer = Allowed(prefix=ip_network("2001:db8:7::/48"), max_length=56)
    customer = Peer(
        name="shop",
        kind=PeerKind.CUSTOMER,
        asn=64777,
        sessions=(make_session("fra-e1", 60),),
        allowed=(allowed,),
    )
    platform = replace(NETWORK, peers=(*NETWORK.peers, customer))
    more = with_peer(
        platform, replace(customer, allowed=(allowed, longer), allowed_asns=(64778,))
    )
    assert _diff(more, before=platform) == [
        ("shop@fra-e1", "allowed +2001:db8:7::/48 up to /56 +AS64778", Effect.COSMETIC)
    ]
    assert _diff(platform, before=more) == [
        ("shop@fra-e1", "allowed -2001:db8:7::/48 up to /56 -AS64778", Effect.MOVES)
    ]


def test_a_drain_says_when_it_withdraws() -> None:
    soon = drain("transit1", "fra-e1", wait_ms=60_000)
    words = "graceful shutdown, withdrawn in 60 s"
    assert _diff(NETWORK, soon) == [
        ("transit1@fra-e1", f"{FOUR} {words}", Effect.MOVES),
        ("transit1@fra-e1", f"{SIX} {words}", Effect.MOVES),
    ]
    assert _diff(NETWORK, interventions_before=soon)[0][1] == f"{FOUR} graceful shutdown ends"
    later = drain(
        datacenter="fra", since_ms=NOW_MS + 9000, wait_ms=1000, until_ms=NOW_MS + 20_000
    )
    lines = _diff(NETWORK, later)
    words = f"{FOUR} graceful shutdown in 9.0 s, withdrawn in 10 s, back in 20 s"
    assert lines[0] == ("transit1@fra-e1", words, Effect.MOVES)
    assert {line[0].split("@")[1] for line in lines} == {"fra-e1", "fra-e2"}
    at_once = drain("transit1", "fra-e1")
    assert [what for _, what, _ in _diff(NETWORK, at_once)] == [f"-{FOUR}", f"-{SIX}"]
    assert _diff(NETWORK, at_once, interventions_before=at_once) == []


_SOON = "graceful shutdown in 9.0 s"
CALLED_OFF = "the drain that was planned is called off"


@pytest.mark.parametrize(
    ("since_ms", "wait_ms", "until_ms", "words", "effect"),
    [
        (9000, 1000, 0, f"{FOUR} {CALLED_OFF}", Effect.COSMETIC),
        (9000, 0, 20_000, f"{FOUR} {CALLED_OFF}", Effect.COSMETIC),
        (-9000, 60_000, 0, f"{FOUR} graceful shutdown ends", Effect.MOVES),
        (-9000, 1000, 0, f"+{FOUR}", Effect.MOVES),
        (-9000, 1000, -10, "", Effect.COSMETIC),
    ],
    ids=["planned", "planned for a while", "begun", "withdrawn", "over"],
)
def test_the_end_of_a_drain_says_how_far_it_was(
    since_ms: int, wait_ms: int, until_ms: int, words: str, effect: Effect
) -> None:
    was = drain(
        "transit1",
        "fra-e1",
        since_ms=NOW_MS + since_ms,
        wait_ms=wait_ms,
        until_ms=NOW_MS + until_ms if until_ms else 0,
    )
    lines = _diff(NETWORK, interventions_before=was)
    assert lines[:1] == ([("transit1@fra-e1", words, effect)] if words else [])


def test_a_drain_that_ends_leaves_room_for_one_that_is_planned() -> None:
    now = drain("transit1", "fra-e1", since_ms=NOW_MS - 9000, wait_ms=60_000)
    later = drain("transit1", since_ms=NOW_MS + 80_000, wait_ms=1000)
    both = replace(now, drains=(*now.drains, *later.drains))
    words = "graceful shutdown ends, graceful shutdown in 80 s, withdrawn in 81 s"
    assert _diff(NETWORK, later, interventions_before=both)[0][1] == f"{FOUR} {words}"


@pytest.mark.parametrize(
    ("wait_ms", "until_ms", "words"),
    [
        (0, 0, "withdrawn in 9.0 s"),
        (0, 20_000, "withdrawn in 9.0 s, back in 20 s"),
        (60_000, 20_000, "graceful shutdown in 9.0 s, ends in 20 s"),
        (
            3_600_000,
            7 * 86_400_000,
            "graceful shutdown in 9.0 s, withdrawn in 60 min, back in 7 d",
        ),
    ],
)
def test_a_planned_drain_names_only_the_phases_that_it_will_have(
    wait_ms: int, until_ms: int, words: str
) -> None:
    until_ms = NOW_MS + until_ms if until_ms else 0
    planned = drain(
        "transit1", "fra-e1", since_ms=NOW_MS + 9000, wait_ms=wait_ms, until_ms=until_ms
    )
    assert _diff(NETWORK, planned)[0][1] == f"{FOUR} {words}"


def test_a_blackhole_goes_to_those_that_speak_it() -> None:
    host = ip_network("198.51.100.7/32")
    holes = Interventions(blackholes=(Blackhole(prefix=host, until_ms=NOW_MS + 1),))
    mute = with_peer(NETWORK, replace(TRANSIT, blackhole=False))
    assert _diff(mute, holes, before=mute) == []
    seen = _diff(NETWORK, holes)
    assert seen == [
        (f"transit1@{edge}", f"+{host} blackhole", Effect.MOVES)
        for edge in ("fra-e1", "fra-e2", "ams-e2")
    ]
    over = Interventions(blackholes=(Blackhole(prefix=host, until_ms=NOW_MS),))
    assert _diff(NETWORK, over) == []


def test_links_are_the_backbone() -> None:
    first, *others = NETWORK.links
    ends = (ip_address("192.0.2.1"), ip_address("192.0.2.2"))
    tunnel = replace(
        first, kind=LinkKind.WIREGUARD, endpoints=ends, mtu=1420, capacity_mbps=1000
    )
    seen = _diff(replace(NETWORK, links=(tunnel, *others)))
    assert seen == [
        ("backbone", "fra-e1--ams-e2 kind direct -> wireguard", Effect.MOVES),
        (
            "backbone",
            "fra-e1--ams-e2 endpoints none -> ams-e2 192.0.2.2, fra-e1 192.0.2.1",
            Effect.MOVES,
        ),
        ("backbone", "fra-e1--ams-e2 mtu 1500 -> 1420", Effect.MOVES),
        (
            "backbone",
            "fra-e1--ams-e2 capacity 10000 Mbit/s -> 1000 Mbit/s",
            Effect.COSMETIC,
        ),
    ]
    turned = replace(first, a=first.b, b=first.a)
    assert _diff(replace(NETWORK, links=(turned, *others))) == []
    around = replace(tunnel, a=tunnel.b, b=tunnel.a, endpoints=ends[::-1])
    with_tunnel = replace(NETWORK, links=(tunnel, *others))
    ((_, what, effect),) = _diff(replace(NETWORK, links=(around, *others)), before=with_tunnel)
    assert what.startswith("ams-e2--fra-e1 was fra-e1--ams-e2: other keys, nothing passes")
    assert effect is Effect.MOVES
    new = Link(a="fra-e1", b="lon-e2")
    assert [what for _, what, _ in _diff(replace(NETWORK, links=(*others, new)))] == [
        "fra-e1--ams-e2 removed",
        "fra-e1--lon-e2 added",
    ]


def test_links_between_the_same_edges_are_told_apart_by_their_labels() -> None:
    first, *others = NETWORK.links
    second = replace(first, a=first.b, b=first.a, label="coast")
    both = replace(NETWORK, links=(*NETWORK.links, second))
    assert [what for _, what, _ in _diff(both)] == ["ams-e2--fra-e1:coast added"]
    named = replace(second, interfaces=("eno4", ""))
    seen = _diff(replace(NETWORK, links=(first, *others, named)), before=both)
    stays = "fra-e1 bb-ams-e2.coast"
    what = f"interfaces ams-e2 bb-fra-e1.coast, {stays} -> ams-e2 eno4, {stays}"
    assert seen == [("backbone", f"ams-e2--fra-e1:coast {what}", Effect.MOVES)]


def test_another_name_of_a_port_is_shown_once_for_all_machines_that_have_it() -> None:
    fra, *others = NETWORK.datacenters
    named = replace(fra, ports=(FabricPort(fabric="a", interface="eno1.100"),))
    after = replace(NETWORK, datacenters=(named, *others))
    machines = [each.name for each in NETWORK.machines if each.datacenter == "fra"]
    assert _diff(after) == [
        (
            "fabrics",
            f"a fab-a -> eno1.100 on {machines[0]} and {len(machines) - 1} more",
            Effect.MOVES,
        )
    ]


def test_what_no_neighbour_sees_comes_last() -> None:
    cache = RtrCache(address=ip_address("2001:db8::1"))
    after = replace(
        NETWORK,
        aggregates=(
            Aggregate(prefix=FOUR, announce=AnnouncePolicy.ALWAYS),
            NETWORK.aggregates[1],
        ),
        origin_validation=OriginValidation(caches=(cache,), hold_seconds=9),
        guards=Guards(announce_floor=2, node_prefixes=NodePrefixes.PLACED),
    )
    assert _diff(after) == [
        ("aggregates", f"{FOUR} announce healthy-local -> always", Effect.MOVES),
        ("rpki", "+cache 2001:db8::1 port 3323", Effect.COSMETIC),
        ("rpki", "hold 30 s -> 9 s", Effect.COSMETIC),
        ("guards", "announce_floor 1 -> 2", Effect.COSMETIC),
        ("guards", "node_prefixes any -> placed", Effect.COSMETIC),
    ]


@settings(max_examples=50)
@given(platforms, interventions)
def test_the_same_is_no_change(platform: Platform, standing: Interventions) -> None:
    assert routing_changes(platform, platform, standing, standing, NOW_MS) == ()


@settings(max_examples=100)
@given(platforms, platforms, interventions, interventions, st.booleans())
def test_every_withdrawal_and_announcement_is_shown(
    before: Platform,
    after: Platform,
    standing: Interventions,
    wanted: Interventions,
    same_platform: bool,  # noqa: FBT001 - a strategy's value
) -> None:
    after = before if same_platform else after
    shown = {
        (change.session, sign, what.split()[0])
        for change in routing_changes(before, after, standing, wanted, NOW_MS)
        for sign, what in [(change.what[0], change.what[1:])]
        if sign in "+-"
    }
    old, new = (
        {(a.session, str(a.prefix)) for a in announcements(*side, NOW_MS) if a.visible}
        for side in ((before, standing), (after, wanted))
    )
    assert shown == {(s, "-", p) for s, p in old - new} | {(s, "+", p) for s, p in new - old}
