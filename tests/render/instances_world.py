"""A datacenter of two edges and three nodes, another one, a transit and a customer."""

import dataclasses
import time
from collections.abc import Callable
from ipaddress import ip_network

from pltfrms.model.network.lab import Lab, LabNetwork
from pltfrms.model.network.peering import Allowed, Peer, PeerKind
from pltfrms.model.network.topology import Platform, Role
from tests.render.namespaces import Net
from tests.render.platforms import SMALL, SMALL_LAB, machine, session

CUSTOMER = Peer(
    name="shop",
    kind=PeerKind.CUSTOMER,
    asn=64901,
    sessions=(
        session(
            "fra-e1",
            "shop",
            ("203.0.113.21/31", "2001:db8:f000:2::1/127"),
            ("203.0.113.20", "2001:db8:f000:2::"),
        ),
    ),
    allowed=(Allowed(prefix=ip_network("198.18.7.0/24"), max_length=24),),
    blackhole=True,
)
PLATFORM = dataclasses.replace(
    SMALL,
    machines=(
        *SMALL.machines,
        machine("fra-n2", "fra", Role.NODE, 2),
        machine("fra-n3", "fra", Role.NODE, 3),
    ),
    peers=(*SMALL.peers, CUSTOMER),
)
LAB: Lab = dataclasses.replace(
    SMALL_LAB,
    networks=(
        LabNetwork(
            name="shop",
            asn=64901,
            prefixes=(ip_network("198.18.7.0/24"),),
            delays_us={"fra-e1": 1000},
        ),
    ),
)
FRA = ("fra-e1", "fra-e2", "fra-n1", "fra-n2", "fra-n3")
NODES = FRA[2:]
DRAINING, REACHABLE = 182, 184


def address(node: str, slot: int = 1, platform: Platform = PLATFORM) -> str:
    return str(platform.instance6(platform.machine(node), 1, slot))


def instance_device(net: Net, node: str) -> None:
    """Make `i1` as an agent does; nobody needs to be at its far end."""
    for words in (
        "link add i1 type veth peer name i1-far",
        "addr add fe80::1/64 dev i1 nodad",
        "link set i1 up",
        "link set i1-far up",
    ):
        net.ip(node, words)


def instance(net: Net, node: str, proto: int = 181, slot: int = 1, weight: int = 10) -> None:
    """Say what the instance in a slot is for, as an agent does."""
    end = f"via fe80::2 dev i1 table 100 proto {proto} metric {weight}"
    net.ip(node, f"-6 route replace {address(node, slot)} {end}")


def no_instance(net: Net, node: str, slot: int = 1) -> None:
    net.ip(node, f"-6 route del {address(node, slot)} table 100")


def ready(net: Net, name: str) -> dict[str, list[int]]:
    """Return the metrics of each address in a machine's table 105."""
    if "table 105" not in net.ip(name, "-6 route show table all"):
        return {}  # a table that never had a route does not exist
    found: dict[str, list[int]] = {}
    for line in net.ip(name, "-6 route show table 105").splitlines():
        words = line.split()
        metric = int(words[words.index("metric") + 1])
        found.setdefault(words[1], []).append(metric)
    return found


def seconds_until(condition: Callable[[], object], most: float = 3) -> float:
    """Return how long it took for something to become true; it fails after `most`."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < most, "it does not come true"
        time.sleep(0.01)
    return time.monotonic() - begin
