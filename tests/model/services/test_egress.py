"""From which addresses instances speak with the internet."""

from dataclasses import replace
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.addresses import contains
from pltfrms.model.network.topology import Aggregate, Platform, Role
from pltfrms.model.services.egress import (
    egress_mode,
    node_egress,
    services_and_instances,
    sources,
    unicast_of,
)
from pltfrms.model.services.outgoing import Egress, EgressMode
from pltfrms.model.services.service import Probe, ProbeKind, Run, ServiceSpec
from tests.render.platforms import SMALL, machine

SPEC = ServiceSpec(
    name="web",
    run=Run(process=("x",)),
    probe=Probe(kind=ProbeKind.TCP, port=1),
    per_datacenter=1,
)
V4 = Aggregate(prefix=ip_network("192.0.2.0/24"), unicast="fra")
V6 = Aggregate(prefix=ip_network("2001:db8:a::/48"), unicast="fra")
UNICAST = replace(SMALL, aggregates=(*SMALL.aggregates, V4, V6))
NODE = UNICAST.machine("fra-n1")


def asks(mode: EgressMode) -> ServiceSpec:
    return replace(SPEC, egress=Egress(mode=mode))


def with_blocks(count: int) -> Platform:
    wide = replace(V4, prefix=ip_network("192.0.0.0/16"), per_node=count)
    return replace(UNICAST, aggregates=(*SMALL.aggregates, wide, V6))


def test_a_node_has_addresses_of_its_datacenters_prefix_and_of_no_other() -> None:
    assert [str(each) for each in node_egress(UNICAST, NODE)] == [
        "192.0.2.1/32",
        "2001:db8:a:1::/64",
    ]
    assert node_egress(UNICAST, UNICAST.machine("ams-n1")) == ()
    assert unicast_of(UNICAST, "ams", 6) is None


def test_an_instance_has_its_own_ipv6_and_its_nodes_ipv4() -> None:
    found = sources(UNICAST, SPEC, NODE, 7)
    assert (str(found.own6), str(found.translated4)) == ("2001:db8:a:1::7", "192.0.2.1")
    assert found.own4 is None


def test_own_is_an_address_of_its_own_in_both_families() -> None:
    found = sources(with_blocks(16), asks(EgressMode.OWN), NODE, 7)
    assert (str(found.own4), str(found.own6)) == ("192.0.0.23", "2001:db8:a:1::7")
    assert found.translated4 is None


def test_without_a_unicast_prefix_nothing_leaves_and_by_default_everything_with_one() -> None:
    assert egress_mode(SMALL, SPEC, "fra") is EgressMode.NONE
    assert egress_mode(UNICAST, SPEC, "fra") is EgressMode.DATACENTER
    assert egress_mode(UNICAST, SPEC, "ams") is EgressMode.NONE
    assert egress_mode(UNICAST, asks(EgressMode.NONE), "fra") is EgressMode.NONE
    assert sources(UNICAST, asks(EgressMode.NONE), NODE, 7).own == ()


def test_pools_are_where_instances_are_looked_for_and_machines_are_not() -> None:
    far = replace(SMALL.datacenters[0], name="far", id=200)
    platform = replace(SMALL, datacenters=(*SMALL.datacenters, far))
    last = machine("n4000", "far", Role.NODE, 4000)
    pools, *_ = services_and_instances(platform, 6)
    for each in (*platform.machines_of(Role.NODE), last):
        assert contains(pools, platform.pool6(each))
        assert platform.loopback6(each) not in pools


@given(
    st.integers(1, 250),
    st.integers(1, 250),
    st.integers(1, 15),
    st.integers(1, 15),
    st.sampled_from([1, 2, 4, 16]),
)
def test_no_two_nodes_and_no_two_instances_share_an_address(
    one: int, other: int, slot: int, another: int, block: int
) -> None:
    platform, own = with_blocks(block), asks(EgressMode.OWN)
    nodes = [machine(f"n{number}", "fra", Role.NODE, number) for number in (one, other)]
    blocks = [node_egress(platform, node) for node in nodes]
    for number, part in enumerate((ip_network("192.0.0.0/16"), V6.prefix)):
        first, second = blocks[0][number], blocks[1][number]
        assert contains(part, first)
        assert (first == second) == (one == other)
        assert first == second or not contains(first, second)
    found = [
        sources(platform, own, node, at)
        for node, at in zip(nodes, (slot, another), strict=True)
    ]
    same = (one, slot) == (other, another)
    assert (found[0].own6 == found[1].own6) == same
    for node_blocks, each in zip(blocks, found, strict=True):
        for address in each.own:
            assert any(
                address.version == prefix.version and address in prefix
                for prefix in node_blocks
            )
            assert address != node_blocks[0].network_address, "the node's own, to translate to"
