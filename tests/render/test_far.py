"""Neighbours that are hops away: what BIRD, the kernel and the filter are told."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface

from pltfrms.model.network.topology import Platform
from pltfrms.render.bird import render_bird
from pltfrms.render.filter import render_filter
from pltfrms.render.kernel import network_state
from tests.render.platforms import SMALL
from tests.shapes.shapes import read

FAR = read("hosters-hops-away").platform


def with_sessions(**words: object) -> Platform:
    transit, *others = SMALL.peers
    changed = replace(transit.sessions[0], **words)  # type: ignore[arg-type]
    return replace(SMALL, peers=(replace(transit, sessions=(changed,)), *others))


def test_nothing_that_bgp_says_leads_to_the_neighbour_itself() -> None:
    text = render_bird(FAR, "fra1")
    assert "route 192.0.2.1/32 recursive 192.0.2.1;" in text
    assert text.count("igp table far4;") == 2
    assert "if net !~ [ 192.0.2.1/32- ] then reject;" in text
    given = render_bird(FAR, "lon1")
    assert "route 192.0.2.3/32 via 203.0.115.1%'eno1' onlink;" in given
    assert "learn;\n  ipv4 {\n    import filter" not in given


def test_the_operating_system_keeps_its_port_and_lo_gets_single_addresses() -> None:
    ports = {each.name: each.addresses for each in network_state(FAR, "fra1").devices}
    assert ports["eth0"] == ()
    sysctls = dict(network_state(FAR, "fra1").sysctls)
    assert "net/ipv6/conf/eth0/accept_ra" not in sysctls
    loopback = {each.name: each.addresses for each in network_state(FAR, "lon1").devices}["lo"]
    assert ip_interface("203.0.116.1/32") in loopback


def test_a_route_over_ports_of_both_kinds_has_no_source_that_is_wrong_on_one() -> None:
    transit, *others = SMALL.peers
    (direct,) = transit.sessions
    far = replace(direct, interface="eth0", multihop=2)
    both = replace(SMALL, peers=(replace(transit, sessions=(far, direct)), *others))
    (line,) = {
        line.strip()
        for line in render_bird(both, direct.edge).splitlines()
        if "krt_prefsrc = 10." in line
    }
    assert f'ifname != "{direct.interface}"' in line
    assert 'ifname != "eth0"' in line
    assert 'ifname != "' not in render_bird(SMALL, direct.edge), "as it was without"


def test_what_is_for_the_machine_itself_is_let_through_and_its_neighbour_too() -> None:
    text = render_filter(FAR, "ams1")
    assert 'iifname { "eth0" } tcp dport != 179 accept' in text
    assert "169.254.169.254" in text.split("spoofed-ours drop")[0].split("saddr !=")[-1]
    assert "dport != 179" not in render_filter(SMALL, "fra-e1")


def test_a_session_may_have_its_own_asn_and_wait_and_be_preferred() -> None:
    platform = with_sessions(local_as=64510, passive=True, preference=77)
    text = render_bird(platform, "fra-e1")
    session = text[text.index("protocol bgp 'peer.transit1.ipv4'") :].split("\n}\n")[0]
    assert "as 64510;" in session
    assert "passive;" in session
    assert "take(7, 77);" in session
    assert "bgp_path ~ [ 64500 ] then refuse(REFUSE_LOOP);" in session
    other = render_bird(platform, "fra-e2")
    assert "bgp_path ~ [ 64510 ] then refuse(REFUSE_LOOP);" in other


def test_both_families_apart_on_one_port_keep_both_addresses() -> None:
    transit, *others = SMALL.peers
    (both,) = transit.sessions
    apart = tuple(
        replace(both, ours=(ours,), theirs=(theirs,))
        for ours, theirs in zip(both.ours, both.theirs, strict=True)
    )
    platform = replace(SMALL, peers=(replace(transit, sessions=apart), *others))
    ports = {each.name: each.addresses for each in network_state(platform, "fra-e1").devices}
    assert set(ports[both.interface]) == set(both.ours)


def test_a_peer_is_asked_to_drop_by_communities_of_its_own() -> None:
    assert "bgp_community.add((64601, 666));" in render_bird(FAR, "fra1")
    assert ip_address("192.0.2.1") in FAR.peers[0].sessions[0].theirs
