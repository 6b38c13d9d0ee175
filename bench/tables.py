"""Measure how long one machine's director takes to change the tables of many services.

    .venv/bin/python bench/tables.py [--services 120] [--replicas 6] [--json]

Runs as root, in a machine of its own, with the kernel's maps. What happens, one after the
other: all services are new (an agent that starts), a node with one instance of each goes (of
all services, the worst case), it comes back with the same addresses, and every service gets an
instance more. For each: per table, and until the last table is right, in milliseconds.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.rig import machine_words
from pltfrms.drivers.balancer.kernel import KernelBalancer
from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.model.running.balancer import (
    BalancedService,
    BalancerSettings,
    Candidate,
    CandidateState,
)
from pltfrms.planner.balancing.rendezvous import Ranking, make_table, prepare
from tests.namespaces import in_machine

_INFRASTRUCTURE = IPv6Network("fd00:0:1::/48")
_NETWORK4, _NETWORK6 = IPv4Network("198.18.0.0/16"), IPv6Network("2001:db8:100::/48")

Candidates = tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens to every service."""

    name: str
    change: Callable[[int, Candidates], Candidates]
    """Of a service's number and the candidates before it."""


def _steps(replicas: int) -> list[Step]:
    return [
        Step("all new", lambda number, _: _candidates(number, range(replicas))),
        Step("a node is gone", lambda _, before: before[1:]),
        Step("it is back", lambda number, _: _candidates(number, range(replicas))),
        Step("one more each", lambda number, _: _candidates(number, range(replicas + 1))),
        Step("one drains", lambda _, before: (_draining(before[0]), *before[1:])),
    ]


def _candidates(number: int, slots: Sequence[int]) -> Candidates:
    base = int(_INFRASTRUCTURE.network_address) + (0x1001 << 64) + (number << 32)
    return tuple(Candidate(address=IPv6Address(base + (slot << 48))) for slot in slots)


def _draining(one: Candidate) -> Candidate:
    return replace(one, state=CandidateState.DRAINING)


def _service(number: int) -> BalancedService:
    return BalancedService(
        id=number,
        name=f"s{number}",
        prefix4=IPv4Network((int(_NETWORK4.network_address) + number, 32)),
        prefix6=IPv6Network((int(_NETWORK6.network_address) + number, 128)),
    )


async def measure(services: int, replicas: int) -> list[dict[str, Any]]:
    """Return a row for each step; times in milliseconds."""
    source = IPv6Network((int(_INFRASTRUCTURE.network_address) + (0x2001 << 64), 96))
    kernel = KernelBalancer(Path("/run/bench-bpf"), KernelNetwork())
    await kernel.start(BalancerSettings(source=source, infrastructure=_INFRASTRUCTURE))
    prepare()
    known: dict[int, Candidates] = dict.fromkeys(range(1, services + 1), ())
    rankings: dict[int, Ranking] = {}
    rows = []
    for step in _steps(replicas):
        took = []
        for number, before in known.items():
            known[number] = step.change(number, before)
            started = time.perf_counter()
            table, rankings[number] = make_table(
                _service(number), known[number], rankings.get(number)
            )
            kernel.put(table)
            took.append(1000 * (time.perf_counter() - started))
        rows.append(
            {
                "step": step.name,
                "table_ms_median": round(statistics.median(took), 2),
                "table_ms_max": round(max(took), 2),
                "all_ms": round(sum(took), 1),
            }
        )
    await kernel.stop()
    return rows


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--services", type=int, default=120)
    parser.add_argument("--replicas", type=int, default=6)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()

    async def scenario() -> None:
        rows = await measure(asked.services, asked.replicas)
        what = {"services": asked.services, "replicas": asked.replicas}
        if asked.json:
            print(json.dumps({"ran_on": machine_words(), **what, "rows": rows}, indent=2))
        else:
            print(f"ran on: {machine_words()}")
            print(f"{asked.services} services of {asked.replicas} instances\n")
            print(f"{'':16}{'per table, median':>20}{'max':>12}{'all tables':>14}")
            for row in rows:
                median, most = f"{row['table_ms_median']} ms", f"{row['table_ms_max']} ms"
                print(f"{row['step']:16}{median:>20}{most:>12}{row['all_ms']:>11} ms")
        sys.stdout.flush()

    in_machine(scenario)


if __name__ == "__main__":
    main()
