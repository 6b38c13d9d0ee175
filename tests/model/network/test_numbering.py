"""Addresses are computed: inside the prefix, each of one machine alone, and for life."""

import itertools
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pltfrms.codec import decode, encode, read
from pltfrms.model.addresses import Address, Prefix, contains
from pltfrms.model.network.numbering import LENGTHS, Numbering, numbering_of
from pltfrms.model.network.topology import (
    Datacenter,
    FurtherRole,
    Machine,
    Platform,
    Role,
    link_local,
)
from tests.strategies import make_platform

SMALL = make_platform({"fra": 1})
LARGE = st.integers(min_value=1, max_value=4000)
PUBLIC6 = IPv6Network("2001:db8:1::/48")


def make_machine(role: Role, number: int, datacenter: str = "fra", further: int = 0) -> Machine:
    more = (FurtherRole(role=Role.NODE, id=further),) if further else ()
    name = f"{datacenter}-{role}{number}"
    return Machine(name=name, datacenter=datacenter, role=role, id=number, further=more)


@st.composite
def prefixes(draw: st.DrawFn) -> IPv4Network:
    length = draw(st.sampled_from(LENGTHS))
    bits = draw(st.integers(min_value=0, max_value=2**length - 1))
    return IPv4Network((bits << (32 - length), length))


@st.composite
def numberings(draw: st.DrawFn) -> tuple[IPv4Network | None, Numbering | None]:
    prefix = draw(st.none() | prefixes())
    instances = draw(st.integers(min_value=1, max_value=254))
    said = draw(st.none() | LARGE.map(lambda n: Numbering(nodes=n, instances=instances)))
    if prefix is None:
        return None, None
    assume(numbering_of(prefix, said).datacenters(prefix) > 0)
    return prefix, said


@st.composite
def platforms(draw: st.DrawFn) -> Platform:
    """Return platforms with the highest ids that fit, and others."""
    prefix, said = draw(numberings())
    numbering = numbering_of(prefix, said)
    datacenters = numbering.datacenters(prefix) if prefix else 200
    ids = draw(st.sets(st.integers(min_value=1, max_value=datacenters), max_size=3))
    machines = [
        make_machine(role, number, f"d{dc}", further)
        for dc in ids | {datacenters}
        for role, most, further in (
            (Role.EDGE, numbering.others, 0),
            (Role.NODE, numbering.nodes, 0),
            (Role.CONTROLLER, numbering.others, 0),
        )
        for number in draw(st.sets(st.integers(min_value=1, max_value=most), max_size=4))
        | {most}
    ]
    return replace(
        SMALL,
        infrastructure4=prefix,
        numbering4=said,
        infrastructure6=PUBLIC6,
        datacenters=tuple(
            Datacenter(name=f"d{dc}", id=dc, fabrics=("a",)) for dc in ids | {datacenters}
        ),
        machines=tuple(machines),
    )


def addresses_of(platform: Platform, machine: Machine) -> list[Prefix]:
    """Return what is a machine's own and nothing else's, without pools."""
    return [
        ip_network(each)
        for each in (
            platform.loopback4(machine),
            platform.loopback6(machine),
            platform.balancer_source(machine),
        )
        if each
    ]


def own(platform: Platform, machine: Machine) -> list[Prefix]:
    if machine.role is not Role.NODE:
        return addresses_of(platform, machine)
    pool4 = platform.pool4(machine)
    if pool4:
        assert platform.loopback4(machine) == pool4.network_address
    loopback6, source = platform.loopback6(machine), platform.balancer_source(machine)
    pools: list[Prefix] = [platform.pool6(machine), ip_network(loopback6), source]
    return [*pools, pool4] if pool4 else pools


@settings(max_examples=60, deadline=None)
@given(platforms())
def test_no_two_machines_share_an_address_and_all_are_inside(platform: Platform) -> None:
    mine = [each for machine in platform.machines for each in own(platform, machine)]
    for each in mine:
        assert any(contains(outer, each) for outer in platform.infrastructure)
    for version in (4, 6):
        ranges = sorted(
            (int(each.network_address), int(each.broadcast_address))
            for each in mine
            if each.version == version
        )
        for (_, last), (first, _) in itertools.pairwise(ranges):
            assert last < first


@settings(max_examples=60, deadline=None)
@given(platforms())
def test_what_tells_machines_apart_is_different_for_each(platform: Platform) -> None:
    machines = platform.machines
    assert len({platform.router_id(each) for each in machines}) == len(machines)
    assert IPv4Address(0) not in {platform.router_id(each) for each in machines}
    inside = [each for each in machines if each.role is not Role.EDGE]
    asns = {platform.private_asn(each) for each in inside}
    assert len(asns) == len(inside)
    assert all(4_200_000_000 <= asn <= 4_294_967_294 for asn in asns)
    edges = platform.machines_of(Role.EDGE)
    marks = {platform.mesh_mark(each) for each in edges}
    assert len(marks) == len(edges)
    others = [each for machine in inside for each in own(platform, machine)]
    assert not any(
        mark.version == each.version and mark.overlaps(each)
        for mark in marks
        for each in others
    )
    for datacenter in platform.datacenters:
        here = [each for each in machines if each.datacenter == datacenter.name]
        assert len({link_local(each) for each in here}) == len(here)


@settings(max_examples=60, deadline=None)
@given(platforms())
def test_every_instance_has_an_address_of_its_own_in_the_pool_of_its_node(
    platform: Platform,
) -> None:
    slots = range(1, platform.numbering.instances + 1)
    for node in platform.machines_of(Role.NODE):
        seen: set[Address] = {platform.loopback6(node)}
        for slot in slots:
            four, six = platform.instance4(node, slot), platform.instance6(node, 7, slot)
            assert six in platform.pool6(node)
            pool4 = platform.pool4(node)
            assert (four is None) == (pool4 is None)
            if four and pool4:
                assert pool4.network_address < four < pool4.broadcast_address
            assert not {four, six} & seen
            seen |= {address for address in (four, six) if address}


def test_a_slash_eight_is_numbered_as_it_always_was() -> None:
    platform = replace(
        SMALL, datacenters=(Datacenter(name="fra", id=200, fabrics=("a", "b")),), machines=()
    )
    edge, node, controller = (make_machine(role, 250) for role in Role)
    for found, said in (
        (platform.loopback4(edge), "10.200.254.250"),
        (platform.loopback4(node), "10.200.250.0"),
        (platform.loopback4(controller), "10.200.255.250"),
        (platform.pool4(node), "10.200.250.0/24"),
        (platform.instance4(node, 254), "10.200.250.254"),
        (platform.loopback6(edge), "fd00:0:1:0:0:c8:e:fa"),
        (platform.pool6(node), "fd00:0:1:10c8:fa::/80"),
        (platform.instance6(node, 9, 254), "fd00:0:1:10c8:fa:9:0:fe"),
        (platform.balancer_source(node), "fd00:0:1:20c8:a:fa::/96"),
        (platform.backbone_link_local(edge), "fe80::c8:e:fa"),
        (platform.router_id(edge), "10.200.254.250"),
        (platform.mesh_mark(edge), "10.200.254.250/32"),
        (platform.private_asn(node), 4_200_200_250),
        (platform.private_asn(controller), 4_200_200_750),
    ):
        kind = ip_address if "/" not in str(said) else ip_network
        assert found == (kind(said) if isinstance(said, str) else said)
    assert platform.numbering.instances == 254


@pytest.mark.parametrize(
    ("prefix", "datacenters", "nodes", "instances"),
    [
        ("10.0.0.0/8", 200, 250, 254),
        ("100.64.0.0/10", 64, 250, 254),
        ("172.16.0.0/12", 32, 125, 254),
        ("192.168.0.0/16", 16, 61, 62),
        ("203.0.112.0/22", 4, 13, 14),
    ],
)
def test_a_longer_prefix_has_room_for_fewer(
    prefix: str, datacenters: int, nodes: int, instances: int
) -> None:
    found = numbering_of(IPv4Network(prefix), None)
    assert found.datacenters(IPv4Network(prefix)) == datacenters
    assert (found.nodes, found.instances) == (nodes, instances)


@pytest.mark.parametrize("length", LENGTHS)
def test_every_length_has_a_numbering_that_wastes_nothing(length: int) -> None:
    prefix = IPv4Network((0xAC100000 >> (32 - length) << (32 - length), length))
    numbering = numbering_of(prefix, None)
    bits = numbering.datacenter_bits(prefix)
    assert bits >= 2
    assert numbering.node_bits >= 4
    assert numbering.slot_bits >= 4


def test_four_thousand_nodes_fit_into_a_slash_eight_and_into_ipv6_alone() -> None:
    ten = IPv4Network("10.0.0.0/8")
    assert Numbering(nodes=4000, instances=254).datacenters(ten) == 16
    platform = replace(SMALL, infrastructure4=None)
    node = make_machine(Role.NODE, 4000)
    assert platform.loopback4(node) is None
    assert platform.pool4(node) is None
    assert platform.instance4(node, 1) is None
    assert str(platform.loopback6(node)) == "fd00:0:1::1:a:fa0"


def test_a_platform_without_ipv4_or_with_a_numbering_is_read_as_it_was_written() -> None:
    numbered = replace(SMALL, numbering4=Numbering(nodes=4000, instances=100))
    for platform in (replace(SMALL, infrastructure4=None), numbered, SMALL):
        text = encode(platform)
        assert decode(Platform, text) == platform
        assert read(Platform, text) == platform
