"""What the rendered texts do together: real BIRDs, real kernels, one namespace per machine."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.model.network.lab import Lab
from pltfrms.model.network.topology import FurtherRole, Role
from tests.render.namespaces import Net, eventually, network
from tests.render.platforms import SMALL, SMALL_LAB

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.xdist_group("bird-live"),
]

BOTH = ("198.51.100.1", "2001:db8:100::1")
"""A service that runs in both datacenters."""
AMS_ONLY = ("198.51.100.2", "2001:db8:100::2")
AGGREGATES = ("198.51.100.0/24", "2001:db8:100::/48")
CLIENT = ("198.18.1.1", "2001:db8:e001::1")

# Machines that say what they must not. The hook that lets operators add text lets us, too.
EXTRA = {
    "ams-n1": """
protocol static 'static.wrong' {
  ipv4;
  route 10.1.1.0/24 unreachable;
  route 192.0.2.0/24 unreachable;
}
""",
    "berlin": """
protocol static 'static.wrong' {
  ipv4;
  route 0.0.0.0/0 unreachable;
  route 10.9.0.0/16 unreachable;
  route 192.0.2.0/25 unreachable;
  route 198.51.100.128/25 unreachable;
  route 203.0.114.0/24 unreachable { bgp_large_community.add((64500, 1, 1)); };
}
""",
}


def family(prefix: str) -> str:
    return "-6" if ":" in prefix else "-4"


def service(net: Net, node: str, address: str, proto: int = 181, metric: int = 10) -> None:
    """Announce a service as an agent does; the instance's nexthop need not exist."""
    via = "via fe80::99" if ":" in address else "via inet6 fe80::99"
    end = f"dev fab-a table 100 proto {proto} metric {metric}"
    net.ip(node, f"{family(address)} route replace {address} {via} {end}")


def no_service(net: Net, node: str, address: str) -> None:
    net.ip(node, f"{family(address)} route del {address} table 100")


def aggregate(net: Net, verb: str, edge: str, prefix: str, proto: int = 181) -> None:
    net.ip(edge, f"{family(prefix)} route {verb} unreachable {prefix} table 101 proto {proto}")


def route(net: Net, machine: str, prefix: str, table: str = "main") -> str:
    """Return the kernel's routes of exactly this prefix, `` if there is none."""
    if table != "main" and f"table {table}" not in net.ip(
        machine, f"{family(prefix)} route show table all"
    ):
        return ""  # a table that never had a route does not exist
    return net.ip(machine, f"{family(prefix)} route show {prefix} table {table}")


def arrives(net: Net, machine: str, prefix: str) -> bool:
    return eventually(lambda: route(net, machine, prefix), 2)


def arrives_in(net: Net, machine: str, prefix: str, table: str) -> bool:
    return eventually(lambda: route(net, machine, prefix, table), 2)


def leaves(net: Net, machine: str, prefix: str) -> bool:
    return eventually(lambda: not route(net, machine, prefix), 2)


def prefixes(net: Net, machine: str) -> set[str]:
    """Return every IPv4 prefix in the kernel that BIRD put there."""
    lines = net.ip(machine, "-4 route show proto bird").splitlines()
    return {line.removeprefix("unreachable ").split()[0] for line in lines if line[0] != "\t"}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    directory = tmp_path_factory.mktemp("birds")
    with network(SMALL, SMALL_LAB, directory, EXTRA) as net:
        assert eventually(lambda: not net.sessions_down(), 30), net.sessions_down()
        for address in BOTH:
            service(net, "fra-n1", address, metric=30)
        for address in (*BOTH, *AMS_ONLY):
            service(net, "ams-n1", address)
        for address in AMS_ONLY:  # the node itself answers for the instance
            length = 128 if ":" in address else 32
            net.ip("ams-n1", f"addr add {address}/{length} dev lo")
        for edge in ("fra-e1", "fra-e2"):
            for address in AMS_ONLY:
                assert eventually(lambda: route(net, edge, address))  # noqa: B023
        yield net


@pytest.mark.parametrize("address", BOTH)
def test_a_local_service_is_reached_over_both_fabrics(net: Net, address: str) -> None:
    for edge in ("fra-e1", "fra-e2"):
        found = route(net, edge, address)
        assert "via inet6 fe80::a:1 dev fab-a weight 30" in found.replace(
            "via fe80", "via inet6 fe80"
        )
        assert "dev fab-b weight 30" in found
        assert "bb-" not in found


def test_the_underlay_carries_ipv4_without_ipv4_addresses(net: Net) -> None:
    assert "via inet6 fe80::2:e:1 dev bb-ams-e1" in route(net, "fra-e1", AMS_ONLY[0])
    through_the_other_edge = route(net, "fra-e2", AMS_ONLY[0])
    for fabric in "ab":
        assert f"via inet6 fe80::e:1 dev fab-{fabric}" in through_the_other_edge
    assert net.ping("ams-c1", "10.2.255.1", "10.1.254.2")
    assert net.ping("ams-c1", "fd00:77::2:c:1", "fd00:77::1:a:1")


def test_nodes_have_default_routes_over_every_edge_and_fabric(net: Net) -> None:
    for words in ("-4 route show default", "-6 route show default"):
        assert net.ip("fra-n1", words).count("nexthop") == 4
    assert "unreachable" in route(net, "fra-n1", "10.1.1.0/24")
    assert "unreachable" in route(net, "fra-e1", AGGREGATES[0])


def test_the_agent_reads_who_serves_where(net: Net) -> None:
    assert route(net, "fra-e1", BOTH[0], "102")
    assert route(net, "fra-e1", BOTH[0], "103")
    assert not route(net, "fra-e1", AMS_ONLY[1], "102")
    assert route(net, "fra-e1", AMS_ONLY[1], "103")
    assert not route(net, "fra-e1", "10.1.1.0/24", "102")


def test_an_aggregate_is_announced_only_while_table_101_has_it(net: Net) -> None:
    assert AGGREGATES[0] not in prefixes(net, "transit1")
    for prefix in AGGREGATES:
        aggregate(net, "add", "fra-e1", prefix)
    for prefix, client, target in zip(AGGREGATES, CLIENT, AMS_ONLY, strict=True):
        assert arrives(net, "berlin", prefix)
        assert net.ping("berlin", client, target)
    net.birdc("fra-e1", "reload out all")
    time.sleep(0.5)
    assert route(net, "transit1", AGGREGATES[0])
    for prefix in AGGREGATES:
        aggregate(net, "del", "fra-e1", prefix)
        assert leaves(net, "transit1", prefix)
    assert "unreachable" in route(net, "fra-e1", AGGREGATES[0])


def test_a_draining_aggregate_asks_for_graceful_shutdown(net: Net) -> None:
    aggregate(net, "add", "fra-e1", AGGREGATES[0], proto=182)

    def preference() -> bool:
        return "BGP.local_pref: 0" in net.birdc("transit1", f"show route all {AGGREGATES[0]}")

    assert eventually(preference, 2)
    aggregate(net, "del", "fra-e1", AGGREGATES[0], proto=182)


def test_nothing_but_aggregates_leaves_and_nothing_passes_through(net: Net) -> None:
    for edge in ("fra-e1", "fra-e2", "ams-e1"):
        aggregate(net, "add", edge, AGGREGATES[0])
    assert arrives(net, "reading", AGGREGATES[0])
    assert arrives(net, "transit1", AGGREGATES[0])
    shown = {
        name: net.birdc("ixp1", f"show route protocol '{name}' table members4")
        for name in ("member.fra-e2.ipv4", "member.ams-e1.ipv4")
    }
    for text in shown.values():
        routes = [line.split()[0] for line in text.splitlines() if "unicast" in line]
        assert routes == [AGGREGATES[0]]
    heard = net.birdc("transit1", "show route protocol 'customer.fra-e1.ipv4'")
    assert [line.split()[0] for line in heard.splitlines() if "unicast" in line] == [
        AGGREGATES[0]
    ]
    attributes = net.birdc("transit1", f"show route all {AGGREGATES[0]}")
    assert "BGP.as_path: 64500\n" in attributes
    assert "large_community" not in attributes
    for edge in ("fra-e1", "fra-e2", "ams-e1"):
        aggregate(net, "del", edge, AGGREGATES[0])


def test_what_must_not_come_in_does_not(net: Net) -> None:
    """The wrong routes of EXTRA arrive next door and stop there."""
    assert eventually(lambda: "10.9.0.0/16" in prefixes(net, "transit1"))
    inside = prefixes(net, "fra-e1") | prefixes(net, "ams-e1")
    assert {"198.18.1.0/24", "198.18.3.0/24"} <= inside
    wrong = {"default", "10.9.0.0/16", "192.0.2.0/25", "198.51.100.128/25", "192.0.2.0/24"}
    assert not wrong & inside
    assert "dev bb-fra-e1" in route(net, "ams-e1", "10.1.1.0/24")
    forged = net.birdc("fra-e1", "show route all 203.0.114.0/24")
    assert "(64500, 1, 1)" not in forged
    assert "(64500, 1, 7)" in forged


def test_local_wins_and_the_other_datacenter_takes_over(net: Net) -> None:
    address = BOTH[0]
    assert "fab-a" in route(net, "ams-e1", address)
    no_service(net, "ams-n1", address)
    assert eventually(lambda: "dev bb-fra-e1" in route(net, "ams-e1", address), 5)
    assert eventually(lambda: not route(net, "ams-e1", address, "102"), 5)
    service(net, "ams-n1", address, proto=182)
    time.sleep(0.3)
    assert "dev bb-fra-e1" in route(net, "ams-e1", address), (
        "draining: the other one still wins"
    )
    service(net, "ams-n1", address, proto=183, metric=9)
    no_service(net, "fra-n1", address)
    assert eventually(lambda: "fe80::a:1 dev fab-a" in route(net, "ams-e1", address), 5)
    assert not route(net, "ams-e1", address, "102"), "a backup is not counted as serving"
    net.ip("ams-n1", f"route flush {address} table 100")
    service(net, "ams-n1", address)
    service(net, "fra-n1", address, metric=30)
    assert eventually(lambda: route(net, "fra-e1", address).count("fe80::a:1") == 2, 5)


def test_a_draining_service_stays_reachable_and_is_the_last_choice(net: Net) -> None:
    address = AMS_ONLY[0]
    service(net, "ams-n1", address, proto=182)

    def last_choice() -> bool:
        return "BGP.local_pref: 45" in net.birdc("fra-e1", f"show route all {address}/32")

    assert eventually(last_choice, 1)
    assert "dev bb-ams-e1" in route(net, "fra-e1", address)
    assert not route(net, "fra-e1", address, "103")
    service(net, "ams-n1", address)
    assert arrives_in(net, "fra-e1", address, "103")


def test_an_edge_without_ports_to_a_node_goes_through_the_other_edge(net: Net) -> None:
    for fabric in "ab":
        net.birdc("fra-e2", f"disable 'node.fra-n1.{fabric}'")
    assert eventually(lambda: "fe80::e:1 dev fab-a" in route(net, "fra-e2", BOTH[0]), 1)
    assert route(net, "fra-e2", BOTH[0], "102"), "still served in this datacenter"
    for fabric in "ab":
        net.birdc("fra-e2", f"enable 'node.fra-n1.{fabric}'")
    assert eventually(lambda: route(net, "fra-e2", BOTH[0]).count("fe80::a:1") == 2)


def test_a_silent_port_leaves_the_balance_by_bfd(net: Net) -> None:
    port = 2  # fra-n1 in the LAN of fra-a: third machine of the datacenter
    net.ip("switch", f"link set fra-a-{port} nomaster")
    assert eventually(lambda: "fab-a" not in route(net, "fra-e1", BOTH[0]), 1)
    assert "fab-b" in route(net, "fra-e1", BOTH[0])
    net.ip("switch", f"link set fra-a-{port} master fra-a")
    assert eventually(lambda: "fab-a" in route(net, "fra-e1", BOTH[0]))


def test_a_lost_backbone_is_noticed_before_any_session_ends(net: Net) -> None:
    net.ip("fra-e1", "link set bb-ams-e1 down")
    assert eventually(lambda: not route(net, "fra-e1", AMS_ONLY[0], "103"), 3)
    assert "bb-" not in route(net, "fra-e2", AMS_ONLY[0])
    assert "fe80::a:1" in route(net, "fra-e1", BOTH[0])


def test_a_node_beside_an_edge_that_is_a_node_has_its_ways_out(tmp_path: Path) -> None:
    edge, node = SMALL.machine("fra-e1"), SMALL.machine("fra-n1")
    both = replace(edge, further=(FurtherRole(role=Role.NODE, id=2),))
    site = replace(
        SMALL, datacenters=SMALL.datacenters[:1], machines=(both, node), links=(), peers=()
    )
    with network(site, Lab(), tmp_path, {}) as net:
        for address in ("198.18.1.1", "2001:db8:e001::1"):
            words = f"{family(address)} route get {address}"
            assert eventually(lambda: "fe80::e:1" in _told(net, words)), words  # noqa: B023


def _told(net: Net, words: str) -> str:
    try:
        return net.ip("fra-n1", words)
    except RuntimeError as error:  # no way there yet
        return str(error)
