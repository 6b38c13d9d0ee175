"""Measure how long packets still go to an instance that is gone, from packet to packet.

    .venv/bin/python bench/reaction.py [--repeat 6] [--services 1] [--json]

Starts its own lab of examples/three-datacenters (as root). One eyeball sends packets of ever
new flows to `web`; the edges note, with the kernel's time stamps, when a packet left for which
instance. What fails is an instance that gets packets, or its node. The figure is the time from
the order to end an instance, or to silence a node, to the last packet that an edge sent there.
All is well again before the next one.

`web` is the only service that runs. With `--services N`, directors follow the routes of N: in
table 105 of every edge and node the bench puts those of four instances of each other service,
with BIRD's metric, but not its protocol number, since it would delete what it does not know. No
target names these services, so they have no tables; for those see `bench/following.py`.
"""

import argparse
import ctypes
import json
import os
import random
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.rig import Rig, machine_words, running_rig
from pltfrms.model.network.topology import Role
from pltfrms.model.running.plan import Allocation

PACKETS_PER_SECOND = 250
"""In each address family; half of them for an instance. More would slow down what is measured:
all machines share the cores of this one."""
SECONDS = 4.0
"""How long packets are sent; the fault comes after the first of them."""
LOOK_SECONDS = 1.0
"""How long packets are sent before that, to see who gets them."""
CLIENT = "berlin"
PORT = 80
SILENCE_SECONDS = 0.06
"""No packet for so long: the edges know. A replica that comes back has the same address, and
first comes back after 0.2 s."""
_ALL, _IPV6 = 3, 0x86DD
"""Ethernet types."""
_SO_ATTACH_FILTER, _SO_TIMESTAMPNS = 26, 35
_OUTER = struct.Struct("!12xH24x16s")
"""Of a frame with an outer packet: Ethernet type, destination."""


OTHERS_FROM = 10_000
"""Ids of services that are routes alone."""
OTHERS_SLOTS = range(60, 64)


@dataclass(frozen=True, slots=True)
class Case:
    """One fault, and what to measure."""

    name: str
    fault: Callable[[Allocation], tuple[str, str]]
    """Of an instance that gets packets."""
    bound_ms: float
    """The median that we promise."""


def instance_target(one: Allocation) -> str:
    """Return an instance in the words of the lab."""
    return f"instance/{one.service}/{one.datacenter}/{one.replica}"


CASES = (
    Case("instance kill", lambda one: (instance_target(one), "kill"), 50),
    Case("node silent", lambda one: (f"node/{one.node}", "silent"), 350),
)


def _nothing() -> None:
    """Do not do anything meanwhile."""


def measure(rig: Rig, case: Case) -> float:
    """Let it fail once; return milliseconds to the last packet. RuntimeError: too few seen."""
    rig.restore()
    addresses = _addresses(rig)
    seen = _watched(rig, LOOK_SECONDS, addresses)
    if not seen:
        raise RuntimeError(f"no packet from {CLIENT} to any of {sorted(addresses)}")
    chosen = addresses[max(seen, key=lambda address: len(seen[address]))]
    victims = [address for address, one in addresses.items() if one.node == chosen.node]
    at = 0.0

    def fail() -> None:
        nonlocal at
        time.sleep(1.0)
        at = time.time()
        rig.client.fault(*case.fault(chosen))

    seen = _watched(rig, SECONDS, victims, chosen.datacenter, fail)
    times = sorted(t for some in seen.values() for t in some)
    before = [t for t in times if t < at]
    if len(before) < PACKETS_PER_SECOND / 4:
        raise RuntimeError(f"{len(before)} packets to {victims} before the fault: too few")
    return 1000 * max(0.0, _last_before_silence(times, at) - at)


def put_others(rig: Rig, count: int) -> None:
    """Put routes to instances of so many services that do not run, at every director."""
    platform = rig.snapshot().platform
    nodes = platform.machines_of(Role.NODE)
    addresses = [
        platform.instance6(nodes[slot % len(nodes)], OTHERS_FROM + number, slot)
        for number in range(count)
        for slot in OTHERS_SLOTS
    ]
    words = "dev fab-a table 105 proto static metric 1010"
    lines = "".join(f"route replace {address}/128 {words}\n" for address in addresses)
    for machine in (*nodes, *platform.machines_of(Role.EDGE)):
        command = rig.client.exec_argv(machine.name, ("ip", "-batch", "-"))
        subprocess.run(command, input=lines, text=True, check=True, timeout=120)


def _addresses(rig: Rig) -> dict[str, Allocation]:
    """Return who has the unicast address of every instance of web."""
    snapshot = rig.snapshot()
    platform, service = snapshot.platform, snapshot.services["web"]
    return {
        str(platform.instance6(platform.machine(each.node), service.id, each.slot)): each
        for each in snapshot.allocations.values()
        if each.service == service.name
    }


def _watched(
    rig: Rig,
    seconds: float,
    targets: Iterable[str],
    datacenter: str = "",
    meanwhile: Callable[[], None] = _nothing,
) -> dict[str, list[float]]:
    """Return when packets went out to each target, in seconds since 1970.

    At the edges of a datacenter, or at all of them.
    """
    snapshot = rig.snapshot()
    prefixes = [str(each.network_address) for each in snapshot.services["web"].prefixes]
    edges = [each.name for each in snapshot.platform.machines_of(Role.EDGE, datacenter)]
    watchers = [_start(rig, edge, "watch", str(seconds), *targets) for edge in edges]
    sender = _start(rig, CLIENT, "send", str(seconds), *prefixes)
    meanwhile()
    sender.communicate(timeout=60)
    found: dict[str, list[float]] = {}
    for watcher in watchers:
        for address, times in json.loads(watcher.communicate(timeout=60)[0]).items():
            found.setdefault(address, []).extend(times)
    return found


def _last_before_silence(times: Sequence[float], at: float) -> float:
    last = at
    for each in times:
        if each < at:
            continue
        if each > last + SILENCE_SECONDS:
            break
        last = each
    return last


def _start(rig: Rig, machine: str, *words: str) -> subprocess.Popen[str]:
    script = (sys.executable, str(Path(__file__).resolve()), *words)
    command = rig.client.exec_argv(machine, script)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if process.stdout is not None:
        process.stdout.readline()  # it is at work
    return process


# ---- in the machines -----------------------------------------------------------------------


def send(words: Sequence[str]) -> None:
    """For so many seconds, send SYNs of ever new flows to prefixes.

    Without a checksum, so that instances do not answer.
    """
    seconds, targets = float(words[0]), words[1:]
    ways = []
    for target in targets:
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP)
        ways.append((raw, target))
    print("at work", flush=True)
    dice = random.Random(1)  # noqa: S311 - ports of a test
    started, sent = time.monotonic(), 0
    while (passed := time.monotonic() - started) < seconds:
        while sent < passed * PACKETS_PER_SECOND:
            for raw, target in ways:
                ports = (dice.randrange(1024, 1 << 16), PORT)
                syn = struct.pack("!HHIIBBHHH", *ports, 1, 0, 0x50, 2, 1 << 15, 0, 0)
                raw.sendto(syn, (target, 0))
            sent += 1
        time.sleep(0.001)


def _only_to(addresses: Iterable[bytes]) -> bytes:
    """Return classic BPF code that lets pass frames whose destination ends as one of these."""
    words = [int.from_bytes(each[12:]) for each in addresses]
    instructions = [(0x20, 0, 0, _OUTER.size - 4)]
    instructions += [(0x15, len(words) - n, 0, word) for n, word in enumerate(words)]
    instructions += [(0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)]
    return b"".join(struct.pack("=HBBI", *each) for each in instructions)


def watch(words: Sequence[str]) -> None:
    """Print when packets to each instance went out, in seconds since 1970."""
    wanted = {IPv6Address(each).packed: each for each in words[1:]}
    found: dict[str, list[float]] = {}
    code = _only_to(wanted)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        raw.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        held = ctypes.create_string_buffer(code, len(code))
        program = struct.pack("@HP", len(code) // 8, ctypes.addressof(held))
        raw.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        raw.settimeout(1.0)
        print("at work", flush=True)
        until = (
            time.monotonic() + float(words[0]) + 4.0
        )  # longer than the sender, which starts later
        while time.monotonic() < until:
            try:
                frame, extra, _, sender = raw.recvmsg(64, 64)
            except TimeoutError:
                continue
            if sender[2] == socket.PACKET_OUTGOING and len(frame) >= _OUTER.size:
                kind, destination = _OUTER.unpack_from(frame)
                if kind == _IPV6 and destination in wanted:
                    seconds, nanoseconds = struct.unpack("=qq", extra[0][2][:16])
                    times = found.setdefault(wanted[destination], [])
                    times.append(seconds + nanoseconds / 1e9)
    json.dump(found, sys.stdout)


# ---- all of it -----------------------------------------------------------------------------


def show(rows: Sequence[dict[str, Any]], services: int) -> None:
    """Print the table for people."""
    print(f"ran on: {machine_words()}")
    print(f"directors follow {services} services\n")
    print(f"{'fault':16}{'median':>10}{'longest':>10}{'promised median':>18}{'runs':>6}")
    for row in rows:
        median, longest = f"{row['median_ms']} ms", f"{max(row['last_packet_ms'])} ms"
        promised, runs = f"{row['bound_ms']:.0f} ms", len(row["last_packet_ms"])
        print(f"{row['fault']:16}{median:>10}{longest:>10}{promised:>18}{runs:>6}")


def main() -> None:
    """Run the cases, or play a part of them inside a machine."""
    parts = {"send": send, "watch": watch}
    if sys.argv[1:2] and sys.argv[1] in parts:
        return parts[sys.argv[1]](sys.argv[2:])
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=6)
    parser.add_argument("--services", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = []
    with running_rig(f"bench-{os.getpid()}") as rig:
        put_others(rig, asked.services - 1)
        for case in CASES:
            took = [round(measure(rig, case), 1) for _ in range(asked.repeat)]
            median = round(statistics.median(took), 1)
            rows.append(
                {
                    "fault": case.name,
                    "median_ms": median,
                    "bound_ms": case.bound_ms,
                    "last_packet_ms": took,
                }
            )
    if asked.json:
        what = {"ran_on": machine_words(), "services": asked.services}
        print(json.dumps({**what, "rows": rows}, indent=2))
    else:
        show(rows, asked.services)
    return None


if __name__ == "__main__":
    main()
