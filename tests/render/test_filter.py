"""Which packets from outside an edge drops: the text, and that nft takes it."""

import shutil
import subprocess
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from pltfrms.model.network.topology import Platform
from pltfrms.render.filter import REASONS, render_filter
from tests.render.filter_world import EDGE, PLATFORM, SHOP
from tests.render.platforms import SMALL, TRANSIT, session


def lines(platform: Platform = PLATFORM, before: Platform | None = None) -> list[str]:
    return [line.strip() for line in render_filter(platform, EDGE, before).splitlines()]


def line_with(*words: str) -> str:
    """Return the only line with all these words."""
    (found,) = [line for line in lines() if all(word in line for word in words)]
    return found


def with_shop(**changes: object) -> Platform:
    line = replace(SHOP.sessions[0], **changes)  # type: ignore[arg-type]
    others = tuple(peer for peer in PLATFORM.peers if peer is not SHOP)
    return replace(PLATFORM, peers=(*others, replace(SHOP, sessions=(line,))))


def test_a_machine_without_ports_to_the_outside_filters_nothing() -> None:
    assert not render_filter(PLATFORM, "fra-n1")
    assert not render_filter(replace(SMALL, peers=()), EDGE)


def test_only_ports_of_sessions_are_named() -> None:
    text = "\n".join(lines())
    assert text.count('iifname != { "x-transit1", "x-ixp1", "x-shop" } accept') == 2
    assert "fab-" not in text
    assert "bb-" not in text
    assert "ct " not in text


def test_every_drop_has_a_reason_and_no_chain_drops_by_itself() -> None:
    drops = [line for line in lines() if line.endswith("drop")]
    assert {line.split("counter name ")[1] for line in drops} == {f"{r} drop" for r in REASONS}
    assert sum("policy accept;" in line for line in lines()) == 3
    assert not any("policy drop" in line for line in lines())


def test_a_customer_has_its_prefixes_and_its_line() -> None:
    assert 'iifname vmap { "x-shop" : jump customer_1 }' in lines()
    assert "ip saddr { 45.20.0.0/22, 203.0.113.20/31 } return" in lines()
    assert "ip6 saddr { 2001:db8:f2::/127, 2a00:20::/32 } return" in lines()


def test_a_port_that_a_customer_shares_with_others_is_not_filtered_by_source() -> None:
    shared = replace(PLATFORM.peers[1].sessions[0], theirs=SHOP.sessions[0].theirs)
    platform = with_shop(interface="x-ixp1", ours=shared.ours)
    assert not any("vmap" in line for line in lines(platform))


def test_nobody_speaks_for_us() -> None:
    four = line_with("ip saddr {", "spoofed-ours")
    assert "{ 10.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 198.51.100.0/24 }" in four
    six = line_with("ip6 saddr {", "spoofed-ours")
    assert "{ ::1/128, 2001:db8:100::/48, fd00:77::/48 }" in six


def test_a_line_that_is_numbered_from_our_own_prefix_may_speak() -> None:
    ours = (ip_interface("198.51.100.241/31"), *SHOP.sessions[0].ours[1:])
    rules = lines(with_shop(ours=ours))
    spoofed = [line for line in rules if "spoofed-ours" in line and line.startswith("ip saddr")]
    assert spoofed[0].count("ip saddr != { 198.51.100.240/31 }") == 1


def test_ports_of_other_edges_are_infrastructure_and_ours_are_the_edge() -> None:
    four = line_with("ip daddr", "to-infrastructure")
    assert "{ 10.0.0.0/8, 203.0.113.132/32 }" in four
    assert "203.0.113.1/32" in line_with("ip daddr", "tunnelled")


def test_neighbours_are_known_by_port_and_address() -> None:
    four = line_with("iifname . ip saddr")
    for pair in (
        '"x-transit1" . 203.0.113.0,',
        '"x-ixp1" . 192.0.2.1,',
        '"x-ixp1" . 192.0.2.2',
    ):
        assert pair in four


def test_a_tunnel_is_let_through_between_its_ends() -> None:
    assert "ip saddr . ip daddr { 198.18.77.7 . 203.0.113.1 } accept" in lines()
    assert "ip saddr . udp dport { 198.18.77.7 . 51999 } accept" in lines()


def test_what_the_routing_in_force_needs_is_let_through_until_it_ends() -> None:
    moved = session(
        EDGE,
        "transit1",
        ("203.0.113.1/31", "2001:db8:9::1/127"),
        ("203.0.113.0", "2001:db8:9::"),
    )
    after = replace(PLATFORM, peers=(replace(TRANSIT, sessions=(moved,)), *PLATFORM.peers[1:]))
    old, new = '"x-transit1" . 2001:db8:f000:1::', '"x-transit1" . 2001:db8:9::'
    between = "\n".join(lines(after, PLATFORM))
    assert old in between
    assert new in between
    assert old not in "\n".join(lines(after, after))


def test_a_customer_that_is_none_any_more_is_filtered_until_its_session_ends() -> None:
    others = tuple(peer for peer in PLATFORM.peers if peer is not SHOP)
    text = "\n".join(lines(replace(PLATFORM, peers=others), PLATFORM))
    assert '"x-shop" : jump' in text
    assert "45.20.0.0/22" in text


def to_outside(platform: Platform) -> list[str]:
    found = lines(platform)
    return found[found.index("chain to_outside {") : found.index("chain to_edge {")]


def in_rehearsal() -> Platform:
    """Return a platform whose addresses are all private, behind a translating hoster."""
    private = (ip_network("100.64.0.0/22"), ip_network("fd44::/48"))
    aggregates = tuple(
        replace(old, prefix=prefix)
        for old, prefix in zip(PLATFORM.aggregates, private, strict=True)
    )
    ours = tuple(map(ip_interface, ("198.51.100.9/32", "2001:db8:9::9/128")))
    far = replace(TRANSIT.sessions[0], multihop=3, ours=ours)
    ends = (ip_address("192.168.7.2"), ip_address("198.18.77.7"))
    link = replace(PLATFORM.links[0], endpoints=ends)
    peers = (replace(TRANSIT, sessions=(far,)), *PLATFORM.peers[1:])
    return replace(PLATFORM, aggregates=aggregates, links=(link,), peers=peers)


def without_ipv4_inside() -> Platform:
    return replace(in_rehearsal(), infrastructure4=None)


def test_what_the_operator_announces_leaves_though_it_is_private_elsewhere() -> None:
    found = to_outside(in_rehearsal())
    for word, prefix in (("ip", "100.64.0.0/22"), ("ip6", "fd44::/48")):
        passed = found.index(f"{word} saddr {{ {prefix} }} accept")
        dropped = [line.startswith(f"{word} saddr {{") and "drop" in line for line in found]
        assert passed < dropped.index(True)
    assert not any("100.64.0.0/22" in line for line in to_outside(PLATFORM))


def test_the_near_end_of_a_tunnel_may_be_private() -> None:
    assert "ip saddr . ip daddr { 192.168.7.2 . 198.18.77.7 } accept" in to_outside(
        in_rehearsal()
    )


def test_a_machine_behind_a_hoster_speaks_from_whatever_it_has_there() -> None:
    found = to_outside(in_rehearsal())
    uplink = 'oifname { "x-transit1" } fib saddr type local'
    assert f"{uplink} ip saddr != {{ 10.0.0.0/8 }} accept" in found
    assert f"{uplink} ip6 saddr != {{ fd00:77::/48 }} accept" in found
    assert not any("fib" in line for line in to_outside(PLATFORM)), "it has no such port"
    bare = to_outside(without_ipv4_inside())
    assert f"{uplink} meta nfproto ipv4 accept" in bare


def test_errors_leave_every_port_from_an_address_that_may_be_seen() -> None:
    ours, theirs = (ip_interface("fe80::5/64"),), (ip_address("fe80::6"),)
    alone = replace(TRANSIT.sessions[0], ours=ours, theirs=theirs)
    transit = replace(TRANSIT, sessions=(alone,))
    found = to_outside(replace(PLATFORM, peers=(transit, *PLATFORM.peers[1:])))
    set_ = {
        (line.split('"')[1], line.split(" saddr set ")[1].split()[0])
        for line in found
        if "saddr set" in line
    }
    assert {each for each in set_ if each[0] == "x-transit1"} == {
        ("x-transit1", "198.51.100.0"),
        ("x-transit1", "2001:db8:100::"),
    }
    assert ("x-shop", "203.0.113.21") in set_, "its own, where it has one"


@pytest.mark.root
@pytest.mark.skipif(shutil.which("nft") is None, reason="asks nft")
@pytest.mark.parametrize("edge", [EDGE, "fra-e2", "ams-e1"])
def test_nft_takes_it(edge: str) -> None:
    overlapping = replace(PLATFORM.aggregates[0], prefix=ip_network("198.51.100.128/25"))
    platform = replace(PLATFORM, aggregates=(*PLATFORM.aggregates, overlapping))
    texts = [render_filter(platform, edge) or render_filter(SMALL, edge)]
    texts += [render_filter(each, EDGE) for each in (in_rehearsal(), without_ipv4_inside())]
    for text in texts:
        assert text
        words = ("nft", "-c", "-f", "-")
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
