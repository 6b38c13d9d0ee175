"""The table of a node that leads to what others start behind it."""

from dataclasses import replace
from ipaddress import ip_address

from pltfrms.render.detour import render_detour
from tests.contracts.test_workload import spec
from tests.strategies import make_spec

THERE = (ip_address("192.168.122.10"), ip_address("fd00:122::10"))


def lines(*ports: str, there: tuple[str, ...] = ()) -> list[str]:
    elsewhere = tuple(map(ip_address, there)) or THERE
    found = render_detour(
        replace(make_spec(), ports=ports), replace(spec(()), elsewhere=elsewhere)
    )
    assert found is not None
    assert (found.table, found.strict) == ("inet pltfrms_i1", True)
    return [line.strip() for line in found.text.splitlines()]


def test_what_is_on_the_node_itself_needs_none() -> None:
    assert render_detour(make_spec(), spec(())) is None


def test_its_ports_are_led_there_and_no_gateway_gets_them() -> None:
    found = lines("53/udp", "80/tcp")
    assert [each for each in found if "dnat ip" in each] == [
        "ip daddr { 198.51.100.1 } udp dport 53 dnat ip to 192.168.122.10",
        "ip daddr { 198.51.100.1 } tcp dport 80 dnat ip to 192.168.122.10",
        "ip6 daddr { 2001:db8:100::1 } udp dport 53 dnat ip6 to fd00:122::10",
        "ip6 daddr { 2001:db8:100::1 } tcp dport 80 dnat ip6 to fd00:122::10",
    ]
    assert "ip daddr { 198.51.100.1 } goto refuse" in found
    assert any("rt ip nexthop != 192.168.122.10 drop" in each for each in found)


def test_without_ports_all_are_and_a_family_without_an_end_is_not() -> None:
    found = lines(there=("192.168.122.10",))
    assert [each for each in found if " dnat ip" in each] == [
        "ip daddr { 198.51.100.1 } meta l4proto { tcp, udp, sctp } dnat ip to 192.168.122.10"
    ]
