"""Measure the director beside what else could spread the load, in one run.

    .venv/bin/python bench/balancer.py [--rounds 6] [--quick] [--json]

Runs as root, in namespaces of its own: client, router, one edge, ten nodes with an instance
each. The same client asks the same four servers through

    plain     one route to one instance: what forwarding costs, without any choice
    ecmp      the kernel's ECMP
    director  ours
    haproxy   HAProxy on the edge, `mode tcp`
    nft       nftables on the edge: `jhash ... fwd`, by MAC address

Everything shares the cores of one machine, so look at ratios. In each round all of them are
measured right after each other, in IPv4 and IPv6 by turns; a ratio is the median over rounds
of what was measured, by what `plain` had in the same round.

In the first table the client, the servers and all that forwards between them take most of the
time. What a balancer costs where it stands is in the second one: there the edge has the first
core for itself, everything else shares the other ones, and that core's busy time is counted.

In the third table the edge is small: it gets a quarter of that core. So it is the edge that
limits what comes through, as it would be in the field, where clients and servers have machines
of their own. A real-time process takes the rest of the core; so that this holds for packets as
it does for HAProxy, the kernel forwards them in threads there.

Gbit/s are those of plain TCP streams of our own: iperf3 needs two connections to the same
server, which is what none of these promises.
"""

import argparse
import json
import os
import re
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.balancer_site import EDGE, EDGE_CPU, OTHER_CPUS, SERVERS, Site
from bench.rig import machine_words
from pltfrms.drivers.kernel.programs.bpf import Side
from tests.balancer import packets
from tests.balancer.layout import EDGE_PORT, FABRIC, WEB, addresses, client_addresses
from tests.balancer.rig import Rig, rig
from tests.namespaces import in_machine

SIZES = (3, 4, 8, 10)
"""Instances before one is removed, in the second table."""
PORTS = range(20_000, 20_400)
MODES = ("plain", "ecmp", "director", "haproxy", "nft")
UNITS = {
    "connections": "connections/s",
    "requests": "requests/s",
    "large": "10 kB answers/s",
    "up": "Gbit/s up",
    "down": "Gbit/s down",
}
"""Requests but the first ones are on connections that are kept; `up` is to the servers."""
CLIENTS = {"connections": 64, "requests": 400, "large": 64}
"""Connections at a time. A balancer has many that are kept: a proxy pays for each of them."""
COSTS = {
    "connections": "edge us/connection",
    "requests": "edge us/request",
    "large": "edge us/10 kB answer",
}
SMALL = ("connections", "requests")
"""What is measured at a small edge."""
SMALL_MODES = ("plain", "ecmp", "director", "haproxy")
OTHERS = ("ecmp", "haproxy")
"""What the director is compared with."""
_SMALL_EDGE_SHARE = 0.25
_SHARING_SECONDS = 0.002
"""The small edge works for its share of each period of this length."""
_REAL_TIME = 10


@dataclass(slots=True)
class Series:
    """What one way of spreading did, by round."""

    mode: str
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def median(self, name: str) -> float:
        """Return the median over rounds."""
        return statistics.median(self.values[name])

    def ratio(self, other: "Series", name: str) -> float:
        """Return the median over rounds of the ratio to another's value in the same round."""
        pairs = zip(self.values[name], other.values[name], strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)


def measure_load(site: Site, rounds: int, seconds: float) -> dict[str, Series]:
    """Measure all ways of spreading in turn, so often."""
    series = {mode: Series(mode) for mode in MODES}
    for number in range(rounds):
        version = 4 if number % 2 else 6
        shift = number % len(MODES)
        for mode in (*MODES[shift:], *MODES[:shift]):
            site.serve_with(1 if mode == "plain" else SERVERS)
            site.enter(mode)
            values = series[mode].values
            for name in COSTS:
                values[name].append(_wrk(site.rig, version, seconds, name).per_second)
            for name in ("up", "down"):
                moved = site.rig.client.call(
                    "stream", version, seconds * 0.5, up=name == "up", flows=4
                )
                values[name].append(moved)
            site.leave(mode)
    return series


def measure_edge(site: Site, rounds: int, seconds: float) -> dict[str, Series]:
    """Measure how many microseconds of its core the edge takes for a connection or request."""
    site.separate_edge()
    series = {mode: Series(mode) for mode in MODES}
    for number in range(rounds):
        version = 4 if number % 2 else 6
        for mode in MODES:
            site.serve_with(1 if mode == "plain" else SERVERS)
            site.enter(mode)
            for name in COSTS:
                before = _idle_seconds(), time.monotonic()
                asked = _wrk(site.rig, version, seconds, name)
                idle, passed = _idle_seconds() - before[0], time.monotonic() - before[1]
                series[mode].values[name].append(1e6 * (passed - idle) / asked.requests)
            site.leave(mode)
    return series


def measure_small_edge(site: Site, rounds: int, seconds: float) -> dict[str, Series]:
    """Measure what comes through an edge that has a part of a core; after `measure_edge`."""
    site.forward_in_threads()
    series = {mode: Series(mode) for mode in SMALL_MODES}
    with _busy_edge_core():
        for number in range(rounds):
            version = 4 if number % 2 else 6
            for mode in SMALL_MODES:
                site.serve_with(1 if mode == "plain" else SERVERS)
                site.enter(mode)
                for name in SMALL:
                    asked = _wrk(site.rig, version, seconds, name)
                    series[mode].values[name].append(asked.per_second)
                site.leave(mode)
    return series


@contextmanager
def _busy_edge_core() -> Iterator[None]:
    """Take the edge's core away from everybody, but for a share of each short period."""
    spinner = get_context("fork").Process(target=_spin, daemon=True)
    spinner.start()
    try:
        yield
    finally:
        spinner.terminate()
        spinner.join()


def _spin() -> None:
    os.sched_setaffinity(0, {EDGE_CPU})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_REAL_TIME))
    while True:
        end = time.monotonic() + _SHARING_SECONDS * (1 - _SMALL_EDGE_SHARE)
        while time.monotonic() < end:
            pass
        time.sleep(_SHARING_SECONDS * _SMALL_EDGE_SHARE)


def _keep_threads_at_edge() -> None:
    """Keep the kernel's forwarding threads on the edge's core; runs outside of the machine.

    Inside, the kernel's threads cannot be seen.
    """
    while True:
        for file in Path("/proc").glob("[0-9]*/comm"):
            with suppress(OSError):
                if file.read_text().startswith(("napi/" + EDGE_PORT, "napi/" + FABRIC)):
                    os.sched_setaffinity(int(file.parent.name), {EDGE_CPU})
        time.sleep(0.2)


def _idle_seconds() -> float:
    """Return how long the edge's core had nothing to do since the machine started."""
    lines = Path("/proc/stat").read_text().splitlines()
    words = next(line for line in lines if line.startswith(f"cpu{EDGE_CPU} ")).split()
    return (int(words[4]) + int(words[5])) / os.sysconf("SC_CLK_TCK")


class Asked(NamedTuple):
    """What a client has got."""

    requests: int
    per_second: float


def _wrk(made: Rig, version: int, seconds: float, what: str) -> Asked:
    """Ask over so many connections; RuntimeError if many requests fail."""
    address = addresses(WEB)[version == 6]
    url = f"http://[{address}]/" if version == 6 else f"http://{address}/"
    url += "large" if what == "large" else ""
    options = ("-H", "Connection: close") if what == "connections" else ()
    words = ("wrk", "-t2", f"-c{CLIENTS[what]}", f"-d{max(1, round(seconds))}s", *options, url)
    said = made.client.call("run", *words)
    done = re.search(r"(\d+) requests in", said)
    bad = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    failed = sum(map(int, bad.groups())) if bad else 0
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if not done or not rate or failed > int(done[1]) / 100:
        raise RuntimeError(f"too many requests failed: {said}")
    return Asked(int(done[1]), float(rate[1]))


def measure_moves(site: Site) -> dict[str, dict[int, float]]:
    """Return which part of bystanders moves when one instance is removed, by mode and size.

    A bystander is a flow of another instance than the removed one. Each of them is removed
    once, and the part is the mean.
    """
    return {
        mode: {size: _moved(site, mode, size) for size in SIZES}
        for mode in ("ecmp", "director", "nft")
    }


def _moved(site: Site, mode: str, size: int) -> float:
    site.serve_with(size)
    before = _who_gets(site, mode)
    parts = []
    for removed in site.instances[:size]:
        site.serve_with(size)
        removed.ready = False
        after = _who_gets(site, mode)
        bystanders = [flow for flow in before if before[flow] != removed.name]
        moved = [flow for flow in bystanders if before[flow] != after.get(flow)]
        parts.append(len(moved) / len(bystanders))
    return statistics.mean(parts)


def _who_gets(site: Site, mode: str) -> dict[tuple[int, int], str]:
    site.enter(mode)
    found = {
        (version, port): name
        for version in (4, 6)
        for port, name in site.rig.client.call("who_gets", version, PORTS).items()
    }
    site.leave(mode)
    return found


def measure_program(site: Site) -> dict[str, int]:
    """Return nanoseconds that the director's program takes for a packet, by kind.

    Of single runs, since the first one changes the packet: with the timer and cold caches.
    """
    site.serve_with(SERVERS)
    site.enter("director")
    instance, edge = site.instances[0], site.rig.hosts[EDGE]
    node = site.rig.hosts[instance.node.name]
    source = site.rig.platform.balancer_source(site.rig.edges[0]).network_address
    four, six = client_addresses()[0], client_addresses()[-1]
    took: dict[str, int] = {}
    for version, client, service in zip((4, 6), (four, six), addresses(WEB), strict=True):
        plain = packets.udp(str(client), 7777, service, 7, bytes(32))
        other = packets.udp(str(client), 7777, str(client), 7, bytes(32))
        outer = packets.outer(source, instance.address, plain)
        for name, host, device, side, packet in (
            ("encapsulate", edge, EDGE_PORT, Side.INGRESS, plain),
            ("let pass", edge, EDGE_PORT, Side.INGRESS, other),
            ("decapsulate", node, instance.device, Side.EGRESS, outer),
        ):
            frame = packets.ethernet(packet)
            took[f"{name} IPv{version}"] = host.call("program_ns", device, side, frame)
    site.leave("director")
    return took


def report(
    series: dict[str, Series],
    edge: dict[str, Series],
    small: dict[str, Series],
    moved: dict[str, dict[int, float]],
    took: dict[str, int],
) -> dict[str, Any]:
    """Return all figures as they are printed."""
    plain, director = series["plain"], series["director"]
    return {
        "ran_on": machine_words(),
        "load": [
            {"mode": mode}
            | {name: round(one.median(name), 2) for name in UNITS}
            | {f"{name}_ratio": round(one.ratio(plain, name), 3) for name in UNITS}
            for mode, one in series.items()
        ],
        "director_by": {
            other: {name: round(director.ratio(series[other], name), 3) for name in UNITS}
            for other in OTHERS
        },
        "edge": [
            {"mode": mode} | {f"{name}_us": round(one.median(name), 2) for name in COSTS}
            for mode, one in edge.items()
        ],
        "edge_of_others_by_director": {
            other: {name: round(edge[other].ratio(edge["director"], name), 3) for name in COSTS}
            for other in OTHERS
        },
        "small_edge": [
            {"mode": mode} | {name: round(one.median(name), 1) for name in SMALL}
            for mode, one in small.items()
        ],
        "director_by_at_small_edge": {
            other: {
                name: round(small["director"].ratio(small[other], name), 3) for name in SMALL
            }
            for other in OTHERS
        },
        "bystanders_moved": {
            mode: {str(size): round(share, 4) for size, share in by_size.items()}
            for mode, by_size in moved.items()
        },
        "program_ns": took,
    }


def show(figures: dict[str, Any]) -> None:
    """Print the tables for people."""
    print(f"ran on: {figures['ran_on']}\nin brackets: by `plain`\n")
    print(f"{'':10}" + "".join(f"{unit:>19}" for unit in UNITS.values()))
    for row in figures["load"]:
        cells = (f"{row[name]:.1f} ({row[f'{name}_ratio']:.2f})" for name in UNITS)
        print(f"{row['mode']:10}" + "".join(f"{cell:>19}" for cell in cells))
    _show_ratios("director / {}", figures["director_by"])
    print(f"\n{'':10}" + "".join(f"{unit:>24}" for unit in COSTS.values()))
    for row in figures["edge"]:
        print(f"{row['mode']:10}" + "".join(f"{row[f'{name}_us']:>24.1f}" for name in COSTS))
    _show_ratios("{} / director", figures["edge_of_others_by_director"])
    print(f"\nan edge with {_SMALL_EDGE_SHARE:.0%} of a core")
    print(f"{'':10}" + "".join(f"{UNITS[name]:>19}" for name in SMALL))
    for row in figures["small_edge"]:
        print(f"{row['mode']:10}" + "".join(f"{row[name]:>19.0f}" for name in SMALL))
    _show_ratios("director / {}", figures["director_by_at_small_edge"])
    print(f"\nbystanders moved by a removal, of  {'':4}" + "".join(f"{n:>9}" for n in SIZES))
    for mode, by_size in figures["bystanders_moved"].items():
        print(f"{mode:39}" + "".join(f"{by_size[str(n)]:>9.2%}" for n in SIZES))
    print("\nthe director's program, one packet at a time")
    for name, nanoseconds in figures["program_ns"].items():
        print(f"{name:39}{nanoseconds:>6} ns")


def _show_ratios(title: str, ratios: dict[str, dict[str, float]]) -> None:
    for other, by_name in ratios.items():
        words = ", ".join(f"{name} {ratio:.2f}" for name, ratio in by_name.items())
        print(f"{title.format(other)}: {words}")


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Measure everything; inside of a machine of its own."""
    with rig(edges=1, nodes=max(SIZES)) as made:
        site = Site(made)
        series = measure_load(site, rounds, seconds)
        moved, took = measure_moves(site), measure_program(site)
    os.sched_setaffinity(0, OTHER_CPUS)  # the new actors inherit it
    with rig(edges=1, nodes=SERVERS) as made:
        site = Site(made)
        edge = measure_edge(site, rounds, seconds)
        small = measure_small_edge(site, rounds, seconds)
    return report(series, edge, small, moved, took)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print tables or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(argv)
    if not OTHER_CPUS:
        parser.error("this needs two processors: the edge has one for itself in a part of it")
    rounds, seconds = (2, 1.0) if asked.quick else (asked.rounds, 2.0)

    async def scenario() -> None:
        figures = measure(rounds, seconds)
        if asked.json:
            print(json.dumps(figures, indent=2))
        else:
            show(figures)
        sys.stdout.flush()

    keeper = get_context("fork").Process(target=_keep_threads_at_edge, daemon=True)
    keeper.start()
    try:
        in_machine(scenario)
    finally:
        keeper.terminate()


if __name__ == "__main__":
    main()
