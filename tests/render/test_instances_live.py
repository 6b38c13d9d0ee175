"""All edges and nodes of a datacenter have in table 105 who of it is ready: real BIRDs."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_network
from itertools import pairwise, product

import pytest

from pltfrms.model.services.members import member_of
from pltfrms.model.services.roles import claim_of
from pltfrms.render.roles import render_roles
from tests.render.instances_world import (
    DRAINING,
    FRA,
    LAB,
    NODES,
    PLATFORM,
    REACHABLE,
    address,
    instance,
    instance_device,
    no_instance,
    ready,
    seconds_until,
)
from tests.render.namespaces import Net, eventually, network
from tests.render.test_bird_live import family, route

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.xdist_group("bird-live"),
]
BFD_SECONDS, WAIT_SECONDS = 0.3, 5
ROOM_SECONDS = 0.5
"""For a machine that does other things, too."""
ALL = {address(node): [1010] for node in NODES}
OUTSIDE_THE_POOL, WITHOUT_STATE = address("fra-n1", 99), address("fra-n3", 99)
FORGED = "198.51.100.66"
"""A service for which its node asks what only customers may ask."""
EXTRA = {
    "fra-n3": f"""
protocol static 'static.forged' {{
  ipv4;
  route {FORGED}/32 unreachable {{
    bgp_community.add((65535, 666)); bgp_large_community.add((64500, 1, 3));
  }};
}}
protocol static 'static.wrong' {{
  ipv6;
  route {OUTSIDE_THE_POOL}/128 unreachable {{
    bgp_large_community.add((64500, 10, 10)); bgp_large_community.add((64500, 12, 1));
  }};
  route {WITHOUT_STATE}/128 unreachable {{ bgp_large_community.add((64500, 10, 10)); }};
}}
""",
    "shop": """
protocol static 'static.hole' {
  ipv4;
  route 198.18.7.66/32 unreachable { bgp_community.add((65535, 666)); };
}
""",
}


def everywhere(net: Net, wanted: dict[str, list[int]], names: tuple[str, ...] = FRA) -> bool:
    return all(ready(net, name) == wanted for name in names)


@pytest.fixture(scope="module")
def fra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with network(PLATFORM, LAB, tmp_path_factory.mktemp("birds"), EXTRA) as net:
        assert eventually(lambda: not net.sessions_down(), 30), net.sessions_down()
        for node in (*NODES, "ams-n1"):
            instance_device(net, node)
        yield net


@pytest.fixture
def net(fra: Net) -> Net:
    """Everything well: each node has one ready instance, and all know of all three."""
    for node in (*NODES, "ams-n1"):
        instance(fra, node)
    assert eventually(partial(everywhere, fra, ALL))
    return fra


def test_all_of_the_datacenter_know_who_is_ready_and_nobody_else_does(net: Net) -> None:
    far = {address("ams-n1"): [1010]}
    assert ready(net, "ams-e1") == ready(net, "ams-n1") == far
    assert address("fra-n1") not in net.birdc("ams-e1", "show route table all")


def test_what_an_instance_is_for_is_known_everywhere_at_once(net: Net) -> None:
    one = address("fra-n2")
    for proto, wanted in (
        (DRAINING, ALL | {one: [2010]}),
        (REACHABLE, {key: value for key, value in ALL.items() if key != one}),
        (183, ALL | {one: [3010]}),
        (181, ALL),
    ):
        instance(net, "fra-n2", proto)
        assert seconds_until(partial(everywhere, net, wanted)) < ROOM_SECONDS
    time.sleep(6)  # BIRD compares the kernel's table with its own every 5 s
    assert everywhere(net, ALL)


def test_a_new_weight_replaces_the_old_one(net: Net) -> None:
    instance(net, "fra-n1", weight=64)
    net.ip("fra-n1", f"-6 route del {address('fra-n1')} table 100 metric 10")
    assert seconds_until(partial(everywhere, net, ALL | {address("fra-n1"): [1064]})) < 1
    instance(net, "fra-n1")
    net.ip("fra-n1", f"-6 route del {address('fra-n1')} table 100 metric 64")


def test_who_goes_is_gone_everywhere(net: Net) -> None:
    no_instance(net, "fra-n3")
    rest = {key: value for key, value in ALL.items() if key != address("fra-n3")}
    assert seconds_until(partial(everywhere, net, rest)) < ROOM_SECONDS


def test_with_its_device_an_instance_is_gone_everywhere(net: Net) -> None:
    net.ip("fra-n3", "link del i1")
    rest = {key: value for key, value in ALL.items() if key != address("fra-n3")}
    assert seconds_until(partial(everywhere, net, rest)) < ROOM_SECONDS
    instance_device(net, "fra-n3")


def test_a_node_speaks_for_its_own_instances_alone_and_says_all_of_them(net: Net) -> None:
    for edge in ("fra-e1", "fra-e2"):
        shown = net.birdc(edge, "show route all protocol 'node.fra-n3.a'")
        assert address("fra-n3") in shown
        assert OUTSIDE_THE_POOL not in shown
        assert WITHOUT_STATE not in shown
        log = (net.directory / f"{edge}.log").read_text()
        assert f"not of this machine: {OUTSIDE_THE_POOL}/128" in log
        assert f"an instance without weight or state: {WITHOUT_STATE}/128" in log


# ---- from node to node ---------------------------------------------------------------------


def hop_limit_suffices(net: Net, target: str, hops: int) -> bool:
    words = f"ping -6 -c1 -W1 -t{hops} -I fd00:77::1:a:1 {target}"
    command = ("ip", "netns", "exec", net.namespace("fra-n1"), *words.split())
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_nodes_reach_instances_of_each_other_without_passing_an_edge(net: Net) -> None:
    target = address("fra-n2")

    def reached(hops: int) -> bool:
        # The first packet of a way may wait for its neighbour's address, or be too early.
        return eventually(lambda: hop_limit_suffices(net, target, hops), 5)

    for fabric in "ab":
        way = f"nexthop via fe80::a:2 dev fab-{fabric}"
        assert eventually(lambda: way in route(net, "fra-n1", target))  # noqa: B023
    net.ip("fra-n2", f"addr add {target}/128 dev lo")
    assert reached(1)
    instance(net, "fra-n2", REACHABLE)
    assert eventually(lambda: not route(net, "fra-n1", target), 1)
    assert reached(2)
    assert not hop_limit_suffices(net, target, 1), "now through an edge"
    net.ip("fra-n2", f"addr del {target}/128 dev lo")


def test_a_node_has_its_own_instances_from_nobody_and_tells_of_no_others(net: Net) -> None:
    own = address("fra-n1")
    assert "dev i1" in net.ip("fra-n1", f"-6 route show {own} table 100")
    assert not route(net, "fra-n1", own)
    heard = net.birdc("fra-e1", "show route protocol 'node.fra-n1.a'")
    assert own in heard
    assert address("fra-n2") not in heard


def test_a_silent_port_takes_one_nexthop_away_and_no_instance(net: Net) -> None:
    target = address("fra-n2")
    net.port("fra-n2", "a", "silent")
    took = seconds_until(lambda: "fab-a" not in route(net, "fra-n1", target))
    assert took < BFD_SECONDS + ROOM_SECONDS
    assert "via fe80::a:2 dev fab-b" in route(net, "fra-n1", target)
    assert eventually(partial(everywhere, net, ALL), 1)
    net.port("fra-n2", "a", "heard")
    assert eventually(lambda: "fab-a" in route(net, "fra-n1", target))


def test_a_silent_node_is_gone_everywhere_else(net: Net) -> None:
    for fabric in "ab":
        net.port("fra-n3", fabric, "silent")
    rest = {key: value for key, value in ALL.items() if key != address("fra-n3")}
    others = tuple(name for name in FRA if name != "fra-n3")
    took = seconds_until(partial(everywhere, net, rest, others))
    assert took < BFD_SECONDS + ROOM_SECONDS
    assert ready(net, "fra-n3") == {address("fra-n3"): [1010]}
    for fabric in "ab":
        net.port("fra-n3", fabric, "heard")
    assert eventually(lambda: not net.sessions_down())


# ---- edges ---------------------------------------------------------------------------------


def test_an_edge_without_ports_to_a_node_goes_through_the_other_edge(net: Net) -> None:
    one = address("fra-n1")
    for fabric in "ab":
        net.birdc("fra-e2", f"disable 'node.fra-n1.{fabric}'")
    assert eventually(lambda: "fe80::e:1 dev fab-a" in route(net, "fra-e2", one), 1)
    rest = ("fra-e1", "fra-e2", "fra-n2", "fra-n3")
    assert eventually(partial(everywhere, net, ALL, rest), 1)
    heard = net.birdc("fra-n2", f"show route all {one}/128")
    assert "edge.fra-e1" in heard
    assert "edge.fra-e2" not in heard, "it does not know the way over a fabric itself"
    for fabric in "ab":
        net.birdc("fra-e2", f"enable 'node.fra-n1.{fabric}'")
    assert eventually(lambda: "fe80::a:1 dev fab-a" in route(net, "fra-e2", one))


def test_a_dead_edge_changes_nothing_for_the_others(net: Net) -> None:
    rest = tuple(name for name in FRA if name != "fra-e2")
    net.kill("fra-e2")
    instance(net, "fra-n1", DRAINING)
    assert seconds_until(partial(everywhere, net, ALL | {address("fra-n1"): [2010]}, rest)) < 1
    assert ready(net, "fra-e2") == ALL, "what was known when it died"
    for fabric in "ab":
        assert f"dev fab-{fabric}" in route(net, "fra-n2", address("fra-n3"))
    net.start_again("fra-e2")
    assert eventually(lambda: not net.sessions_down(), 30)


@pytest.mark.parametrize("name", ["fra-e2", "fra-n2"])
def test_a_restart_forgets_nobody_and_learns_who_went_meanwhile(net: Net, name: str) -> None:
    """Also while a neighbour does not answer."""
    gone, dead = address("fra-n1"), "fra-n3" if name == "fra-e2" else "fra-e2"
    rest = {key: value for key, value in ALL.items() if key != gone}
    if dead in NODES:
        del rest[address(dead)]
    net.kill(dead)
    net.kill(name)
    instance(net, "fra-n1", REACHABLE)
    assert gone in ready(net, name)
    seen: list[dict[str, list[int]]] = []

    def has_learned() -> bool:
        seen.append(ready(net, name))
        return seen[-1] == rest

    net.start_again(name)
    assert seconds_until(has_learned, 10) < WAIT_SECONDS + ROOM_SECONDS + 1
    # What changes is deleted and added within microseconds; one look may fall between.
    assert all(rest.items() <= (one | next_).items() for one, next_ in pairwise(seen))
    net.start_again(dead)
    assert eventually(lambda: not net.sessions_down(), 30)


# ---- roles ---------------------------------------------------------------------------------

WRITER = ("198.51.100.129", "2001:db8:100::81")
PLACES = {"fra-n1": (1, 1), "fra-n2": (1, 2), "ams-n1": (2, 1)}
EVERY_EDGE = ("fra-e1", "fra-e2", "ams-e1")


def claim(
    net: Net,
    node: str,
    epoch: int,
    *,
    there: bool = True,
    what: tuple[str, ...] = WRITER,
) -> int:
    """Say as an agent does that a node has the writer of an epoch, or no more."""
    number = claim_of(epoch, *PLACES[node])
    for each in what:
        via = "via fe80::2" if ":" in each else "via inet6 fe80::2"
        words = f"{each} {via} dev i1 table 100 proto 181 metric {number}"
        net.ip(node, f"{family(each)} route {'replace' if there else 'del'} {words}")
    return number


def led_to(net: Net, edge: str) -> set[str]:
    """Return in which datacenters, or over which ports, the way of an edge to the writer is."""
    ways = [route(net, edge, each) for each in WRITER]
    return {word for way in ways for word in way.split() if word.startswith(("fab-", "bb-"))}


def heard_on(net: Net, node: str) -> set[int]:
    """Return the claims of others that a node hears of."""
    found = [route(net, node, each, "106").split() for each in WRITER]
    return {int(words[words.index("metric") + 1]) for words in found if words}


def test_a_higher_epoch_is_led_to_whatever_is_nearer_and_the_older_one_hears_of_it(
    net: Net,
) -> None:
    fabrics = {"fab-a", "fab-b"}
    old = claim(net, "fra-n1", 5)
    assert eventually(lambda: all(led_to(net, edge) == fabrics for edge in FRA[:2]), 2)
    assert eventually(lambda: led_to(net, "ams-e1") == {"bb-fra-e1"}, 2)
    assert eventually(lambda: heard_on(net, "ams-n1") == heard_on(net, "fra-n2") == {old}, 2)
    assert heard_on(net, "fra-n1") == set(), "nobody hears of himself"
    new = claim(net, "ams-n1", 6)
    took = seconds_until(
        lambda: (
            led_to(net, "ams-e1") == fabrics
            and led_to(net, "fra-e1") == {"bb-ams-e1"}
            and "bb-ams-e1" not in led_to(net, "fra-e2")
            and heard_on(net, "fra-n1") == {new}
        )
    )
    assert took < ROOM_SECONDS
    assert not route(net, "fra-n1", WRITER[1]), "it is for the agent alone"
    time.sleep(6)  # BIRD compares the kernel's table with its own every 5 s
    assert heard_on(net, "fra-n1") == {new}
    claim(net, "ams-n1", 6, there=False)
    assert eventually(lambda: led_to(net, "ams-e1") == {"bb-fra-e1"}, 2)
    claim(net, "fra-n1", 5, there=False)
    assert eventually(lambda: not any(led_to(net, edge) for edge in EVERY_EDGE), 2)


def test_of_one_epoch_the_lower_numbers_are_led_to_everywhere(net: Net) -> None:
    best, _, _ = [claim(net, node, 7) for node in PLACES]
    for node in ("fra-n2", "ams-n1"):
        assert eventually(lambda: max(heard_on(net, node), default=0) == best, 2)  # noqa: B023
    assert eventually(lambda: led_to(net, "ams-e1") == {"bb-fra-e1"}, 2)
    for edge in FRA[:2]:
        assert eventually(
            lambda: all(
                "fe80::a:1 " in route(net, edge, each)  # noqa: B023
                and "fe80::a:2 " not in route(net, edge, each)  # noqa: B023
                for each in WRITER
            ),
            2,
        )
    for node in PLACES:
        claim(net, node, 7, there=False)


def test_the_addresses_of_a_replica_lead_to_its_newest_volume_from_everywhere(net: Net) -> None:
    member = member_of(PLATFORM, 1, (4,), ("fra", 1))
    own = tuple(str(each.network_address) for each in member.prefixes)
    for number, node in enumerate(("fra-n2", "fra-n1"), start=1):
        claim(net, node, number, what=own)
        assert eventually(lambda: all("bb-fra-e1" in route(net, "ams-e1", e) for e in own), 2)
        via = f"fe80::a:{node[-1]} "
        for edge, each in product(FRA[:2], own):
            assert eventually(lambda: via in route(net, edge, each), 2)  # noqa: B023
            assert route(net, edge, each).count("fe80::a:") == 2, (
                "over both fabrics, to one node"
            )
    assert own[1] not in net.birdc("transit1", "show route table all"), "it is inside only"
    for number, node in enumerate(("fra-n2", "fra-n1"), start=1):
        claim(net, node, number, there=False, what=own)


def asks_for_the_writer(net: Net, address: str) -> str:
    """Return what becomes of a connection of a node to the writer, in one word."""
    code = (
        "import socket, sys\n"
        "try: socket.create_connection((sys.argv[1], 5432), 2).close()\n"
        "except ConnectionRefusedError: print('refused')\n"
        "except TimeoutError: print('silent')\n"
        "except OSError as error: print(error)\n"
    )
    words = ("ip", "netns", "exec", net.namespace("fra-n2"), sys.executable, "-c", code)
    done = subprocess.run((*words, address), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_while_nobody_has_a_role_clients_are_refused_at_once(net: Net) -> None:
    text = render_roles(map(ip_network, WRITER))
    for edge in FRA[:2]:
        command = ("ip", "netns", "exec", net.namespace(edge), "nft", "-f", "-")
        subprocess.run(command, input=text, text=True, check=True)
    for each in WRITER:
        assert asks_for_the_writer(net, each) == "refused"
    claim(net, "fra-n1", 8)
    ways = list(product(FRA[:2], WRITER))
    assert eventually(lambda: all(route(net, edge, each) for edge, each in ways), 2)
    for each in WRITER:
        assert asks_for_the_writer(net, each) != "refused", "but nobody is at the far end"
    claim(net, "fra-n1", 8, there=False)
    assert eventually(lambda: asks_for_the_writer(net, WRITER[0]) == "refused", 2)


# ---- outside -------------------------------------------------------------------------------


def test_the_outside_hears_of_no_instance(net: Net) -> None:
    one = f"{address('fra-n1')}/128"
    assert one in net.birdc("fra-e1", f"show route {one}")
    for edge, peers in (("fra-e1", ("transit1", "shop")), ("fra-e2", ("ixp1",))):
        for peer in peers:
            for number in (4, 6):
                name = f"peer.{peer}.ipv{number}"
                if f"'{name}'" in (net.directory / f"{edge}.conf").read_text():
                    assert one not in net.birdc(edge, f"show route export '{name}'")
    for other in ("transit1", "ixp1", "shop"):
        assert "fd00:77:" not in net.birdc(other, "show route table all")


def test_a_blackhole_of_a_customer_is_dropped_at_every_edge(net: Net) -> None:
    def says(edge: str, prefix: str, word: str) -> bool:
        return eventually(lambda: word in net.ip(edge, f"route show {prefix}"))

    edges = ("fra-e1", "fra-e2", "ams-e1")
    for edge in edges:
        assert says(edge, "198.18.7.66", "blackhole")
        assert says(edge, "198.18.7.0/24", "via")
    net.birdc("shop", "disable 'static.hole'")
    for edge in edges:
        assert eventually(lambda: not net.ip(edge, "route show 198.18.7.66"), 2)  # noqa: B023
    net.birdc("shop", "enable 'static.hole'")


def test_nobody_else_can_ask_for_a_blackhole(net: Net) -> None:
    assert "(65535,666)" in net.birdc("ams-e1", f"show route all {FORGED}/32")
    assert "dev bb-fra-e1" in net.ip("ams-e1", f"route show {FORGED}")
