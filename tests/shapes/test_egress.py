"""Instances that ask servers in the internet: they speak from the addresses of their site."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

import pytest

from bench.rig import Rig, running_lab
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.lab.client.client import LabClient
from pltfrms.model.addresses import Address
from pltfrms.model.network.lab import client_addresses
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.egress import sources
from tests.shapes.answers import check_answers
from tests.shapes.shapes import DIRECTORY, read

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(300)]

NAME = "instances-that-ask"
PORT = 8080
LONGEST_GAP = 3.0
"""Seconds in which no instance may be without answers."""
_SERVE = """
import socket, sys
where = ("::", int(sys.argv[1]))
server = socket.create_server(where, family=socket.AF_INET6, dualstack_ipv6=True)
print("up", flush=True)
while True:
    one, (peer, *_) = server.accept()
    one.sendall(peer.removeprefix("::ffff:").encode())
    one.close()
"""
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
_ASK = """
import json, socket, sys
found = []
for address in sys.argv[2:]:
    with socket.create_connection((address, int(sys.argv[1])), timeout=5) as one:
        found.append(one.recv(100).decode())
print(json.dumps(found))
"""


@contextmanager
def serving(client: LabClient, machine: str) -> Iterator[None]:
    """Let a machine answer everybody with the address that it sees."""
    words = client.exec_argv(machine, [sys.executable, "-I", "-S", "-c", _SERVE, str(PORT)])
    with subprocess.Popen(words, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        try:
            yield
        finally:
            server.kill()


def argv_inside(client: LabClient, node: str, allocation: str, script: str) -> list[str]:
    """Return the words that run a script in an instance; its arguments come behind them."""
    record = f"/run/pltfrms/instances/{allocation}.json"
    argv = client.exec_argv(node, ["cat", record])
    pid = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)["pid"]
    words = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-I", "-S", "-c", script]
    return client.exec_argv(node, [*words, str(PORT)])


def seen_from(
    client: LabClient, node: str, allocation: str, asked: tuple[Address, ...]
) -> set[Address]:
    """Return from which addresses an instance is seen by these."""
    argv = [*argv_inside(client, node, allocation, _ASK), *map(str, asked)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return {ip_address(each) for each in json.loads(done.stdout)}


def test_every_instance_asks_from_addresses_of_its_site_and_edges_and_transits_may_die() -> (
    None
):
    shape = read(NAME)
    assert shape.lab is not None
    lab = running_lab(DIRECTORY / NAME, f"asks-{os.getpid()}")
    with lab as (client, ready), ExitStack() as servers:
        check_answers(shape, client, ready)
        with OperatorClient(client.controller_endpoints()) as operator:
            snapshot = operator.snapshot().snapshot
        platform, spec = snapshot.platform, snapshot.services["web"].spec
        for network in shape.lab.eyeballs:
            servers.enter_context(serving(client, network.name))
            for each in snapshot.allocations.values():
                promised = sources(platform, spec, platform.machine(each.node), each.slot)
                seen = seen_from(client, each.node, each.id, client_addresses(network))
                assert seen == {promised.own6, promised.translated4}, each.id
        for fault in ("edge/ham-e1", "machine/transit2"):
            kiel = next(each for each in shape.lab.eyeballs if each.name == "kiel")
            gap = longest_gap(client, snapshot, client_addresses(kiel), fault)
            assert gap < LONGEST_GAP, fault
            Rig(client, ready, 0.0).restore()


def longest_gap(
    client: LabClient, snapshot: Snapshot, asked: tuple[Address, ...], fault: str
) -> float:
    """Return how long an instance got no answer from these, in seconds, around a fault.

    Whatever answers came, they came to the promised addresses.
    """
    platform, spec = snapshot.platform, snapshot.services["web"].spec
    running = [
        (each, address, subprocess.Popen(words, stdout=subprocess.PIPE))
        for each in snapshot.allocations.values()
        for start in (argv_inside(client, each.node, each.id, _KEEP_ASKING),)
        for address in asked
        for words in ([*start, str(address), "12"],)
    ]
    time.sleep(3.0)
    client.fault(fault)
    gaps: list[float] = []
    for each, address, one in running:
        said = json.loads(one.communicate(timeout=60)[0])
        promised = sources(platform, spec, platform.machine(each.node), each.slot)
        mine = promised.own6 if address.version == 6 else promised.translated4
        assert {ip_address(seen) for seen in said["seen"]} == {mine}, (fault, each.id)
        gaps.append(said["gap"])
    return max(gaps)
