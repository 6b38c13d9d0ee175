"""What others run on nodes of a lab: a server by hand, pods, and anycast of their own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.rig import Rig
from pltfrms.model.network.topology import Role, link_local

ADDRESSES = ("198.51.100.53", "2001:db8:100::53")
PORT = 8053
_SERVER = f"""
import socket, sys
one = socket.create_server(("::", {PORT}), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    asker, _ = one.accept()
    asker.sendall(sys.argv[1].encode())
    asker.close()
"""
_CLIENT = f"""
import json, select, socket, sys, time
said = []
while not select.select([sys.stdin], [], [], 0.03)[0]:
    for address in {ADDRESSES!r}:
        try:
            with socket.create_connection((address, {PORT}), timeout=2) as one:
                said.append(one.recv(100).decode() or "nothing")
        except OSError as error:
            said.append(str(error))
print(json.dumps(said))
"""
POD = ("172.30.0.2", "fd00:244::2")
_POD = f"""
ip link add pod0 type veth peer name eth0 netns $POD
ip address add 172.30.0.1/24 dev pod0 && ip link set pod0 up
ip -6 address add fd00:244::1/64 dev pod0 nodad
nsenter -t $POD -n sh -c 'ip link set lo up; ip link set eth0 up
    ip address add {POD[0]}/24 dev eth0; ip -6 address add {POD[1]}/64 dev eth0 nodad
    ip route add default via 172.30.0.1; ip -6 route add default via fd00:244::1'
"""
_HOST_PORT = f"""
for hook in prerouting output; do echo "
    add table inet hostports
    add chain inet hostports $hook {{ type nat hook $hook priority -100; }}
    add rule inet hostports $hook fib daddr type local tcp dport {PORT} dnat ip to {POD[0]}
    add rule inet hostports $hook fib daddr type local tcp dport {PORT} dnat ip6 to {POD[1]}
"; done | nft -f -
"""
"""As a cluster does it for a `hostPort`: for all that is an address of the node."""


@contextmanager
def server(
    rig: Rig, machine: str, *, pod: bool = False, host_port: bool = False
) -> Iterator["subprocess.Popen[str]"]:
    """Serve in a machine, or in a pod on it, until the end or until it is killed."""
    words = [sys.executable, "-c", _SERVER, machine]
    where = ["sh", "-c", 'echo $$; exec "$@"', "sh"]
    argv = rig.client.exec_argv(machine, [*(["unshare", "-n"] if pod else []), *where, *words])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout
        pid = one.stdout.readline().strip()
        try:
            if pod:
                text = _POD + (_HOST_PORT if host_port else "")
                rig.run(machine, "sh", "-ec", f"POD={pid}\n{text}")
            yield one
        finally:
            rig.run(machine, "kill", "-9", pid, check=False)
            if host_port:
                rig.run(machine, "nft", "delete table inet hostports", check=False)


@contextmanager
def asking(rig: Rig) -> Iterator[list[str]]:
    """Ask from berlin all the time; the list has the answers when that is over."""
    argv = rig.client.exec_argv("berlin", [sys.executable, "-c", _CLIENT])
    said: list[str] = []
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as one:
        try:
            yield said
        finally:
            said += json.loads(one.communicate("\n")[0] or "[]")


def their_anycast(rig: Rig, node: str, verb: str) -> None:
    """`add` or `del` what others have today: addresses on `lo`, and routes of edges to them."""
    platform = rig.snapshot().platform
    me = platform.machine(node)
    fabric = platform.datacenter(me.datacenter).fabrics[0]
    way = f"dev {platform.fabric_interface(me, fabric)}"
    for address in ADDRESSES:
        six = ":" in address
        family, length, via = ("-6", 128, "via") if six else ("-4", 32, "via inet6")
        prefix = f"{address}/{length}"
        words = f"ip {family} address {verb} {prefix} dev lo {'nodad' if six else ''}"
        rig.run(node, *words.split())
        for edge in platform.machines_of(Role.EDGE, me.datacenter):
            words = f"ip {family} route {verb} {prefix} {via} {link_local(me)} {way}"
            rig.run(edge.name, *words.split())
