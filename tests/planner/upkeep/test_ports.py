"""What the operating system must have, and what is said where it has not."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest

from pltfrms.model.network.ports import (
    MachineFinding,
    Manager,
    PortGrade,
    SeenMachine,
    SeenPort,
)
from pltfrms.model.network.topology import Platform
from pltfrms.planner.upkeep.ports import port_findings, wanted_ports
from tests.shapes.shapes import read

VLANS = read("vlans-and-bonds").platform
LINES = read("two-lines-to-each").platform
FAR = replace(read("hosters-hops-away").platform, links=())
_HAM = (
    SeenPort(name="lo", mtu=65536),
    SeenPort(name="eno1", mtu=9000),
    SeenPort(name="eno1.100", kind="vlan", parent="eno1", mtu=1600),
    SeenPort(name="eno1.30", kind="vlan", parent="eno1"),
    SeenPort(name="bond0", kind="bond", mtu=9000),
    SeenPort(name="bond0.20", kind="vlan", parent="bond0", mtu=1600),
    SeenPort(name="eno2", mtu=9000),
    SeenPort(name="eno2.4000", kind="vlan", parent="eno2"),
)


def found(
    *ports: SeenPort, platform: Platform = VLANS, machine: str = "ham-e1", flushes: bool = False
) -> list[MachineFinding]:
    return list(port_findings(platform, machine, SeenMachine(ports=ports, flushes=flushes)))


def changed(called: str, /, **words: Any) -> tuple[SeenPort, ...]:
    return tuple(replace(port, **words) if port.name == called else port for port in _HAM)


def without(name: str) -> tuple[SeenPort, ...]:
    return tuple(port for port in _HAM if port.name != name)


def test_a_machine_that_has_all_that_is_named_gets_no_finding() -> None:
    assert [(each.name, each.use) for each in wanted_ports(VLANS, "ham-e1")] == [
        ("eno1.100", "fabric a"),
        ("bond0.20", "fabric b"),
        ("eno1.30", "link ham-e1--ber1"),
        ("eno2.4000", "session transit1"),
    ]
    assert found(*_HAM) == []


def test_an_interface_that_is_missing_is_named_with_how_it_is_made() -> None:
    (finding,) = found(*without("eno1.100"))
    assert (finding.port, finding.use, finding.grade) == (
        "eno1.100",
        "fabric a",
        PortGrade.WRONG,
    )
    assert finding.what == "there is no such interface"
    assert "ip link add link eno1 name eno1.100 type vlan id 100" in finding.hint
    (finding,) = found(*changed("eno2.4000", name="eno2.400"))
    assert "type vlan id 4000" in finding.hint
    (finding,) = found(*(p for p in changed("eno2.4000", name="eno2_4000") if p.name != "eno2"))
    assert finding.hint == "did you mean eno2_4000?"


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        ({"carrier": False}, "it has no carrier", "the far end, or eno1, switched on?"),
        ({"up": False, "carrier": False}, "it is switched off", "the agent switches it on"),
        ({"master": "br0"}, "it is a part of br0", "name br0 in the spec"),
        ({"ipv6": False}, "IPv6 is switched off", "net/ipv6/conf/eno1.100/disable_ipv6=0"),
        ({"mtu": 1500}, "its MTU is 1500, and must be 1540", "ip link set eno1.100 mtu 1540"),
        ({"mtu": 1200}, "below 1280 there is no IPv6", "ip link set eno1.100 mtu 1540"),
    ],
)
def test_a_port_that_cannot_carry_is_told_with_what_to_do(
    words: dict[str, Any], what: str, hint: str
) -> None:
    (finding,) = found(*changed("eno1.100", **words))
    assert what in finding.what
    assert hint in finding.hint


def test_room_for_outer_headers_is_asked_for_only_where_the_director_runs() -> None:
    small = changed("eno1.100", mtu=1500)
    assert len(found(*small)) == 1
    assert found(*small, platform=replace(VLANS, director=False)) == []
    assert found(*small, machine="ham-c1") == []


def test_a_vlan_is_no_larger_than_what_it_runs_over() -> None:
    first, second = found(*changed("eno1", mtu=1496))
    assert first.what == "it runs over eno1, whose MTU of 1496 is below 1540"
    assert first.hint.startswith("ip link set eno1 mtu 1540;")
    assert (second.port, second.use) == ("eno1.30", "link ham-e1--ber1")


@pytest.mark.parametrize("manager", list(Manager))
def test_a_port_that_something_else_manages_is_told_with_how_to_keep_it_away(
    manager: Manager,
) -> None:
    (finding,) = found(*changed("bond0.20", managers=(manager,)))
    assert finding.grade is PortGrade.DOUBTFUL
    assert str(manager) in finding.what
    assert "bond0.20" in finding.hint


def test_a_daemon_that_removes_routes_of_others_is_told_once() -> None:
    (finding,) = found(*_HAM, flushes=True)
    assert finding.port == ""
    assert "ManageForeignRoutes=no" in finding.hint


def test_the_way_to_a_neighbour_hops_away_belongs_to_the_operating_system() -> None:
    wanted = {
        each.name: each
        for machine in FAR.managed
        for each in wanted_ports(FAR, machine.name)
        if each.addresses
    }
    name, port = next(iter(wanted.items()))
    machine = next(m.name for m in FAR.managed if port in wanted_ports(FAR, m.name))
    others = tuple(
        SeenPort(name=each.name, mtu=1600)
        for each in wanted_ports(FAR, machine)
        if each.name != name
    )
    managed = SeenPort(name=name, managers=(Manager.NETWORKD,), ipv6=False)
    seen = found(*others, managed, platform=FAR, machine=machine)
    assert [each.what for each in seen] == [
        f"it has no address {address}, which a session speaks from"
        for address in port.addresses
    ]
    own = tuple(ip_interface(address) for address in port.addresses)
    assert found(*others, replace(managed, addresses=own), platform=FAR, machine=machine) == []
    elsewhere = SeenPort(name="eth7", addresses=own)
    (finding, *_) = found(*others, managed, elsewhere, platform=FAR, machine=machine)
    assert finding.hint == "it is on eth7: interface: eth7"


def test_a_tunnel_is_ours_but_the_way_of_its_packets_is_not() -> None:
    ports = [SeenPort(name=n, mtu=1600) for n in ("fab-a", "bb-got-e1", "eno3", "eno5")]
    assert "bb-got-e1.spare" not in {each.name for each in wanted_ports(LINES, "osl-e1")}
    (finding,) = found(*ports, platform=LINES, machine="osl-e1")
    assert finding.what == "no interface has 192.0.2.1, its end here"
    assert finding.grade is PortGrade.DOUBTFUL
    end = SeenPort(name="eth0", mtu=1400, addresses=(ip_interface("192.0.2.1/24"),))
    (finding,) = found(*ports, end, platform=LINES, machine="osl-e1")
    assert finding.what == "its MTU is 1400, and the tunnel counts on 1500"
    assert found(*ports, replace(end, mtu=1500), platform=LINES, machine="osl-e1") == []


def test_a_link_that_says_its_mtu_gets_it_from_the_agent_if_what_it_runs_over_can() -> None:
    first, *others = VLANS.links
    platform = replace(VLANS, links=(replace(first, mtu=8000), *others))
    assert found(*_HAM, platform=platform) == []
    (finding,) = found(*changed("eno1", mtu=1600), platform=platform)
    assert "it runs over eno1, whose MTU of 1600 is below 8000" in finding.what


@pytest.mark.parametrize(
    ("mtu", "grades"),
    [(1279, [PortGrade.WRONG]), (1280, [PortGrade.DOUBTFUL]), (1476, [PortGrade.DOUBTFUL])],
)
def test_a_session_over_a_tunnel_or_pppoe_is_only_doubtful(
    mtu: int, grades: list[PortGrade]
) -> None:
    seen = found(*changed("eno2.4000", mtu=mtu))
    assert [each.grade for each in seen] == grades
    assert "ip link set eno2.4000 mtu" in seen[0].hint
    assert found(*changed("eno2.4000", mtu=1500)) == []


def test_a_direct_link_over_a_tunnel_of_others_may_say_a_smaller_mtu() -> None:
    (finding,) = found(*changed("eno1.30", mtu=1420))
    assert finding.grade is PortGrade.WRONG
    assert finding.hint.endswith("or say mtu: 1420 of the link")
    (finding,) = found(*changed("eno1.30", mtu=1270))
    assert "or say" not in finding.hint
    (finding,) = found(*changed("eno1.100", mtu=1500))
    assert "or say" not in finding.hint, "that of a fabric cannot be said"


def test_a_default_route_from_routers_that_forwarding_ends_is_foretold() -> None:
    name = next(m.name for m in FAR.managed if FAR.sessions_of(m.name))
    uplink = next(each for each in wanted_ports(FAR, name) if not each.ours)
    others = tuple(
        SeenPort(name=each.name, mtu=1600, addresses=tuple(map(ip_interface, each.addresses)))
        for each in wanted_ports(FAR, name)
        if each != uplink
    )
    own = (*map(ip_interface, uplink.addresses), ip_interface("2001:db8:77::1/64"))
    port = SeenPort(name=uplink.name, addresses=own, hears_as_host=True)
    (finding,) = found(*others, port, platform=FAR, machine=name)
    assert finding.what.startswith("IPv6 default routes from RAs (RFC 4861) end")
    assert f"net.ipv6.conf.{uplink.name}.accept_ra=2" in finding.hint
    assert finding.grade is PortGrade.DOUBTFUL
    for fine in (
        replace(port, hears_as_host=False),
        replace(port, addresses=(own[0], ip_interface("fe80::1/64"))),
    ):
        assert own[0].version == 4
        seen = found(*others, fine, platform=FAR, machine=name)
        assert not any(each.what == finding.what for each in seen)


def test_routers_are_not_heeded_on_ports_of_ours_so_nothing_is_foretold() -> None:
    own = (ip_interface("2001:db8:77::1/64"),)
    assert found(*changed("eno2.4000", hears_as_host=True, addresses=own)) == []


def test_an_address_that_no_session_needs_is_not_asked_for() -> None:
    addresses = [
        address for each in wanted_ports(VLANS, "ham-e1") for address in each.addresses
    ]
    assert ip_address("203.0.113.1") not in addresses
