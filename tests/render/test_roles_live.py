"""Edges that are nodes: what their BIRDs do together, in namespaces."""

import os
from collections.abc import Iterator
from functools import partial

import pytest

from pltfrms.model.network.lab import Lab
from pltfrms.model.network.topology import Role
from pltfrms.model.services.roles import claim_of
from tests.render.namespaces import Net, eventually, network
from tests.render.roles import MIXED
from tests.render.test_bird_live import BOTH, family, no_service, route

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.xdist_group("bird-live"),
]

SERVERS = ("fra-x2", "fra-x3")
ACTIVE, DRAINING = 181, 182
SHARED = BOTH
"""Runs on both servers of fra, on a node there, and in ams."""


def place(net: Net, machine: str, proto: int = ACTIVE) -> None:
    """Serve as an agent does; the instance behind `i9` need not exist."""
    for address in SHARED:
        via = "via fe80::99" if ":" in address else "via inet6 fe80::99"
        end = f"dev i9 table 100 proto {proto} metric 10"
        net.ip(machine, f"{family(address)} route replace {address} {via} {end}")


def instance(net: Net, machine: str) -> str:
    """Run an instance of service 1 in slot 1; return its address."""
    address = str(MIXED.instance6(MIXED.machine(machine), 1, 1))
    words = f"via fe80::99 dev i9 table 100 proto {ACTIVE} metric 10"
    net.ip(machine, f"-6 route replace {address} {words}")
    return address


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with network(MIXED, Lab(), tmp_path_factory.mktemp("birds"), {}) as net:
        assert eventually(lambda: not net.sessions_down(), 30), net.sessions_down()
        for machine in (*SERVERS, "fra-n4", "ams-x1"):
            net.ip(machine, "link add i9 type veth peer name i9-far")
            net.ip(machine, "link set i9-far up")
            net.ip(machine, "link set i9 up")
            place(net, machine)
        for edge in ("fra-e1", "fra-e6"):
            for address in SHARED:
                assert eventually(lambda: len(ways(net, edge, address)) == 6)  # noqa: B023
        yield net


def ways(net: Net, machine: str, address: str) -> set[tuple[str, str]]:
    """Return (nexthop, port) of each way in the main table."""
    words = route(net, machine, address).split()
    return {(words[at - 1], words[at + 1]) for at, word in enumerate(words) if word == "dev"}


@pytest.mark.parametrize("address", SHARED)
def test_edges_beside_it_reach_it_as_a_node_over_both_fabrics(net: Net, address: str) -> None:
    for edge in ("fra-e1", "fra-e6"):
        nexthops = {nexthop for nexthop, _ in ways(net, edge, address)}
        assert nexthops == {"fe80::e:2", "fe80::e:3", "fe80::a:4"}


@pytest.mark.parametrize("address", SHARED)
def test_its_own_instances_come_first_and_are_in_no_other_table(net: Net, address: str) -> None:
    for server in SERVERS:
        assert route(net, server, address) == ""
        assert route(net, server, address, "100")
        assert route(net, server, address, "102"), "its conditions see what it serves"
        assert "dev i9" in net.ip(server, f"route get {address}")


def test_elsewhere_it_is_one_way_of_the_datacenter(net: Net) -> None:
    for address in SHARED:
        for machine, table in (("fra-e1", "103"), ("ams-x1", "103"), ("ams-x1", "102")):
            assert eventually(
                lambda: route(net, machine, address, table),  # noqa: B023
                5,
            ), (machine, table)


def test_instances_are_known_to_every_machine_of_the_datacenter(net: Net) -> None:
    there = [instance(net, machine) for machine in (*SERVERS, "fra-n4")]
    for machine in ("fra-e1", "fra-e6", *SERVERS, "fra-n4", "fra-n5"):
        for address in there:
            assert eventually(lambda: route(net, machine, address, "105"), 3), (  # noqa: B023
                machine,
                address,
            )
    for address in there:
        assert not route(net, "ams-x1", address, "105")
    # Nodes reach those of the servers over each fabric, without an edge between.
    for number, address in ((2, there[0]), (3, there[1])):
        assert {port for _, port in ways(net, "fra-n4", address)} == {"fab-a", "fab-b"}
        assert {hop for hop, _ in ways(net, "fra-n4", address)} == {f"fe80::e:{number}"}


def test_its_instances_answer_from_its_pool_to_everywhere(net: Net) -> None:
    for server, far in (("fra-x2", "ams-x1"), ("fra-x3", "ams-x1"), ("fra-x2", "fra-n4")):
        pool = MIXED.pool6(MIXED.machine(server))
        assert route(net, far, str(pool)) or far == "fra-n4"
    assert "unreachable" in route(net, "fra-x2", str(MIXED.pool6(MIXED.machine("fra-x2"))))


def test_what_drains_on_it_gives_way_to_others_and_nothing_goes_in_circles(net: Net) -> None:
    place(net, "fra-x2", DRAINING)
    others = {"fe80::e:3", "fe80::a:4"}
    for address in SHARED:
        for edge in ("fra-e1", "fra-e6", "fra-x2"):
            assert eventually(
                lambda: {hop for hop, _ in ways(net, edge, address)} == others,  # noqa: B023
                3,
            ), (edge, address, route(net, edge, address))
    place(net, "fra-x2")
    for address in SHARED:
        assert eventually(lambda: not route(net, "fra-x2", address), 3)  # noqa: B023


def test_what_goes_from_it_is_served_by_others_and_never_by_itself(net: Net) -> None:
    for address in SHARED:
        no_service(net, "fra-x2", address)
        assert eventually(partial(goes_to, net, "fra-x2", address, {"fe80::e:3", "fe80::a:4"}))
        for machine in ("fra-x3", "fra-n4"):
            no_service(net, machine, address)
        for machine in ("fra-x2", "fra-x3", "fra-e1", "fra-e6"):
            assert eventually(partial(is_gone, net, machine, address, "102"), 3), machine
            assert eventually(partial(ways, net, machine, address), 3), "ams serves it"
    for machine in (*SERVERS, "fra-n4"):
        place(net, machine)


def is_gone(net: Net, machine: str, address: str, table: str) -> bool:
    return not route(net, machine, address, table)


def goes_to(net: Net, machine: str, address: str, nexthops: set[str]) -> bool:
    return {nexthop for nexthop, _ in ways(net, machine, address)} == nexthops


# ---- claims to a role of a service ---------------------------------------------------------

WRITER = ("198.51.100.129", "2001:db8:100::81")


def claim(net: Net, machine: str, epoch: int | None) -> int:
    """Say as an agent does that a machine has the writer of an epoch; None: no more."""
    me = MIXED.machine(machine)
    number = claim_of(epoch or 0, MIXED.datacenter(me.datacenter).id, me.id_as(Role.NODE))
    for each in WRITER:
        net.ip(machine, f"{family(each)} route flush {each} table 100")
        via = "via fe80::99" if ":" in each else "via inet6 fe80::99"
        words = f"{each} {via} dev i9 table 100 proto {ACTIVE} metric {number}"
        if epoch is not None:
            net.ip(machine, f"{family(each)} route add {words}")
    return number


def heard(net: Net, machine: str) -> int:
    """Return the highest claim of others that a machine hears of in both families."""
    lines = [route(net, machine, each, "106").split() for each in WRITER]
    found = [[int(w[at + 1]) for at, word in enumerate(w) if word == "metric"] for w in lines]
    return min(max(each, default=0) for each in found)


def lead_to(net: Net, hop: str, *machines: str) -> bool:
    """Return whether the main tables of machines have this as the only nexthop."""
    return all(goes_to(net, each, address, {hop}) for each in machines for address in WRITER)


def test_of_claims_the_highest_wins_also_where_machines_are_edge_and_node(net: Net) -> None:
    edges = ("fra-e1", "fra-e6")
    claim(net, "fra-x3", 5)
    assert eventually(lambda: lead_to(net, "fe80::e:3", *edges, "fra-x2"), 3)
    node = claim(net, "fra-n4", 6)
    # By what BIRD knows it leads to the other one; its agent hears so, and takes its own away.
    assert eventually(lambda: lead_to(net, "fe80::a:4", *edges, *SERVERS), 3)
    for machine in SERVERS:
        assert eventually(partial(hears, net, machine, node), 3), machine
    assert heard(net, "fra-n4") < node, "what is higher has no reason to give way"
    far = claim(net, "ams-x1", 7)
    for machine in (*SERVERS, "fra-n4"):
        assert eventually(partial(hears, net, machine, far), 3), machine
    assert eventually(lambda: not any("fe80::a:4" in route(net, e, WRITER[1]) for e in edges))
    for machine in ("fra-x3", "fra-n4", "ams-x1"):
        claim(net, machine, None)
    assert eventually(lambda: not any(route(net, each, WRITER[0]) for each in edges), 3)


def test_of_two_servers_with_one_epoch_the_lower_number_wins(net: Net) -> None:
    better, worse = claim(net, "fra-x2", 8), claim(net, "fra-x3", 8)
    assert better > worse
    assert eventually(lambda: lead_to(net, "fe80::e:2", "fra-e1", "fra-e6", "fra-x3"), 3)
    assert eventually(partial(hears, net, "fra-x3", better), 3)
    assert heard(net, "fra-x2") < better
    assert not route(net, "fra-x2", WRITER[0]), "what runs on it is in table 100"
    for machine in SERVERS:
        claim(net, machine, None)


def hears(net: Net, machine: str, number: int) -> bool:
    return heard(net, machine) == number


def test_a_server_that_falls_silent_is_gone_within_a_second(net: Net) -> None:
    for fabric in "ab":
        net.port("fra-x3", fabric, "silent")
    try:
        for address in SHARED:
            gone = lambda: "fe80::e:3" not in route(net, "fra-e1", address)  # noqa: E731, B023
            assert eventually(gone, 1.0)
            assert eventually(lambda: not route(net, "fra-x2", address))  # noqa: B023
    finally:
        for fabric in "ab":
            net.port("fra-x3", fabric, "heard")
    assert eventually(lambda: not net.sessions_down(), 30), net.sessions_down()
