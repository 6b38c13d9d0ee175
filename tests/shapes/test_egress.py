"""Instances that ask servers in the internet: they speak from the addresses of their site."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from bench.rig import Rig, running_lab
from pltfrms.model.addresses import Address
from pltfrms.model.network.lab import client_addresses
from pltfrms.model.network.topology import Role
from pltfrms.model.running.state import Snapshot
from tests.shapes.answers import check_answers
from tests.shapes.asking import (
    PORT,
    argv_inside,
    ask_from_every_instance,
    everybody_answers,
    promised,
)
from tests.shapes.shapes import DIRECTORY, Shape, read
from tests.shapes.wire import Wires, wires

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(300)]

NAME = "instances-that-ask"
LONGEST_GAP = 3.0
"""Seconds in which no instance may be without answers."""
_LINK_LOCAL = ip_network("fe80::/10")
_KEEP_ASKING = """
import json, socket, sys, time
port, address, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
last = time.monotonic()
end, gap, seen = last + seconds, 0.0, set()
while time.monotonic() < end:
    begun = time.monotonic()
    try:
        with socket.create_connection((address, port), timeout=0.5) as one:
            seen.add(one.recv(100).decode())
        gap, last = max(gap, begun - last), begun
    except OSError:
        pass
    time.sleep(max(0.0, begun + 0.1 - time.monotonic()))
print(json.dumps({"gap": max(gap, end - last), "seen": sorted(seen)}))
"""
_SAY = """
import socket, sys
for source, to in zip(sys.argv[1::2], sys.argv[2::2]):
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.bind((source, 0))
        for _ in range(3):
            one.sendto(b"from nowhere", (to, 9))
"""


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with running_lab(DIRECTORY / NAME, f"asks-{os.getpid()}") as (client, ready):
        yield Rig(client, ready, 0.0)


def test_every_client_is_answered_by_its_nearest_and_hears_only_what_is_ours(
    rig: Rig,
) -> None:
    check_answers(read(NAME), rig.client, rig.ready)


def test_instances_ask_from_addresses_of_their_site_and_edges_and_transits_may_die(
    rig: Rig, tmp_path: Path
) -> None:
    shape = read(NAME)
    assert shape.lab is not None
    outside = wires(rig.client, shape, tmp_path)
    assert len(outside.uplinks) == 4
    asked = client_addresses(next(each for each in shape.lab.eyeballs if each.name == "kiel"))
    snapshot = rig.snapshot()
    with everybody_answers(rig.client, shape.lab):
        with outside.watched():
            assert ask_from_every_instance(rig.client, shape.lab, snapshot) == 16
            speak_from_nowhere(rig, shape, asked)
        only_what_is_promised_left(outside, shape, snapshot)
        for fault in ("edge/ham-e1", "machine/transit2"):
            outside.seen.clear()
            with outside.watched():
                gap = longest_gap(rig, snapshot, asked, fault)
            assert gap < LONGEST_GAP, fault
            only_what_is_promised_left(outside, shape, snapshot)
            rig.restore()


def speak_from_nowhere(rig: Rig, shape: Shape, asked: tuple[Address, ...]) -> None:
    """Send packets from private addresses of nodes towards the internet.

    Nobody but the edges keeps them inside, and each counts what it drops.
    """
    platform = shape.platform
    before = dropped(rig, shape)
    nodes = platform.machines_of(Role.NODE)
    for node in nodes:
        mine = {4: platform.loopback4(node), 6: platform.loopback6(node)}
        pairs = [str(word) for to in asked for word in (mine[to.version], to)]
        rig.run(node.name, sys.executable, "-I", "-S", "-c", _SAY, *pairs)
    wanted = before + 3 * len(asked) * len(nodes)
    rig.wait("dropped by edges", lambda: dropped(rig, shape) >= wanted, 10)


def dropped(rig: Rig, shape: Shape) -> int:
    """Return how many packets edges have not let out, as they came from private addresses."""
    words = ("nft", "-j", "list", "counter", "inet", "pltfrms_edge", "private-source")
    said = [rig.run(edge.name, *words) for edge in shape.platform.machines_of(Role.EDGE)]
    return sum(
        part["counter"]["packets"]
        for each in said
        for part in json.loads(each)["nftables"]
        if "counter" in part
    )


def only_what_is_promised_left(outside: Wires, shape: Shape, snapshot: Snapshot) -> None:
    """Require that edges sent nothing from an address that is not to be seen outside.

    And that every instance was seen to ask, in both families: else nobody looked.
    """
    platform = shape.platform
    instances = {
        address
        for each in snapshot.allocations.values()
        for address in promised(snapshot, each).values()
    }
    sessions = {
        address.ip
        for peer in platform.peers
        for session in peer.sessions
        for address in session.ours
    }
    services = [each.prefix for each in platform.service_aggregates]
    strange = Counter(
        str(each.source)
        for each in outside.seen
        if each.source not in instances | sessions | {ip_address("::")}
        and each.source not in _LINK_LOCAL
        and not any(each.source in prefix for prefix in services)
    )
    assert strange == {}
    assert {each.source for each in outside.seen if each.port == PORT} == instances


def longest_gap(rig: Rig, snapshot: Snapshot, asked: tuple[Address, ...], fault: str) -> float:
    """Return how long an instance got no answer from these, in seconds, around a fault.

    Whatever answers came, they came to the promised addresses.
    """
    running = [
        (promised(snapshot, each)[address.version], subprocess.Popen(words, stdout=-1))
        for each in snapshot.allocations.values()
        for start in (argv_inside(rig.client, each.node, each.id, _KEEP_ASKING),)
        for address in asked
        for words in ([*start, str(address), "12"],)
    ]
    time.sleep(3.0)
    rig.client.fault(fault)
    gaps: list[float] = []
    for mine, one in running:
        said = json.loads(one.communicate(timeout=60)[0])
        assert {ip_address(seen) for seen in said["seen"]} == {mine}, fault
        gaps.append(said["gap"])
    return max(gaps)
