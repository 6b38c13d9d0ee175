"""Instances that ask servers in the internet, and who of it sees what on the wires outside."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

from pltfrms.lab.client.client import LabClient
from pltfrms.model.addresses import Address
from pltfrms.model.network.lab import Lab, client_addresses
from pltfrms.model.running.plan import Allocation
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.egress import sources

PORT = 8080
_SERVE = """
import select, socket, sys
where = ("::", int(sys.argv[1]))
server = socket.create_server(where, family=socket.AF_INET6, dualstack_ipv6=True)
print("up", flush=True)
while sys.stdin not in select.select([server, sys.stdin], [], [])[0]:
    one, (peer, *_) = server.accept()
    one.sendall(peer.removeprefix("::ffff:").encode())
    one.close()
"""
_ASK = """
import json, socket, sys, time
found, until = [], time.monotonic() + 20  # what no client waits for may still be on its way
while len(found) < len(sys.argv[2:]):
    try:
        where = sys.argv[2 + len(found)], int(sys.argv[1])
        with socket.create_connection(where, timeout=3) as one:
            found.append(one.recv(100).decode())
    except OSError:
        if time.monotonic() > until:
            raise
        time.sleep(0.1)
print(json.dumps(found))
"""


@contextmanager
def everybody_answers(client: LabClient, lab: Lab) -> Iterator[None]:
    """Let every network of clients answer whoever asks with the address that it sees."""
    with ExitStack() as servers:
        for network in lab.eyeballs:
            servers.enter_context(_answering(client, network.name))
        yield


@contextmanager
def _answering(client: LabClient, machine: str) -> Iterator[None]:
    words = client.exec_argv(machine, [sys.executable, "-I", "-S", "-c", _SERVE, str(PORT)])
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe) as server:  # ends when stdin does
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        yield


def promised(snapshot: Snapshot, allocation: Allocation) -> dict[int, Address]:
    """Return from which addresses an instance is to be seen, by family; empty: it is silent."""
    spec = snapshot.services[allocation.service].spec
    node = snapshot.platform.machine(allocation.node)
    found = sources(snapshot.platform, spec, node, allocation.slot)
    every = (found.own6, found.own4 or found.translated4)
    return {each.version: each for each in every if each is not None}


def argv_inside(client: LabClient, node: str, allocation: str, script: str) -> list[str]:
    """Return the words that run a script in an instance; its arguments come behind them."""
    record = f"/run/pltfrms/instances/{allocation}.json"
    argv = client.exec_argv(node, ["cat", record])
    pid = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)["pid"]
    words = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-I", "-S", "-c", script]
    return client.exec_argv(node, [*words, str(PORT)])


def ask_from_every_instance(client: LabClient, lab: Lab, snapshot: Snapshot) -> int:
    """Ask every network of clients from each instance that may; return how many answered.

    Each is asked in the families that both have, and must have seen the promised address.
    """
    every = [one for each in lab.eyeballs for one in client_addresses(each)]
    asking = []
    for allocation in snapshot.allocations.values():
        mine = promised(snapshot, allocation)
        if not mine:
            continue
        reached = [one for one in every if one.version in mine]
        argv = argv_inside(client, allocation.node, allocation.id, _ASK)
        words = [*argv, *map(str, reached)]
        one = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        asking.append((one, allocation.id, [mine[each.version] for each in reached]))
    for one, name, wanted in asking:
        said, wrong = one.communicate(timeout=60)
        assert one.returncode == 0, f"{name}: {wrong}"
        assert [ip_address(each) for each in json.loads(said)] == wanted, name
    return sum(len(wanted) for _, _, wanted in asking)
