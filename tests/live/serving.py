"""Where a service is served at every instant: what the kernels of its nodes route.

A look costs a fraction of a millisecond for a node, so that it can be taken every 50 ms beside
a load. Controllers and agents are not asked: they are what is tested.
"""

import ctypes
import os
import socket
import struct
import threading
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Network

from bench.rig import Rig
from pltfrms.model.network.topology import Role
from pltfrms.model.running.machine import PROTO_ACTIVE, SERVICE_TABLE

PERIOD_SECONDS = 0.05
_GET_ROUTES, _ROUTE, _DONE = 26, 24, 3
_DUMP = 0x301
_STRICT = 12
"""NETLINK_GET_STRICT_CHK of SOL_NETLINK: the kernel sends only the table that is asked for."""
_SOL_NETLINK = 270
_HEAD, _RTMSG, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=8BI"), struct.Struct("=HH")
_DST, _TABLE = 1, 15
_NEWNET = 0x40000000


class Kernel:
    """The table of services of one node."""

    def __init__(self, node: str, namespace: str) -> None:
        self.node = node
        opened: list[socket.socket] = []
        thread = threading.Thread(target=_open_in, args=(namespace, opened))
        thread.start()
        thread.join()
        (self._socket,) = opened

    def close(self) -> None:
        self._socket.close()

    def serves(self, prefix: IPv4Network) -> bool:
        """Return whether new flows to a prefix are led to an instance here."""
        attribute = _ATTRIBUTE.pack(8, _TABLE) + struct.pack("=I", SERVICE_TABLE)
        body = _RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0) + attribute
        self._socket.send(_HEAD.pack(16 + len(body), _GET_ROUTES, _DUMP, 1, 0) + body)
        found, wanted = False, prefix.network_address.packed
        while True:
            data = memoryview(self._socket.recv(65536))
            while data:
                length, kind, *_ = _HEAD.unpack_from(data)
                if kind == _DONE:
                    return found
                assert kind == _ROUTE, f"{self.node}: netlink says {kind}"
                found = found or _leads(data[16:length], wanted)
                data = data[(length + 3) & ~3 :]


def _leads(message: memoryview, wanted: bytes) -> bool:
    _, size, _, _, _, protocol, *_ = _RTMSG.unpack_from(message)
    if (size, protocol) != (32, PROTO_ACTIVE):
        return False
    message = message[12:]
    while len(message) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(message)
        if kind == _DST:
            return bytes(message[4:length]) == wanted
        message = message[(length + 3) & ~3 :]
    return False


def _open_in(namespace: str, opened: list[socket.socket]) -> None:
    """Open a socket to the kernel in another network; the thread ends with it."""
    descriptor = os.open(namespace, os.O_RDONLY)
    entered = ctypes.CDLL(None, use_errno=True).setns(descriptor, _NEWNET)
    os.close(descriptor)
    assert entered == 0, os.strerror(ctypes.get_errno())
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    kernel.setsockopt(_SOL_NETLINK, _STRICT, 1)
    opened.append(kernel)


class Looks:
    """What was seen at each look."""

    def __init__(self) -> None:
        self.fewest: dict[str, int] = {}
        """By datacenter: on how many nodes at once the service was served at least."""
        self.count = 0
        self.longest_seconds = 0.0
        """Between two of them."""
        self._last = time.monotonic()

    def see(self, began: float, served: Mapping[str, int]) -> None:
        """Take what was seen since `began`; one node may take over from another meanwhile."""
        now = time.monotonic()
        if now - began > PERIOD_SECONDS:
            return  # that is of no instant
        self.longest_seconds, self._last = max(self.longest_seconds, now - self._last), now
        self.count += 1
        for site, count in served.items():
            self.fewest[site] = min(count, self.fewest.get(site, count))


@contextmanager
def looking(rig: Rig, dead: Container[str] = (), service: str = "web") -> Iterator[Looks]:
    """Look every 50 ms on how many nodes of each datacenter a service is served.

    Where there is one replica on a node at most, this is its count and its spread. Nodes that
    are `dead` by then are not looked at.
    """
    snapshot = rig.snapshot()
    prefix = snapshot.services[service].prefix4
    assert prefix is not None
    assert snapshot.services[service].spec.max_per_node == 1
    capsule = f"/proc/{rig.client.info().root_pid}/root/proc"
    pids = {machine.name: machine.pid for machine in rig.client.machines()}
    sites = {node.name: node.datacenter for node in snapshot.platform.machines_of(Role.NODE)}
    looks, done = Looks(), threading.Event()
    with ExitStack() as stack:
        kernels = [Kernel(name, f"{capsule}/{pids[name]}/ns/net") for name in sites]
        for kernel in kernels:
            stack.callback(kernel.close)

        def look() -> None:
            while not done.wait(PERIOD_SECONDS):
                began, served = time.monotonic(), dict.fromkeys(sites.values(), 0)
                for kernel in kernels:
                    if kernel.node not in dead:
                        served[sites[kernel.node]] += kernel.serves(prefix)
                looks.see(began, served)

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield looks
        finally:
            done.set()
            thread.join()
            print(f"{looks.count} looks, at most {looks.longest_seconds:.3f} s apart")  # noqa: T201 - shown when a test fails
