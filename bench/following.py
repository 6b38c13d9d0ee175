"""Measure how one machine's director follows the routes of many services.

    .venv/bin/python bench/following.py [--services 500] [--replicas 6] [--repeat 20] [--json]

Runs as root, in a machine of its own, with the kernel's routes and maps and the director of an
edge, but without BIRD: somebody else puts and deletes the routes of instances. The figures: how
long the kernel takes to load the program, and the director then until all tables are right; how
long after the route of an instance was deleted, or has come back, the table of its service is
put; how much of a core the director takes at rest; and the memory of its process. A machine has
4096 tables at most.
"""

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, Final

import structlog

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.rig import machine_words
from pltfrms.agent.director.director import Director
from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.drivers.balancer.kernel import KernelBalancer
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.model.running.balancer import BalancedService, BalancerTable
from pltfrms.model.running.plan import Target
from pltfrms.planner.balancing.rendezvous import prepare
from tests.agent.bench import PLATFORM, Bench
from tests.namespaces import in_machine

EDGE: Final = "fra-e1"
NODE: Final = PLATFORM.machine("fra-n1")
LOOK_SECONDS: Final = 5.0
_NETWORK4, _NETWORK6 = IPv4Network("198.18.0.0/16"), IPv6Network("2001:db8:100::/48")


@dataclass(frozen=True, slots=True)
class Puts:
    """The kernel's director, and when each service's table was put last."""

    balancer: KernelBalancer
    at: dict[int, float] = field(default_factory=dict)
    happened: asyncio.Event = field(default_factory=asyncio.Event)

    def watch(self) -> None:
        """Note from now on."""
        put = self.balancer.put

        def noted(table: BalancerTable) -> None:
            put(table)
            self.at[table.service.id] = time.monotonic()
            self.happened.set()

        self.balancer.put = noted  # type: ignore[method-assign]

    async def after(self, number: int, begun: float) -> float:
        """Wait for a table that is put after `begun`; return milliseconds to it."""
        while self.at.get(number, 0.0) < begun:
            await self._next()
        return 1000 * (self.at[number] - begun)

    async def all_of(self, count: int) -> float:
        """Wait until so many services have tables; return when the last one was put."""
        while len(self.at) < count:
            await self._next()
        return max(self.at.values())

    async def _next(self) -> None:
        self.happened.clear()
        await self.happened.wait()


def _service(number: int) -> BalancedService:
    return BalancedService(
        id=number,
        name=f"s{number}",
        prefix4=IPv4Network((int(_NETWORK4.network_address) + number, 32)),
        prefix6=IPv6Network((int(_NETWORK6.network_address) + number, 128)),
    )


def _route(address: IPv6Address) -> str:
    return f"{address}/128 dev fab-a table 105 metric 1010\n"


def _batch(lines: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)


@contextmanager
def _changer() -> Iterator[Callable[[str], None]]:
    """Give a function that does a line of `ip -batch` in a process that runs already."""
    with subprocess.Popen(["ip", "-batch", "-"], stdin=subprocess.PIPE, text=True) as process:
        words = process.stdin
        if words is None:
            raise RuntimeError("no pipe to ip")

        def change(line: str) -> None:
            words.write(line)
            words.flush()

        yield change
        words.close()


async def measure(services: int, replicas: int, repeat: int) -> dict[str, Any]:
    """Return the figures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    _batch("link set lo up\nlink add name fab-a type veth peer name wire\nlink set wire up\n")
    _batch("link set fab-a up\n")
    numbers = range(1, services + 1)
    addresses = {
        number: [PLATFORM.instance6(NODE, number, slot) for slot in range(1, replicas + 1)]
        for number in numbers
    }
    _batch("".join(f"route add {_route(each)}" for some in addresses.values() for each in some))
    clock, network = SystemClock(), KernelNetwork()
    puts = Puts(KernelBalancer(Path("/run/bench-bpf"), network))
    puts.watch()
    world = replace(
        Bench(EDGE).make_world(), clock=clock, network=network, balancer=puts.balancer
    )
    director = Director(world, Journal(EDGE, clock, lambda: None), Problems(lambda: None))
    balanced = tuple(map(_service, numbers))
    director.want(Target(machine=EDGE, generation=1, platform=PLATFORM, balanced=balanced))
    prepare()
    loading = time.monotonic()
    await director.begin()
    begun, used = time.monotonic(), time.process_time()
    task = asyncio.ensure_future(director.run())
    all_right = await puts.all_of(services)
    figures = {
        "load_s": round(begun - loading, 2),
        "all_right_s": round(all_right - begun, 2),
        "of_it_cpu_s": round(time.process_time() - used, 2),
    }
    figures |= await _reactions(puts, addresses, repeat)
    figures |= await _at_rest()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await puts.balancer.stop()
    await network.close()
    return figures


async def _reactions(
    puts: Puts, addresses: dict[int, list[IPv6Address]], repeat: int
) -> dict[str, float]:
    took: dict[str, list[float]] = {"goes_ms": [], "comes_ms": []}
    with _changer() as change:
        for turn in range(repeat):
            number = 1 + (turn * 7919) % len(addresses)
            for name, verb in (("goes_ms", "del"), ("comes_ms", "add")):
                await asyncio.sleep(0.05 + 0.037 * (turn % 27))
                begun = time.monotonic()
                change(f"route {verb} {_route(addresses[number][0])}")
                took[name].append(await puts.after(number, begun))
    return {
        **{f"{name}_median": round(statistics.median(some), 1) for name, some in took.items()},
        **{f"{name}_max": round(max(some), 1) for name, some in took.items()},
    }


async def _at_rest() -> dict[str, float]:
    before = time.process_time()
    await asyncio.sleep(LOOK_SECONDS)
    used = (time.process_time() - before) / LOOK_SECONDS
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"core_at_rest": round(used, 4), "peak_memory_mib": round(peak_kib / 1024)}


def show(asked: argparse.Namespace, figures: dict[str, Any]) -> None:
    """Print the table for people."""
    print(f"ran on: {machine_words()}")
    print(f"{asked.services} services of {asked.replicas} instances\n")
    for name, figure in figures.items():
        print(f"{name:20}{figure:>10}")


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--services", type=int, default=500)
    parser.add_argument("--replicas", type=int, default=6)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(words)

    async def scenario() -> None:
        figures = await measure(asked.services, asked.replicas, asked.repeat)
        if asked.json:
            what = {"services": asked.services, "replicas": asked.replicas}
            print(json.dumps({"ran_on": machine_words(), **what, **figures}, indent=2))
        else:
            show(asked, figures)
        sys.stdout.flush()

    in_machine(scenario)


if __name__ == "__main__":
    main()
