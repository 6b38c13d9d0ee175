"""The table with the ports of a service, and who may ask there."""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network

from pltfrms.model.running.machine import PortRules
from pltfrms.model.services.container import Adopted
from pltfrms.model.services.roles import RolePrefixes
from pltfrms.model.services.service import (
    PortClients,
    Probe,
    ProbeKind,
    RoleSpec,
    ServiceSpec,
)
from pltfrms.render.ports import render_ports
from tests.strategies import make_platform, make_service, make_spec

PLATFORM = make_platform({"fra": 2, "ams": 1})
IDS = {"web": 1, "api": 0xBEEF}


def of(spec: ServiceSpec) -> PortRules:
    found = render_ports(PLATFORM, make_service(spec), IDS)
    assert found is not None
    return found


def limited(*clients: str) -> PortRules:
    spec = replace(make_spec(), ports=("80/tcp", "5432/tcp"))
    return of(replace(spec, clients=(PortClients(port="5432/tcp", clients=clients),)))


def chain(rules: PortRules, name: str) -> list[str]:
    body = rules.text.partition(f"chain {name} {{")[2].partition("}\n")[0]
    return [line.strip() for line in body.splitlines() if line.strip()]


def test_a_service_that_says_no_port_has_no_table() -> None:
    assert render_ports(PLATFORM, make_service(make_spec()), IDS) is None


def test_what_others_start_in_the_machine_has_none_either() -> None:
    run = replace(make_spec().run, adopted=Adopted(unit="unbound.service"))
    spec = replace(make_spec(), ports=("53/udp",), run=run)
    assert render_ports(PLATFORM, make_service(spec), IDS) is None


def test_declared_ports_are_open_to_everybody_on_every_address_of_the_service() -> None:
    old = ip_network("198.51.100.77/32")
    spec = replace(make_spec(), ports=("80/tcp", "53/udp"))
    rules = render_ports(PLATFORM, replace(make_service(spec), more=(old,)), IDS)
    assert rules is not None
    assert not rules.strict
    assert "ip daddr { 198.51.100.1, 198.51.100.77 } goto judge" in rules.text
    assert "ip6 daddr { 2001:db8:100::1 } goto judge" in rules.text
    assert chain(rules, "judge")[2:] == [
        "tcp dport 80 accept",
        "udp dport 53 accept",
        "counter name not-declared goto refuse",
    ]


def test_instances_of_a_client_are_known_by_its_id_wherever_they_are() -> None:
    rules = limited("service:api")
    assert rules.strict
    assert "tcp dport 5432 goto to_tcp_5432" in chain(rules, "judge")
    assert chain(rules, "to_tcp_5432") == [
        "ip6 saddr & ffff:ffff:ffff:f000:0:ffff:: == fd00:0:1:1000:0:beef:: accept",
        "counter name not-a-client goto refuse",
    ]
    mask, value = 0xFFFF_FFFF_FFFF_F000_0000_FFFF << 32, 0xFD00_0000_0001_1000_0000_BEEF << 32
    for node in PLATFORM.machines[:2]:
        for service, same in ((0xBEEF, True), (0xBEEE, False)):
            address = int(PLATFORM.instance6(node, service, 254))
            assert (address & mask == value) is same


def test_who_is_no_service_any_more_is_nobody() -> None:
    assert chain(limited("service:gone"), "to_tcp_5432") == [
        "counter name not-a-client goto refuse"
    ]


def test_the_internet_is_all_that_is_none_of_ours() -> None:
    assert chain(limited("internet", "2001:db8:7::/48"), "to_tcp_5432")[:3] == [
        "ip saddr != { 10.0.0.0/8, 198.51.100.0/24 } accept",
        "ip6 saddr != { 2001:db8:100::/48, fd00:0:1::/48 } accept",
        "ip6 saddr 2001:db8:7::/48 accept",
    ]


# ---- roles ----------------------------------------------------------------------------------


def with_roles(spec: ServiceSpec, *ports: str) -> PortRules:
    """Return the table for a service with a role `read-only` on these ports, and `writer`."""
    probe = Probe(kind=ProbeKind.TCP, port=1)
    roles = (
        RoleSpec(name="read-only", probe=probe, ports=ports),
        RoleSpec(name="writer", probe=probe),
    )
    given = (
        RolePrefixes(name="read-only", prefix4=IPv4Network("198.51.100.200/32")),
        RolePrefixes(name="was", prefix4=IPv4Network("198.51.100.201/32")),
        RolePrefixes(
            name="writer",
            prefix4=IPv4Network("198.51.100.129/32"),
            prefix6=IPv6Network("2001:db8:100::81/128"),
        ),
    )
    service = replace(make_service(replace(spec, roles=roles)), roles=given)
    rules = render_ports(PLATFORM, service, IDS)
    assert rules is not None
    return rules


def test_a_role_is_asked_where_the_service_is_unless_it_says_where() -> None:
    rules = with_roles(replace(make_spec(), ports=("5432/tcp",)), "5433/tcp", "53/udp")
    lines = chain(rules, "hear")
    assert "ip daddr { 198.51.100.1, 198.51.100.129 } goto judge" in lines
    assert "ip6 daddr { 2001:db8:100::1, 2001:db8:100::81 } goto judge" in lines
    assert "ip daddr { 198.51.100.200 } goto role_read_only" in lines
    assert chain(rules, "role_read_only")[2:] == [
        "tcp dport 5433 accept",
        "udp dport 53 accept",
        "counter name not-declared goto refuse",
    ]


def test_a_role_alone_may_say_where_it_is_asked() -> None:
    rules = with_roles(replace(make_spec(), ports=()), "5433/tcp")
    assert chain(rules, "hear")[2:] == ["ip daddr { 198.51.100.200 } goto role_read_only"]


def test_a_port_of_a_role_has_the_clients_of_that_port() -> None:
    """Whom the service refuses must not get in by another address of it."""
    spec = replace(
        make_spec(),
        ports=("5432/tcp",),
        clients=(PortClients(port="5432/tcp", clients=("198.18.0.0/15",)),),
    )
    rules = with_roles(spec, "5432/tcp", "5433/tcp")
    assert chain(rules, "role_read_only")[2:4] == [
        "tcp dport 5432 goto to_tcp_5432",
        "tcp dport 5433 accept",
    ]
