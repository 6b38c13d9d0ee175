"""What an edge takes from the outside and what it says to it: a real BIRD among real ones."""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

import pytest

from pltfrms.model.network.interventions import Blackhole, Drain, Interventions
from pltfrms.model.network.peering import PeerKind, Reject
from pltfrms.model.network.traffic import Override
from pltfrms.render.conditions import Conditions
from tests.render.namespaces import eventually
from tests.render.outside_rig import Rig, rig
from tests.render.outside_world import AGGREGATE, PLATFORM, SAYINGS, SERVICE, Said

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.xdist_group("outside-live"),
]

NEVER_UP = {"peer.odd.ipv4", "peer.leaky.ipv4"}
"""One says the wrong role, and one does not speak yet."""
FROM_HIDDEN = {"31.18.0.0/24", "31.18.1.0/24"}
FROM_CUSTOMER = {"31.16.0.0/24", "31.16.3.0/24"} | FROM_HIDDEN
NOT_TO_PNI, ONLY_ELSEWHERE, NOT_TO_TRANSIT = "31.16.8.0/24", "31.16.9.0/24", "31.16.10.0/24"
WISHING = {NOT_TO_PNI, ONLY_ELSEWHERE, NOT_TO_TRANSIT}
ACCEPTED = {said.prefix for said in SAYINGS if not said.reason and ":" not in said.prefix}


def is_validated(net: Rig) -> bool:
    """Return whether the cache has spoken, and the routes were judged by it."""
    valid = net.birdc("edge", "show route all where net = 31.64.0.0/16")
    invalid = net.birdc("edge", "show route filtered all where net = 31.65.0.0/24")
    return "(64500, 20, 1)" in valid and f"(64500, 15, {Reject.RPKI_INVALID.number})" in invalid


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("outside")) as made:
        assert eventually(lambda: made.sessions_down() == NEVER_UP), made.sessions_down()
        assert eventually(lambda: made.seen("transit1").keys() >= FROM_CUSTOMER, 5)
        assert eventually(lambda: is_validated(made), 30), "RPKI has no say yet"
        yield made


def name(said: Said) -> str:
    return f"peer.{said.peer}.ipv{6 if ':' in said.prefix else 4}"


def path(route: str) -> list[int]:
    found = re.search(r"BGP.as_path: ([\d ]+)", route)
    return [int(asn) for asn in found.group(1).split()] if found else []


def ours(route: str) -> set[tuple[int, int]]:
    found = re.findall(r"\(64500, (\d+), (\d+)\)", route)
    return {(int(function), int(value)) for function, value in found}


def drained(now_ms: int) -> Conditions:
    drain = Drain(peer="transit1", since_ms=0, wait_ms=1000)
    return Conditions(interventions=Interventions(drains=(drain,)), now_ms=now_ms)


# ---- in ------------------------------------------------------------------------------------


def test_sessions_come_up_with_shared_secret_ttl_and_required_role(net: Rig) -> None:
    assert net.up("peer.pni1.ipv4")
    odd = "show protocols 'peer.odd.ipv4'"
    assert eventually(lambda: "Role mismatch" in net.birdc("edge", odd), 10)


@pytest.mark.parametrize("said", [s for s in SAYINGS if s.reason], ids=lambda s: s.prefix)
def test_a_refused_route_says_why(net: Rig, said: Said) -> None:
    routes = net.routes("edge", f"filtered protocol '{name(said)}'")
    assert ours(routes[said.prefix]) == {(15, said.reason)}
    assert said.prefix not in net.routes("edge", f"protocol '{name(said)}'")


@pytest.mark.parametrize("said", [s for s in SAYINGS if not s.reason], ids=lambda s: s.prefix)
def test_an_accepted_route_is_marked_and_preferred(net: Rig, said: Said) -> None:
    route = net.routes("edge", f"protocol '{name(said)}'")[said.prefix]
    assert ours(route) == set(said.tags)
    assert f"BGP.local_pref: {said.preference}\n" in route


def test_every_reason_is_tried() -> None:
    tried = {said.reason for said in SAYINGS if said.reason}
    elsewhere = {Reject.AS_SET.number, Reject.DRAINED.number}
    assert tried | elsewhere == {reject.number for reject in Reject}


def test_a_blackhole_of_a_customer_is_dropped_here_and_told_to_nobody(net: Rig) -> None:
    assert "blackhole 31.16.4.7" in net.ip("edge", "route show 31.16.4.7")
    assert "(65535,65281)" in net.routes("edge", "31.16.4.7/32")["31.16.4.7/32"]
    for peer in ("transit1", "transit2", "rs1", "pni1"):
        assert "31.16.4.7/32" not in net.seen(peer)


def test_a_new_record_of_rpki_takes_a_route_away(net: Rig) -> None:
    words = "protocol 'peer.transit1.ipv4' where net = 31.2.0.0/16"
    assert net.routes("edge", words)
    net.roas(("31.2.0.0/16", 16, 1299))
    assert eventually(lambda: not net.routes("edge", words), 8)
    assert "(64500, 15, 6)" in net.routes("edge", f"filtered {words}")["31.2.0.0/16"]
    net.roas()
    assert eventually(lambda: net.routes("edge", words), 8)


# ---- out -----------------------------------------------------------------------------------


def test_who_hears_what(net: Rig) -> None:
    assert {SERVICE, "10.1.1.0/24"} <= net.routes("edge", "protocol 'node.fra-n1.a'").keys()
    every = FROM_CUSTOMER | {AGGREGATE}
    for peer in ("transit1", "transit2"):
        assert net.seen(peer).keys() == every | {NOT_TO_PNI}
    assert net.seen("pni1").keys() == every | {NOT_TO_TRANSIT}
    assert net.seen("member1").keys() == every | {NOT_TO_PNI, NOT_TO_TRANSIT}
    wished = {AGGREGATE, "31.16.0.0/24", NOT_TO_PNI, NOT_TO_TRANSIT} | FROM_HIDDEN
    assert net.seen("rs1").keys() == wished, "as the customer wishes"
    everything = (
        ACCEPTED - FROM_CUSTOMER - WISHING - {"31.16.4.7/32"} | {AGGREGATE} | FROM_HIDDEN
    )
    assert net.seen("cust1").keys() == everything
    assert net.seen("transit1", 6).keys() == {"2001:db8:100::/48", "2a00:1::/48"}
    assert net.seen("cust1", 6).keys() == {"2001:db8:100::/48", "2a00:2::/32"}


def test_paths_are_as_customers_wish_and_communities_of_ours_stay_in(net: Rig) -> None:
    assert path(net.seen("transit1")["31.16.3.0/24"]) == [64500, 64500, 64500, 64505, 64506]
    assert path(net.seen("transit2")["31.16.3.0/24"]) == [64500, 64505, 64506]
    for peer in ("transit1", "cust1"):
        assert not any(ours(route) for route in net.seen(peer).values())
    foreign = net.seen("cust1")["31.2.0.0/16"]
    assert "(64501, 1, 1)" in foreign
    assert "(64501,7)" in foreign


def test_a_private_asn_behind_a_customer_is_never_seen_by_anybody_outside(net: Rig) -> None:
    for peer in ("transit1", "transit2", "rs1", "member1", "pni1", "cust1"):
        seen = net.seen(peer)
        for prefix in FROM_HIDDEN:
            assert path(seen[prefix]) == [64500], peer
        assert not re.search(r"\b(650\d\d|42\d{8})\b", "".join(seen.values()))
    for prefix in FROM_HIDDEN:
        assert 65010 in path(net.routes("edge", prefix)[prefix]), "we know whose it is"


def test_wishes_for_datacenters_are_obeyed_wherever_the_route_is_heard(net: Rig) -> None:
    other_edge = """
    protocol bgp 'edge.ams-e1' {
      local 203.0.113.109 as OUR_ASN; neighbor 203.0.113.9 as OUR_ASN; direct;
      connect delay time 1; connect retry time 1;
      ipv4 { import filter { from_edge(); accept; }; export none; };
    }
    """
    net.apply(extra=other_edge)
    from_ams = {f"31.17.{number}.0/24" for number in range(4)}
    carried = from_ams - {"31.17.1.0/24"}
    assert eventually(lambda: net.routes("edge", "protocol 'edge.ams-e1'").keys() == carried)

    def heard() -> set[str]:
        return {prefix for prefix in net.seen("transit1") if prefix in from_ams}

    assert eventually(lambda: heard() == {"31.17.0.0/24", "31.17.2.0/24"}, 3), heard()
    net.apply()
    assert eventually(lambda: not heard(), 3)


def test_traffic_engineering(net: Rig) -> None:
    aggregate = ip_network(AGGREGATE)
    traffic = (
        Override(
            prefix=aggregate, peer="transit1", prepend=2, communities=((64501, 70), (9, 8, 7))
        ),
        Override(prefix=aggregate, peer="transit2", med=50, preference=130),
        Override(peer="pni1", announce=False),
        Override(kind=PeerKind.IXP, no_export=True),
        Override(peer="member1", announce=False, until_ms=1000),
    )
    net.apply(Conditions(now_ms=1000), replace(PLATFORM, traffic=traffic))

    def hears(peer: str, *words: str) -> bool:
        return eventually(lambda: all(word in net.seen(peer)[AGGREGATE] for word in words), 3)

    assert eventually(lambda: AGGREGATE not in net.seen("pni1"), 3)
    assert net.seen("pni1").keys() == FROM_CUSTOMER | {NOT_TO_TRANSIT}
    assert hears("transit1", "path: 64500 64500 64500\n", "(64501,70)", "(9, 8, 7)")
    assert hears("transit2", "path: 64500\n", "BGP.med: 50")
    for peer in ("rs1", "member1"):
        assert hears(peer, "path: 64500\n", "(65535,65281)")
    assert path(net.seen("transit1")["31.16.0.0/24"]) == [64500, 64505]
    preferred = net.routes("edge", "protocol 'peer.transit2.ipv4'")
    assert "local_pref: 0\n" in preferred["31.3.0.0/16"], "a shutdown wins over a preference"
    net.apply()
    assert eventually(lambda: AGGREGATE in net.seen("pni1"), 3)
    assert net.sessions_down() == NEVER_UP, "nothing of this resets a session"


def test_an_address_of_ours_is_blackholed_while_its_service_runs(net: Rig) -> None:
    def apply(now_ms: int) -> None:
        holes = tuple(
            Blackhole(prefix=ip_network(prefix), until_ms=1000)
            for prefix in (SERVICE, "198.51.100.66/32")
        )
        net.apply(Conditions(interventions=Interventions(blackholes=holes), now_ms=now_ms))

    both = {SERVICE, "198.51.100.66/32"}
    apply(999)
    assert eventually(lambda: both <= net.seen("transit1").keys(), 3)
    asked = net.seen("transit1")[SERVICE]
    assert "BGP.community: (65535,666)\n" in asked
    assert path(asked) == [64500]
    assert not ours(asked)
    for peer in ("transit2", "rs1", "pni1", "cust1"):
        assert not both & net.seen(peer).keys()
    assert "via inet6 fe80::a:1" in net.ip("edge", f"route show {SERVICE}"), "still served"
    apply(1000)
    assert eventually(lambda: not both & net.seen("transit1").keys(), 3)


# ---- drain ---------------------------------------------------------------------------------


def established_since(net: Rig, peer: str = "transit1") -> float:
    """Return the time of day in seconds since which the session with a peer is up."""
    said = net.birdc("edge", f"show protocols 'peer.{peer}.ipv4'")
    found = re.search(r" (\d+):(\d+):([\d.]+)  Established", said)
    assert found, said
    hours, minutes, seconds = map(float, found.groups())
    return 3600 * hours + 60 * minutes + seconds


def test_a_drain_first_asks_then_withdraws_and_keeps_the_session(net: Rig) -> None:
    since = established_since(net)
    incoming = "protocol 'peer.transit1.ipv4'"
    net.apply(drained(500))
    assert eventually(lambda: "(65535,0)" in net.seen("transit1")[AGGREGATE], 3)
    assert "(65535,0)" in net.seen("transit1")["31.16.0.0/24"]
    assert "BGP.local_pref: 0\n" in net.routes("edge", incoming)["31.64.0.0/16"]
    net.apply(drained(1000))
    assert eventually(lambda: not net.seen("transit1"), 3)
    assert eventually(lambda: not net.routes("edge", incoming), 3)
    refused = net.routes("edge", f"filtered {incoming}")
    assert {frozenset(ours(route)) for route in refused.values()} == {frozenset({(15, 12)})}
    assert AGGREGATE in net.seen("transit2")
    net.apply()
    assert eventually(lambda: AGGREGATE in net.seen("transit1"), 3)
    assert "(65535,0)" not in net.seen("transit1")[AGGREGATE]
    assert established_since(net) == pytest.approx(since, abs=0.1)  # BIRD reckons it anew


# ---- local additions, archive --------------------------------------------------------------


def test_local_statements_run_for_what_passed_and_only_for_that(net: Rig) -> None:
    net.hook("import/mine.conf", "if net = 31.64.0.0/16 then reject;\naccept;\n")
    net.hook("export/mine.conf", "if net = 31.16.0.0/24 then bgp_path.prepend(OUR_ASN);\n")
    net.apply()
    wanted = [64500, 64500, 64505]
    assert eventually(lambda: path(net.seen("transit1")["31.16.0.0/24"]) == wanted, 3)
    incoming = net.routes("edge", "protocol 'peer.transit1.ipv4'")
    assert incoming.keys() == {"31.2.0.0/16"}
    net.hook("import/mine.conf", "")
    net.hook("export/mine.conf", "")
    net.apply()
    assert eventually(lambda: path(net.seen("transit1")["31.16.0.0/24"]) == wanted[1:], 3)


def test_an_archive_has_the_messages_of_the_outside(net: Rig) -> None:
    file = net.directory / "archive.mrt"
    net.apply(Conditions(archive=str(file)))
    net.birdc("world", "restart p_member14")
    assert eventually(lambda: net.sessions_down() == NEVER_UP)
    assert eventually(lambda: file.exists() and (64508).to_bytes(4, "big") in file.read_bytes())
    net.apply()


# ---- sessions that end ---------------------------------------------------------------------


def seconds_until_back(net: Rig) -> float:
    begin = time.monotonic()
    assert eventually(lambda: net.up("peer.cust1.ipv4"), 20)
    return time.monotonic() - begin


def test_a_session_is_back_soon_after_a_cut(net: Rig) -> None:
    assert eventually(lambda: net.up("peer.cust1.ipv4"))
    net.ip("world", "link set x-cust down")
    assert eventually(lambda: not net.up("peer.cust1.ipv4"), 2)
    net.ip("world", "link set x-cust up")
    assert seconds_until_back(net) < 6


def is_silence_seen(net: Rig) -> bool:
    """Let the customer hear nothing for a while; False: BFD did not watch the session then.

    On a busy machine BFD ends one that lives, which comes back before it is watched again.
    """
    watched = re.compile(r"192\.0\.2\.\d+ +x-cust +Up .* 0\.\d+ +0\.9\d\d$", re.MULTILINE)
    assert eventually(
        lambda: all(
            watched.search(net.birdc(end, "show bfd sessions")) for end in ("edge", "world")
        )
    ), "each end knows the short interval of the other"
    since = established_since(net, "cust1")
    drop = "add table inet cut; add chain inet cut in { type filter hook input priority 0; };"
    net.execute("world", "nft", drop + 'add rule inet cut in iifname "x-cust" drop')
    try:
        seen = eventually(lambda: not net.up("peer.cust1.ipv4"), 5)
        is_another = not seen and established_since(net, "cust1") > since + 0.5
    finally:
        net.execute("world", "nft", "delete table inet cut")
    assert seen or is_another, "BFD sees it"
    return seen


def test_a_session_is_back_soon_after_a_silence(net: Rig) -> None:
    assert any(is_silence_seen(net) for _ in range(5))
    assert seconds_until_back(net) < 8


def test_too_many_routes_close_a_session_that_comes_back_by_itself(net: Rig) -> None:
    log = net.directory / "edge.log"
    net.speak(30, 30, 5)
    assert eventually(lambda: log.read_text().count("Route limit exceeded") == 2)
    five = {f"31.128.{number}.0/24" for number in range(5)}
    assert eventually(lambda: {p for p in net.seen("cust1") if "31.128." in p} == five)
    a_set = net.routes("edge", "filtered protocol 'peer.leaky.ipv4'")["31.127.0.0/24"]
    assert ours(a_set) == {(15, Reject.AS_SET.number)}


def test_sessions_wait_while_the_outside_is_held(net: Rig) -> None:
    net.apply(Conditions(hold_outside=True))
    assert eventually(
        lambda: net.birdc("edge", 'show protocols "peer.*"').count(" down ") == 12
    )
    assert eventually(lambda: not net.seen("transit1"), 3)
    net.apply()
    assert eventually(lambda: net.sessions_down() == {"peer.odd.ipv4"})


def test_nothing_is_logged_per_route(net: Rig) -> None:
    log = (net.directory / "edge.log").read_text()
    assert "31.7." not in log
    assert "BUG" not in log
