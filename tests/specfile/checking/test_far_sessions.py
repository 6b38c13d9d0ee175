"""Sessions over hops, and the rarer settings of sessions: what is read, what is refused."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from pltfrms.errors import SpecError
from pltfrms.model.network.peering import Peer
from pltfrms.specfile.load import load_platform

GOOD = "ours: [203.0.113.10/24], theirs: [192.0.2.1]"


def load(tmp_path: Path, session: str, more: str = "", traffic: str = "") -> Peer:
    file = tmp_path / "platform.yaml"
    file.write_text(
        f"""platform: far
asn: 64500
aggregates: [198.51.100.0/24, "2001:db8:100::/48"]
datacenters: {{fra: {{id: 1, machines: {{fra1: {{cpu: 4, memory: 8GiB}}}}}}}}
peers:
  hoster:
    kind: transit
    asn: 64601
    communities: {{no-us: "64601:100"}}
    {more}
    sessions:
      - {{edge: fra1, interface: eth0, {session}}}
{traffic}
"""
    )
    platform = load_platform(file)
    if traffic:
        assert platform.traffic[0].communities == ((64601, 100),)
    return platform.peers[0]


def test_a_neighbour_hops_away_need_not_be_on_our_network(tmp_path: Path) -> None:
    (session,) = load(tmp_path, f"multihop: 2, via: [203.0.113.1], {GOOD}").sessions
    assert session.device == "eth0"
    assert session.gateway(4) == ip_address("203.0.113.1")
    assert session.gateway(6) is None


def test_a_single_address_of_such_a_session_is_on_lo(tmp_path: Path) -> None:
    one = "multihop: 2, ours: [203.0.113.10/32], theirs: [192.0.2.1]"
    assert load(tmp_path, one).sessions[0].device == "lo"


def test_names_of_a_peers_communities_stand_for_them(tmp_path: Path) -> None:
    load(
        tmp_path, f"multihop: 2, {GOOD}", "", "traffic: [{peer: hoster, communities: [no-us]}]"
    )


def test_a_peer_has_blackhole_communities_of_its_own(tmp_path: Path) -> None:
    more = 'blackhole: {communities: ["64601:666"]}'
    peer = load(tmp_path, f"multihop: 2, {GOOD}", more)
    assert (peer.takes_blackholes, peer.blackhole_communities) == (True, ((64601, 666),))


@pytest.mark.parametrize(
    ("session", "says"),
    [
        (GOOD, "multihop: N if routers are between"),
        (f"via: [203.0.113.1], {GOOD}", "multihop: N, or leave it out"),
        (f"multihop: 65, {GOOD}", "65 is outside 1..64"),
        (f'multihop: 2, via: ["fe80::1"], {GOOD}', "the session has no IPv6"),
        (f"multihop: 2, via: [192.0.2.1], {GOOD}", "leave multihop and via out"),
        (f"multihop: 2, via: [203.0.113.10], {GOOD}", "is our own address"),
        (f"multihop: 2, via: [203.0.113.1, 203.0.113.2], {GOOD}", "a second gateway"),
        ('multihop: 2, ours: ["fe80::2/64"], theirs: ["fe80::1"]', "no router forwards it"),
        (
            'multihop: 2, ours: [203.0.113.1/32, "2001:db8::1/64"], theirs: [192.0.2.1, "::1"]',
            "write two sessions, one for each family",
        ),
        (f"multihop: 2, local_as: 64500, {GOOD}", "is our ASN anyway"),
        (f"multihop: 2, local_as: 64601, {GOOD}", "is the ASN of the neighbour"),
        (f"multihop: 2, preference: 350, {GOOD}", "350 is outside 1..349"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(
    tmp_path: Path, session: str, says: str
) -> None:
    with pytest.raises(SpecError) as caught:
        load(tmp_path, session)
    assert any(says in f"{each.what}; {each.hint}" for each in caught.value.problems)


def test_a_name_of_a_community_that_the_peer_does_not_have_is_refused(tmp_path: Path) -> None:
    traffic = "traffic: [{peer: hoster, communities: [no-eu]}]"
    with pytest.raises(SpecError, match="hoster has no 'no-eu'"):
        load(tmp_path, f"multihop: 2, {GOOD}", "", traffic)
