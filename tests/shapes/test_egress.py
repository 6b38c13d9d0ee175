"""Instances that ask servers in the internet: they speak from the addresses of their site."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from bench.rig import running_lab
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.lab.client.client import LabClient
from pltfrms.model.addresses import Address
from pltfrms.model.egress import sources
from pltfrms.model.lab import client_addresses
from tests.shapes.shapes import DIRECTORY, read

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(300)]

NAME = "instances-that-ask"
PORT = 8080
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


def seen_from(
    client: LabClient, node: str, allocation: str, asked: tuple[Address, ...]
) -> set[Address]:
    """Return from which addresses an instance is seen by these."""
    record = f"/run/pltfrms/instances/{allocation}.json"
    argv = client.exec_argv(node, ["cat", record])
    pid = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)["pid"]
    words = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-I", "-S", "-c", _ASK]
    argv = client.exec_argv(node, [*words, str(PORT), *map(str, asked)])
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return {ip_address(each) for each in json.loads(done.stdout)}


def test_every_instance_is_seen_by_the_internet_with_the_addresses_of_its_site() -> None:
    shape = read(NAME)
    assert shape.lab is not None
    with running_lab(DIRECTORY / NAME, f"asks-{os.getpid()}") as (client, _):
        with OperatorClient(client.controller_endpoints()) as operator:
            snapshot = operator.snapshot().snapshot
        platform, spec = snapshot.platform, snapshot.services["web"].spec
        for network in shape.lab.eyeballs:
            with serving(client, network.name):
                for each in snapshot.allocations.values():
                    promised = sources(platform, spec, platform.machine(each.node), each.slot)
                    seen = seen_from(client, each.node, each.id, client_addresses(network))
                    assert seen == {promised.own6, promised.translated4}, each.id
