"""Measure how long packets still go to an instance that is gone, from packet to packet.

    .venv/bin/python bench/reaction.py [--repeat 6] [--json]

Starts its own lab of examples/three-datacenters (as root). One eyeball sends packets of ever
new flows to `web`; the edges of its datacenter note, with the kernel's time stamps, when a
packet left for which instance. The figure is the time from the order to end an instance, or
to silence a node, to the last packet that an edge sent there. All is well again before the
next one.
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

PACKETS_PER_SECOND = 250
"""In each address family; half of them for an instance. More would slow down what is measured:
all machines share the cores of this one."""
SECONDS = 4.0
"""How long packets are sent; the fault comes after the first of them."""
CLIENT, EDGES = "berlin", ("fra-e1", "fra-e2")
PORT = 80
SILENCE_SECONDS = 0.2
"""No packet for so long: the edges know. A replica that comes back has the same address."""
_ALL, _IPV6 = 3, 0x86DD
"""Ethernet types."""
_SO_ATTACH_FILTER, _SO_TIMESTAMPNS = 26, 35
_OUTER = struct.Struct("!12xH24x16s")
"""Of a frame with an outer packet: Ethernet type, destination."""


@dataclass(frozen=True, slots=True)
class Case:
    """One fault, and what to measure."""

    name: str
    fault: Callable[[Rig], tuple[str, str]]
    bound_ms: float
    """The median that we promise."""


CASES = (
    Case("instance kill", lambda _: ("instance/web/fra/1", "kill"), 50),
    Case("node silent", lambda rig: (f"node/{rig.node_of('fra')}", "silent"), 350),
)


def measure(rig: Rig, case: Case) -> float:
    """Let it fail once; return milliseconds to the last packet. RuntimeError: too few seen."""
    rig.restore()
    target, kind = case.fault(rig)
    node = rig.node_of("fra")
    victims = _addresses_on(rig, node)
    service = rig.snapshot().services["web"]
    prefixes = [str(prefix.network_address) for prefix in service.prefixes]
    watchers = [_start(rig, edge, "watch", *victims) for edge in EDGES]
    sender = _start(rig, CLIENT, "send", *prefixes)
    time.sleep(1.0)
    at = time.time()
    rig.client.fault(target, kind)
    sender.communicate(timeout=60)
    seen = [json.loads(watcher.communicate(timeout=60)[0]) for watcher in watchers]
    times = sorted(t for one in seen for t in one)
    before = [t for t in times if t < at]
    if len(before) < PACKETS_PER_SECOND / 4:
        raise RuntimeError(f"{len(before)} packets to {victims} before the fault: too few")
    return 1000 * max(0.0, _last_before_silence(times, at) - at)


def _addresses_on(rig: Rig, node: str) -> list[str]:
    snapshot = rig.snapshot()
    machine, service = snapshot.platform.machine(node), snapshot.services["web"]
    return [
        str(snapshot.platform.instance6(machine, service.id, each.slot))
        for each in snapshot.allocations.values()
        if each.node == node and each.service == "web"
    ]


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


def send(targets: Sequence[str]) -> None:
    """Send SYNs of ever new flows; without a checksum, so that instances do not answer."""
    ways = []
    for target in targets:
        family = socket.AF_INET6 if ":" in target else socket.AF_INET
        raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP)
        ways.append((raw, target))
    print("at work", flush=True)
    dice = random.Random(1)  # noqa: S311 - ports of a test
    started, sent = time.monotonic(), 0
    while (passed := time.monotonic() - started) < SECONDS:
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


def watch(targets: Sequence[str]) -> None:
    """Print when packets to instances went out, in seconds since 1970."""
    wanted = {IPv6Address(each).packed for each in targets}
    found: list[float] = []
    code = _only_to(wanted)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        raw.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        held = ctypes.create_string_buffer(code, len(code))
        program = struct.pack("@HP", len(code) // 8, ctypes.addressof(held))
        raw.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        raw.settimeout(1.0)
        print("at work", flush=True)
        until = time.monotonic() + SECONDS + 4.0  # longer than the sender, which starts later
        while time.monotonic() < until:
            try:
                frame, extra, _, sender = raw.recvmsg(64, 64)
            except TimeoutError:
                continue
            if sender[2] == socket.PACKET_OUTGOING and len(frame) >= _OUTER.size:
                kind, destination = _OUTER.unpack_from(frame)
                if kind == _IPV6 and destination in wanted:
                    seconds, nanoseconds = struct.unpack("=qq", extra[0][2][:16])
                    found.append(seconds + nanoseconds / 1e9)
    json.dump(found, sys.stdout)


# ---- all of it -----------------------------------------------------------------------------


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print the table for people."""
    print(f"ran on: {machine_words()}\n")
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
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = []
    with running_rig(f"bench-{os.getpid()}") as rig:
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
        print(json.dumps({"ran_on": machine_words(), "rows": rows}, indent=2))
    else:
        show(rows)
    return None


if __name__ == "__main__":
    main()
