"""What the outside part of an edge's configuration says, and BIRD's opinion of it."""

from dataclasses import replace
from ipaddress import IPv4Network, ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pltfrms.model.network.asns import reserved_asns
from pltfrms.model.network.interventions import Blackhole, Drain, Interventions
from pltfrms.model.network.peering import (
    Allowed,
    OriginValidation,
    Peer,
    PeerKind,
    Reject,
    RtrCache,
)
from pltfrms.model.network.topology import Aggregate, Platform
from pltfrms.model.network.traffic import Override
from pltfrms.render.bird import render_bird
from pltfrms.render.conditions import NORMAL, Conditions
from pltfrms.render.routing.outside import outside
from pltfrms.render.routing.outside_bogons import bogons
from tests.render.outside_world import EDGE, PLATFORM
from tests.render.platforms import TRANSIT
from tests.render.test_bird import complaints

REAL = replace(
    PLATFORM,
    asn=8283,
    aggregates=(Aggregate(prefix=ip_network("94.142.240.0/24")),),
    peers=(),
)


def session_text(text: str, name: str) -> str:
    """Return the protocol of a session out of a configuration."""
    begin = text.index(f"protocol bgp '{name}'")
    return text[begin : text.index("\n}\n", begin)]


def limits(platform: Platform, conditions: Conditions = NORMAL) -> dict[str, int | None]:
    made = outside(platform, platform.machine(EDGE), conditions)
    return {each.name: each.export_limit for each in made.sessions}


def test_bird_takes_the_same_link_local_addresses_on_two_ports(tmp_path: Path) -> None:
    sessions = tuple(
        replace(
            TRANSIT.sessions[0],
            ours=(ip_interface("fe80::2/64"),),
            theirs=(ip_address("fe80::1"),),
            interface=port,
        )
        for port in ("x-one", "x-two")
    )
    platform = replace(PLATFORM, peers=(replace(TRANSIT, sessions=sessions),))
    text = render_bird(platform, EDGE)
    assert text.count("neighbor fe80::1 as") == 2
    assert complaints(text, tmp_path) == ""


# ---- what is reserved ----------------------------------------------------------------------


def test_a_platform_in_the_real_world_refuses_everything_reserved() -> None:
    assert "198.18.0.0/15+" in bogons(REAL, 4)
    assert "2001:db8::/32+" in bogons(REAL, 6)
    refused, spared = reserved_asns(REAL)
    assert (64512, 65534) in refused
    assert spared == ()


def test_a_laboratory_may_use_what_it_lives_on(tmp_path: Path) -> None:
    assert "198.18.0.0/15+" not in bogons(PLATFORM, 4)
    assert "10.0.0.0/8+" in bogons(PLATFORM, 4)
    refused, spared = reserved_asns(PLATFORM)
    assert spared == ((64496, 64511),)
    assert (64512, 65534) in refused
    text = render_bird(PLATFORM, EDGE)
    assert "#   64496..64511" in text
    assert complaints(text, tmp_path) == ""


# ---- sessions ------------------------------------------------------------------------------


def test_every_reason_is_there_with_its_number_and_its_words() -> None:
    text = render_bird(PLATFORM, EDGE)
    for reject in Reject:
        wanted = f"define REFUSE_{reject.name} = {reject.number};  # {reject.sentence}\n"
        assert wanted in text
        assert text.count(f"refuse(REFUSE_{reject.name})") >= (
            reject not in {Reject.DRAINED, Reject.LOOP}
        )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("transit1", ("local role customer;", "enforce first as on;", "take(7, 100);")),
        ("rs1", ("local role rs_client;", "enforce first as off;", "take(6, 200);")),
        ("member1", ("local role peer;", "enforce first as on;", "take(5, 210);")),
        (
            "pni1",
            ("local role peer;", "require roles on;", "ttl security on;", "take(4, 220);"),
        ),
        ("pni1", ('password "between us two";', "check_transits([ 64501, 64502 ]);")),
        (
            "cust1",
            ("local role provider;", "bfd on;", "take(3, 300);", "to_customer(64505, 3);"),
        ),
        ("cust1", ("check_customer([ 31.16.0.0/20{20,24} ], [ 64505, 64506 ]);",)),
        ("cust1", ("accept_blackhole([ 31.16.0.0/20{32,32} ], [ 64505, 64506 ], 300);",)),
        ("leaky", ("receive limit 20 action restart;", "to_everybody(64507, 4);")),
    ],
)
def test_what_a_session_is_like(name: str, words: tuple[str, ...]) -> None:
    text = session_text(render_bird(PLATFORM, EDGE), f"peer.{name}.ipv4")
    for word in words:
        assert word in text


def test_traffic_for_others_always_comes_through_us() -> None:
    text = render_bird(PLATFORM, EDGE)
    outside_part = text[text.index("template bgp outside_session") :]
    assert outside_part.count("next hop self;") == outside_part.count("protocol bgp 'peer.")


def test_only_peers_that_speak_it_hear_of_blackholes() -> None:
    text = render_bird(PLATFORM, EDGE)
    assert "is_blackhole_of_ours()" in session_text(text, "peer.transit1.ipv4")
    assert "is_blackhole_of_ours()" not in session_text(text, "peer.transit2.ipv4")
    assert "is_blackhole_of_ours()" not in session_text(text, "peer.cust1.ipv4")
    assert "accept_blackhole(" not in session_text(text, "peer.transit1.ipv4")


def test_a_peer_that_is_a_transit_elsewhere_is_not_locked_out() -> None:
    pni = replace(PLATFORM.peers[4], asn=64501)
    text = render_bird(replace(PLATFORM, peers=(*PLATFORM.peers[:2], pni)), EDGE)
    assert "check_transits([ 64502 ]);" in session_text(text, "peer.pni1.ipv4")
    assert "check_transits" not in session_text(text, "peer.transit1.ipv4")


def test_a_customer_without_prefixes_of_a_family_may_announce_none(tmp_path: Path) -> None:
    customer = replace(PLATFORM.peers[6], allowed=())
    text = render_bird(replace(PLATFORM, peers=(customer,)), EDGE)
    assert complaints(text, tmp_path) == ""
    assert "check_customer([  ]" in text
    assert "refuse_blackhole();" in session_text(text, "peer.cust1.ipv4")


def test_export_limits_know_what_may_be_announced() -> None:
    # Two /20 up to /24 have 62 prefixes, /32 up to /48 more than the 400 000 accepted.
    assert limits(PLATFORM)["peer.transit1.ipv4"] == 1 + 62
    assert limits(PLATFORM)["peer.transit1.ipv6"] == 1 + 131_071
    assert limits(PLATFORM)["peer.cust1.ipv4"] is None
    hole = Blackhole(prefix=IPv4Network("198.51.100.9/32"), until_ms=10)
    conditions = Conditions(interventions=Interventions(blackholes=(hole,)))
    assert limits(PLATFORM, conditions)["peer.transit1.ipv4"] == 1 + 62 + 1
    assert limits(PLATFORM, conditions)["peer.transit2.ipv4"] == 1 + 62
    few = replace(PLATFORM.peers[6], max_prefixes4=7)
    peers = tuple(few if peer.name == few.name else peer for peer in PLATFORM.peers)
    assert limits(replace(PLATFORM, peers=peers))["peer.transit1.ipv4"] == 1 + 7 + 31
    assert limits(replace(PLATFORM, peers=(TRANSIT,), aggregates=())) == {
        "peer.transit1.ipv4": 1,
        "peer.transit1.ipv6": 1,
    }


def test_nothing_deviates_without_a_reason_and_what_ended_is_gone() -> None:
    over = Override(peer="transit1", prepend=3, until_ms=1000)
    changed = replace(PLATFORM, traffic=(over,))
    assert render_bird(changed, EDGE, Conditions(now_ms=1000)) == render_bird(PLATFORM, EDGE)
    during = render_bird(changed, EDGE, Conditions(now_ms=999))
    assert during.count("if net = 198.51.100.0/24 then {") == 1
    assert during.count("if net = 2001:db8:100::/48 then {") == 1
    assert during.count("        bgp_path.prepend(OUR_ASN);") == 6


def test_a_held_outside_and_an_archive() -> None:
    plain = render_bird(PLATFORM, EDGE)
    assert "disabled" not in plain
    assert "mrtdump" not in plain
    held = render_bird(PLATFORM, EDGE, Conditions(hold_outside=True, archive="/a/b.mrt"))
    assert held.count("  disabled yes;") == plain.count("protocol bgp 'peer.")
    assert 'mrtdump "/a/b.mrt";' in held
    assert held.count("mrtdump {") == 1


def test_without_caches_there_is_no_origin_validation(tmp_path: Path) -> None:
    text = render_bird(replace(PLATFORM, origin_validation=OriginValidation()), EDGE)
    assert complaints(text, tmp_path) == ""
    assert "rpki" not in text
    two = OriginValidation(caches=PLATFORM.origin_validation.caches * 2)
    text = render_bird(replace(PLATFORM, origin_validation=two), EDGE)
    assert complaints(text, tmp_path) == ""
    assert "protocol rpki 'rpki.cache2'" in text


# ---- anything ------------------------------------------------------------------------------

KINDS = st.sampled_from(PeerKind)
NUMBERS = st.integers(1, 4_294_967_295)
COMMUNITIES = st.one_of(
    st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
    st.tuples(NUMBERS, NUMBERS, NUMBERS),
)


@st.composite
def peers(draw: st.DrawFn) -> Peer:
    like = draw(st.sampled_from(PLATFORM.peers))
    prefix = ip_network(draw(st.sampled_from(["31.0.0.0/8", "31.7.0.0/24", "2a00::/12"])))
    longest = draw(st.integers(prefix.prefixlen, prefix.max_prefixlen))
    return replace(
        like,
        kind=draw(KINDS),
        asn=draw(NUMBERS),
        route_server=draw(st.booleans()),
        allowed=draw(st.sampled_from([(), (Allowed(prefix=prefix, max_length=longest),)])),
        allowed_asns=tuple(draw(st.lists(NUMBERS, max_size=2))),
        blackhole=draw(st.booleans()),
    )


@st.composite
def overrides(draw: st.DrawFn) -> Override:
    return Override(
        kind=draw(st.none() | KINDS),
        announce=draw(st.none() | st.booleans()),
        prepend=draw(st.none() | st.integers(0, 5)),
        med=draw(st.none() | st.integers(0, 4_294_967_295)),
        no_export=draw(st.none() | st.booleans()),
        communities=tuple(draw(st.lists(COMMUNITIES, max_size=3))),
        preference=draw(st.none() | st.integers(1, 300)),
    )


@st.composite
def anything(draw: st.DrawFn) -> Conditions:
    hole = Blackhole(prefix=ip_network("198.51.100.9/32"), until_ms=draw(st.integers(0, 20)))
    drain = Drain(edge=EDGE, since_ms=0, wait_ms=draw(st.integers(0, 20)))
    return Conditions(
        hold_outside=draw(st.booleans()),
        interventions=Interventions(
            drains=draw(st.sampled_from([(), (drain,)])), blackholes=(hole,)
        ),
        now_ms=10,
        archive=draw(st.sampled_from(["", "/var/lib/x.mrt"])),
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    some=st.lists(peers(), max_size=4, unique_by=lambda peer: peer.name),
    traffic=st.lists(overrides(), max_size=3),
    conditions=anything(),
    caches=st.sampled_from([(), PLATFORM.origin_validation.caches]),
)
def test_bird_accepts_any_outside(
    some: list[Peer],
    traffic: list[Override],
    conditions: Conditions,
    caches: tuple[RtrCache, ...],
    tmp_path: Path,
) -> None:
    platform = replace(
        PLATFORM,
        peers=tuple(some),
        traffic=tuple(traffic),
        origin_validation=OriginValidation(caches=caches),
    )
    assert complaints(render_bird(platform, EDGE, conditions), tmp_path) == ""
