"""The program on real devices: connections through it, while tables change under them.

A client behind a transit, a machine that is edge and node at once, and two instances:

    client --- transit --- machine === i1 --- one
                                   === i2 --- two
"""

import ctypes
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.drivers.balancer.director.model import Home, Served, encapsulate
from pltfrms.drivers.balancer.maps import COUNTERS
from pltfrms.drivers.kernel.programs.bpf import Side
from pltfrms.model.running.balancer import ROWS, HookKind
from pltfrms.planner.balancing.flow_hash import flow_hash
from tests.drivers.balancer.director.cases import CASES
from tests.drivers.balancer.director.kernel import Counts, Kernel, attach, counted, packed_table
from tests.drivers.balancer.director.packets import (
    CLIENT4,
    CLIENT6,
    INFRASTRUCTURE,
    TEAM4,
    TEAM6,
    instance,
    ip6,
    key,
    packed,
    tcp,
)
from tests.drivers.balancer.director.world import TEAM, machine
from tests.namespaces import in_machine

pytestmark = pytest.mark.root
PORT = 80
SERVICES = (TEAM4, TEAM6)
NEAR, FAR = "fe80::1", "fe80::2"
_LIBC = ctypes.CDLL(None, use_errno=True)
_NEWNET = 0x40000000


# ---- the small world -----------------------------------------------------------------------


def ip(*words: str, inside: str = "") -> str:
    """Run `ip`, perhaps in a network namespace."""
    where = ("-n", inside) if inside else ()
    done = subprocess.run(("ip", *where, *words), check=True, capture_output=True, text=True)
    return done.stdout


def sysctl(name: str, value: str) -> None:
    Path("/proc/sys/net", *name.split("/")).write_text(value)


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Make sockets in a network namespace; they stay there."""
    with (
        Path("/proc/thread-self/ns/net").open() as home,
        Path(f"/run/netns/{name}").open() as there,
    ):
        assert not _LIBC.setns(there.fileno(), _NEWNET)
        try:
            yield
        finally:
            assert not _LIBC.setns(home.fileno(), _NEWNET)


def forward() -> None:
    """Be a router, for both families."""
    sysctl("ipv4/ip_forward", "1")
    sysctl("ipv6/conf/all/forwarding", "1")


def cable(device: str, other: str, name: str, mtu: int = 1600) -> None:
    """Join `device` here with `other` in a namespace, by link-local addresses."""
    ip("link", "add", device, "mtu", str(mtu), "type", "veth", "peer", other, "netns", name)
    for near, end, where in ((NEAR, device, ""), (FAR, other, name)):
        ip("link", "set", end, "up", inside=where)
        ip("address", "add", f"{near}/64", "dev", end, "nodad", inside=where)


def make_world() -> None:
    subprocess.run(("mount", "-t", "tmpfs", "tmpfs", "/run"), check=True)
    ip("link", "set", "lo", "up")
    forward()
    for name in ("client", "transit", "one", "two"):
        ip("netns", "add", name)
        ip("link", "set", "lo", "up", inside=name)
    cable("transit", "machine", "transit")
    for number, name in ((1, "one"), (2, "two")):
        cable(f"i{number}", "eth0", name)
        ip("link", "set", "eth0", "mtu", "1500", inside=name)
        for address in (*SERVICES, instance(number)):
            nodad = ("nodad",) if ":" in address else ()
            ip("address", "add", address, "dev", "lo", *nodad, inside=name)
        routes((("0.0.0.0/0", NEAR, "eth0"), ("::/0", NEAR, "eth0")), name)
        routes(((instance(number), FAR, f"i{number}"),))
    # Left to the kernel, everything would go to the second instance.
    routes(
        (
            *((each, FAR, "i2") for each in SERVICES),
            *((c, FAR, "transit") for c in (CLIENT4, CLIENT6)),
        )
    )
    with inside("transit"):
        forward()
        cable("client", "eth0", "client", 1500)
        routes(
            (
                *((each, NEAR, "machine") for each in SERVICES),
                *((c, FAR, "client") for c in (CLIENT4, CLIENT6)),
            )
        )
    for address in (CLIENT4, CLIENT6):
        nodad = ("nodad",) if ":" in address else ()
        ip("address", "add", address, "dev", "lo", *nodad, inside="client")
    with inside("client"):
        for prefix, source in (("0.0.0.0/0", CLIENT4), ("::/0", CLIENT6)):
            routes(((prefix, NEAR, "eth0"),), more=("src", source))


def routes(
    wanted: Sequence[tuple[str, str, str]], name: str = "", more: Sequence[str] = ()
) -> None:
    """Make routes (prefix, nexthop, device)."""
    for prefix, nexthop, device in wanted:
        via = ("via", nexthop) if ":" in prefix else ("via", "inet6", nexthop)
        ip("route", "add", prefix, *via, "dev", device, *more, inside=name)


def make_director(kernel: Kernel) -> None:
    """Attach it to all devices; rows are (1, 2, 0, 0)."""
    kernel.fill(
        replace(
            machine(),
            services={key(each): Served(1, TEAM) for each in SERVICES},
            tables={1: [(1, 2, 0, 0)] * ROWS},
        )
    )
    attach(kernel.programs["outside"], "transit", Side.INGRESS)
    for number in (1, 2):
        device = f"i{number}"
        (link,) = json.loads(ip("-j", "link", "show", device))
        home = Home(packed(instance(number)))
        kernel.put_home(home, link["link_netnsid"], link["ifindex"])
        attach(kernel.programs["instance_in"], device, Side.INGRESS)
        attach(kernel.programs["instance_out"], device, Side.EGRESS)


def set_rows(kernel: Kernel, *row: int) -> None:
    """Make all rows this one, in place."""
    rows = kernel.maps["tables"].map_in(1)
    assert rows
    with rows:
        rows.put(0, packed_table([row] * ROWS))


def totals(kernel: Kernel) -> dict[str, int]:
    found = kernel.counts()
    return {name: found["counters", number, 0] for number, name in enumerate(COUNTERS)}


# ---- servers and clients -------------------------------------------------------------------


def serve(name: str) -> None:
    """Answer `SIZE` by SIZE bytes of the instance's name, at both addresses."""
    for address in SERVICES:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with inside(name):
            listener = socket.create_server((address, PORT), family=family, backlog=64)
        threading.Thread(target=_accept, args=(listener, name[:1]), daemon=True).start()


def _accept(listener: socket.socket, letter: str) -> None:
    while True:
        flow, _ = listener.accept()
        threading.Thread(target=_answer, args=(flow, letter.encode()), daemon=True).start()


def _answer(flow: socket.socket, letter: bytes) -> None:
    with suppress(OSError), flow, flow.makefile("rb") as lines:
        for line in lines:
            flow.sendall(letter * int(line))


def connect(service: str) -> socket.socket:
    """Return a connection of the client."""
    with inside("client"):
        family = socket.AF_INET6 if ":" in service else socket.AF_INET
        flow = socket.socket(family)
    flow.settimeout(10)
    flow.connect((service, PORT))
    return flow


def ask(flow: socket.socket, size: int = 1) -> str:
    """Return the first letter of who answers, when all has arrived; `?` if it is reset."""
    try:
        flow.sendall(f"{size:06}\n".encode())
        answer = b""
        while len(answer) < size:
            answer += (part := flow.recv(1 << 16))
            if not part:
                return "?"
    except (ConnectionResetError, TimeoutError):
        return "?"
    (letter,) = set(answer.decode())
    return letter


@contextmanager
def world() -> Iterator[Kernel]:
    make_world()
    kernel = Kernel()
    make_director(kernel)
    for name in ("one", "two"):
        serve(name)
    yield kernel


# ---- tests ---------------------------------------------------------------------------------


def test_flows_live_on_where_they_are_when_the_table_changes() -> None:
    async def scenario() -> None:
        with world() as kernel:
            old = [connect(service) for service in SERVICES * 10]
            assert {ask(flow) for flow in old} == {"o"}
            assert not totals(kernel)["second_chance"]
            set_rows(kernel, 2, 1, 0, 0)
            assert {ask(flow) for flow in old} == {"o"}
            assert totals(kernel)["second_chance"] >= len(old)
            new = [connect(service) for service in SERVICES * 10]
            assert {ask(flow) for flow in new} == {"t"}
            assert {ask(flow, 300_000) for flow in (*old[:4], *new[:4])} == {"o", "t"}
            # Who does not know a flow and is the last says so.
            set_rows(kernel, 2, 0, 0, 0)
            assert ask(old[0]) == "?"
            assert totals(kernel)["last_hop"]
            assert not totals(kernel)["forged"] + totals(kernel)["failed"]

    in_machine(scenario)


def test_without_a_heartbeat_the_kernel_decides() -> None:
    async def scenario() -> None:
        with world() as kernel:
            assert {ask(connect(service)) for service in SERVICES} == {"o"}
            kernel.beat(fresh=False)
            assert {ask(connect(service)) for service in SERVICES} == {"t"}
            assert totals(kernel)["stale"]

    in_machine(scenario)


def test_returned_syn_cookies_stay_where_they_were_given() -> None:
    """An ACK that meets no socket, but opens a flow."""

    async def scenario() -> None:
        with world() as kernel:
            for name in ("one", "two"):
                with inside(name):
                    sysctl("ipv4/tcp_syncookies", "2")
            flows = [connect(service) for service in SERVICES * 10]
            assert {ask(flow) for flow in flows} == {"o"}
            assert not totals(kernel)["second_chance"]
            set_rows(kernel, 2, 1, 0, 0)
            assert {ask(connect(service)) for service in SERVICES * 10} == {"t"}
            assert {ask(flow) for flow in flows} == {"o"}

    in_machine(scenario)


def test_who_must_send_less_hears_it_at_the_instance_that_has_the_flow() -> None:
    """The transit's link to the client is narrow: it tells the service, not the instance."""

    async def scenario() -> None:
        with world() as kernel:
            flows = [connect(service) for service in SERVICES]
            assert {ask(flow) for flow in flows} == {"o"}
            set_rows(kernel, 2, 1, 0, 0)
            before = totals(kernel)
            ip("link", "set", "client", "mtu", "1300", inside="transit")
            assert {ask(flow, 200_000) for flow in flows} == {"o"}
            after = totals(kernel)
            assert after["icmp_error"] >= before["icmp_error"] + 2

    in_machine(scenario)


def test_super_packets_arrive_whole() -> None:
    """A megabyte upstream, in packets far larger than the link's."""

    async def scenario() -> None:
        with world() as kernel:
            for service in SERVICES:
                with connect(service) as flow:
                    flow.sendall(b" " * 1_000_000 + b"3\n")
                    assert flow.recv(3, socket.MSG_WAITALL) == b"ooo"
            found = kernel.counts()
            packets, size = (found["service_stats", 1, place] for place in (0, 1))
            assert size > 2_000_000
            assert size / packets < 1600
            assert not totals(kernel)["failed"]

    in_machine(scenario)


def test_super_packets_of_datagrams_keep_their_sizes() -> None:
    async def scenario() -> None:
        segment_size, number, size = 103, 8, 1000
        with world() as kernel:
            for service in SERVICES:
                family = socket.AF_INET6 if ":" in service else socket.AF_INET
                with inside("one"):
                    server = socket.socket(family, socket.SOCK_DGRAM)
                server.bind((service, PORT))
                server.settimeout(5)
                with inside("client"):
                    client = socket.socket(family, socket.SOCK_DGRAM)
                client.setsockopt(socket.IPPROTO_UDP, segment_size, size)
                client.sendto(bytes(number * size), (service, PORT))
                assert [len(server.recv(9000)) for _ in range(number)] == [size] * number
            found = kernel.counts()
            assert found["service_stats", 1, 0] == number * len(SERVICES)
            assert not totals(kernel)["failed"]

    in_machine(scenario)


def test_forged_outer_packets_are_dropped() -> None:
    async def scenario() -> None:
        with world() as kernel:
            inner = ip6(tcp(flags=2), destination=TEAM6)
            with inside("client"):
                raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 41)
            ip("route", "add", INFRASTRUCTURE, "via", NEAR, "dev", "machine", inside="transit")
            raw.sendto(inner, (instance(1), 0))
            assert _soon(kernel, "forged", 1)
            with inside("two"):
                raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 41)
            raw.sendto(inner, (instance(1), 0))
            assert _soon(kernel, "forged", 2)
            assert not totals(kernel)["decapsulated"]

    in_machine(scenario)


def _soon(kernel: Kernel, counter: str, number: int) -> bool:
    for _ in range(100):
        if totals(kernel)[counter] == number:
            return True
        select.select((), (), (), 0.02)
    return False


# ---- devices without an Ethernet header ----------------------------------------------------


def tun(name: str) -> int:
    """Make a device whose packets we send and receive; return its file descriptor."""
    set_interface, no_information, is_tun = 0x400454CA, 0x1000, 1
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(
        fd, set_interface, struct.pack("16sH22x", name.encode(), is_tun | no_information)
    )
    ip("link", "set", name, "up", "mtu", "9000")
    return fd


def test_devices_without_a_link_header() -> None:
    """The same rules, seen by what comes out at another device."""

    async def scenario() -> None:
        forward()
        sysctl("ipv6/conf/default/accept_dad", "0")
        sysctl("ipv4/conf/all/rp_filter", "0")
        sysctl("ipv4/conf/default/rp_filter", "0")
        ip("link", "set", "lo", "up")
        bare, out = tun("bare"), tun("out")
        ip("route", "add", INFRASTRUCTURE, "dev", "out")
        for service in SERVICES:
            ip("route", "add", service, "dev", "out")
        kernel, maps = Kernel(), machine()
        kernel.fill(maps)
        attach(kernel.programs["outside_l3"], "bare", Side.INGRESS)
        total: Counts = Counter()
        for case in CASES:
            packet = case.packet[14:]
            if case.program != "outside" or packet[0] >> 4 not in {4, 6}:
                continue
            said = encapsulate(packet, maps, flow_hash, hook=HookKind.OUTSIDE, link=0)
            os.write(bare, packet)
            if said.instance:
                assert _next(out) == said.frame[:7] + b"\x3f" + said.frame[8:], case.rule
            total += counted(said)
        assert kernel.counts() == total
        assert total["service_stats", 0, 0] > 20

    in_machine(scenario)


def _next(fd: int) -> bytes:
    """Return the next packet that is not the kernel's own chat."""
    while True:
        ready, _, _ = select.select((fd,), (), (), 5)
        assert ready, "no packet came out"
        packet = os.read(fd, 1 << 16)
        if packet[0] >> 4 == 6 and packet[6] in {4, 41}:
            return packet
