"""What a node lets its instances send to the internet: the text, nft, and real packets."""

import re
import shutil
import subprocess
from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.network.topology import Platform
from pltfrms.model.services.outgoing import Egress, EgressMode, EgressRule
from pltfrms.render.bird import render_bird
from pltfrms.render.egress import Leaver, render_egress
from tests.model.services.test_egress import NODE, SPEC, UNICAST, with_blocks
from tests.render.platforms import SMALL

HTTPS = EgressRule(protocol="tcp", port=443)
LAB = EgressRule(prefix=ip_network("198.18.0.0/15"))
BOTH = EgressRule(prefix=ip_network("2001:db8:e000::/36"), protocol="udp", port=53)


def leaver(slot: int, mode: EgressMode | None = None, *allow: EgressRule) -> Leaver:
    egress = Egress(mode=mode, allow=allow)
    return Leaver(device=f"i{slot}", slot=slot, spec=replace(SPEC, egress=egress))


def lines(*leavers: Leaver, platform: Platform = UNICAST) -> list[str]:
    return [line.strip() for line in render_egress(platform, NODE.name, leavers).splitlines()]


def chain(found: list[str], name: str) -> list[str]:
    start = found.index(f"chain {name} {{")
    return found[start + 1 : found.index("}", start)]


def test_without_the_new_words_there_is_no_table() -> None:
    assert render_egress(SMALL, NODE.name, (leaver(1), leaver(2))) == ""
    assert render_egress(UNICAST, "ams-n1", (leaver(1),)) == ""
    assert render_egress(UNICAST, "fra-e1", ()) == ""
    assert render_egress(SMALL, NODE.name, (leaver(1, EgressMode.NONE),))


def test_only_what_leaves_and_its_answers_is_tracked() -> None:
    found = chain(lines(leaver(7)), "sort_out")
    assert found[0].endswith("priority -450; policy accept;"), (
        "before fragments are put together"
    )
    assert "ip daddr { 192.0.2.1 } accept" in found
    assert "ip6 daddr { 2001:db8:a:1::7 } accept" in found
    assert 'iifname . ip saddr { "i7" . 10.1.1.7 } accept' in found
    untracked = [line for line in found if "notrack" in line]
    assert all(line.startswith(("ip ", "ip6 ")) for line in untracked), "nobody else's packets"


def test_what_the_machine_itself_says_and_hears_is_left_to_its_own_firewall() -> None:
    found = lines(leaver(7))
    assert chain(found, "sort_out")[1] == "fib daddr type local accept"
    assert not any("hook output" in line for line in found)


def test_nothing_is_sorted_out_where_nobody_asks() -> None:
    for platform in (SMALL, UNICAST):
        found = lines(leaver(7, EgressMode.NONE), platform=platform)
        assert found
        assert not any("notrack" in line or "ct state" in line for line in found)


def test_ipv4_is_translated_to_the_nodes_address_and_ipv6_is_not() -> None:
    found = chain(lines(leaver(7), leaver(8)), "translate")
    assert found[1].startswith("ip saddr { 10.1.1.7, 10.1.1.8 } ip daddr != { 10.0.0.0/8,")
    assert found[1].endswith("snat ip to 192.0.2.1")
    assert not any("ip6" in line for line in found)


def test_an_instance_with_its_own_address_is_not_translated_and_may_be_asked() -> None:
    found = lines(leaver(7, EgressMode.OWN), platform=with_blocks(16))
    assert not any("snat" in line or "ct state != " in line for line in found)
    assert "ip saddr 192.0.0.23 goto allowed_i7" in found


def test_an_instance_without_egress_sends_nothing() -> None:
    found = lines(leaver(1), leaver(2, EgressMode.NONE))
    assert all("reject" in line for line in found if '"i2"' in line or "from_i2" in line)
    judged = chain(found, "judge")
    refuse = "counter name not-allowed reject with icmpx type admin-prohibited"
    assert f"ip saddr {{ 10.1.1.0/24, 192.0.2.1/32 }} {refuse}" in judged
    assert f"ip6 saddr {{ 2001:db8:a:1::/64, fd00:77:0:1001:1::/80 }} {refuse}" in judged


def test_who_asks_from_an_address_of_ours_and_is_no_instance_is_let_through() -> None:
    judged = chain(lines(leaver(1), leaver(2, EgressMode.NONE)), "judge")
    asking = [line for line in judged if "tcp flags" in line]
    here = 'iifname { "i1", "i2" }'
    assert [line.split(" saddr ")[0] for line in asking] == [f"{here} ip", f"{here} ip6"]
    nobody = chain(lines(), "judge")
    assert not any("tcp flags" in line for line in nobody)
    own = [line for line in judged if "reject" in line and not line.startswith("iifname")]
    assert not any("198.51.100" in line or "2001:db8:100" in line for line in own)


def test_a_policy_is_what_it_says() -> None:
    found = chain(lines(leaver(1, None, HTTPS, LAB, BOTH)), "allowed_i1")
    assert found == [
        "ct state { established, related } accept",
        "tcp dport 443 accept",
        "ip daddr 198.18.0.0/15 accept",
        "ip6 daddr 2001:db8:e000::/36 udp dport 53 accept",
        "counter name not-allowed reject with icmpx type admin-prohibited",
    ]
    assert chain(lines(leaver(1)), "allowed_i1") == ["accept"]


def test_a_node_announces_its_part_and_edges_take_it_from_that_node_alone() -> None:
    node = render_bird(UNICAST, NODE.name)
    assert "route 192.0.2.1/32 unreachable;" in node
    assert "route 2001:db8:a:1::/64 unreachable;" in node
    edge = render_bird(UNICAST, "fra-e1")
    accepted = re.findall(r"from_node\(\[ (.*?) \]\)", edge)
    assert set(accepted) == {
        "10.1.1.0/32, 10.1.1.0/24, 192.0.2.1/32",
        "fd00:77::1:a:1/128, fd00:77:0:1001:1::/80, 2001:db8:a:1::/64",
    } or all("192.0.2.1/32" in each or "2001:db8:a:1::/64" in each for each in accepted)
    assert "192.0.2.0/24{32,32}" not in edge, "no service has an address of it"
    abroad = render_bird(UNICAST, "ams-e1")
    assert "192.0.2.1/32" not in abroad, "it comes over the backbone"


LEAVERS = st.lists(
    st.builds(
        leaver,
        st.integers(1, 254),
        st.sampled_from([None, *EgressMode]),
        st.sampled_from([HTTPS, LAB, BOTH]),
    ),
    max_size=6,
    unique_by=lambda each: each.slot,
)


@given(LEAVERS, st.sampled_from([UNICAST, with_blocks(16), with_blocks(256)]))
def test_whoever_is_not_named_sends_nothing_and_no_private_address_leaves(
    leavers: list[Leaver], platform: Platform
) -> None:
    found = lines(*leavers, platform=platform)
    judged = chain(found, "judge")
    pool = [line for line in judged if line.startswith("ip saddr {")]
    assert [line.split(" } ")[1].split()[:3] for line in pool] == [
        ["counter", "name", "not-allowed"]
    ], "whatever comes before, the pool is refused"
    named = {name for line in judged for name in re.findall(r'"(i\d+)" : jump', line)}
    quiet = {each.device for each in leavers if each.spec.egress.mode is EgressMode.NONE}
    assert not named & quiet
    untranslated = {each.device for each in leavers} - quiet
    for device in named & untranslated:
        for line in chain(found, f"from_{device}"):
            address = line.split()[2]
            if address.startswith("10."):
                assert any(address in other for other in found if "snat ip to" in other)


@pytest.mark.root
@pytest.mark.skipif(shutil.which("nft") is None, reason="asks nft")
@pytest.mark.parametrize("platform", [SMALL, UNICAST, with_blocks(16)])
def test_nft_takes_it(platform: Platform) -> None:
    leavers = (
        leaver(1),
        leaver(2, EgressMode.NONE),
        leaver(3, EgressMode.OWN, HTTPS, LAB, BOTH),
        leaver(4, None, HTTPS, BOTH),
    )
    for some in ((leavers[1],), leavers):
        text = render_egress(platform, NODE.name, some)
        done = subprocess.run(
            ("nft", "-c", "-f", "-"), input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
