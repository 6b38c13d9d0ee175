"""The director on a kernel that has more to do than to serve it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

import pytest

from pltfrms.agent.director.director import Director
from pltfrms.agent.freeze import Frost
from pltfrms.agent.journal import Journal
from pltfrms.agent.network.kernel import Kernel
from pltfrms.agent.problems import Problems
from pltfrms.drivers.balancer.kernel import KernelBalancer
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.kernel.tables.hints import Hints
from pltfrms.model.running.plan import Target
from pltfrms.render.kernel import network_state
from tests.agent.bench import PLATFORM, WEB, Bench
from tests.agent.test_director import SERVICE, instance
from tests.namespaces import in_machine

EXTERNAL: Final = 200_000
LOOKED_SECONDS: Final = 6.0
EDGE: Final = "fra-e1"

pytestmark = pytest.mark.root


def batch(lines: str) -> None:
    run(["ip", "-batch", "-"], lines)


def run(words: list[str], stdin: str = "") -> None:
    subprocess.run(words, input=stdin, text=True, check=True)


@contextlib.contextmanager
def flapping() -> Iterator[None]:
    """Let external routes, half of each family, come and go as fast as the kernel can."""
    half = range(EXTERNAL // 2)
    v4 = [f"{20 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/24" for n in half]
    v6 = [f"2a00:{n >> 8:x}:{n & 255:x}::/48" for n in half]
    child = os.fork()
    if not child:
        while True:
            for verb in ("add", "del"):
                batch("".join(f"route {verb} {each} dev fab-a\n" for each in v4 + v6))
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)


def test_external_routes_that_flap_reach_no_director_and_delay_no_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = counting(monkeypatch)

    async def scenario() -> None:
        run(["mount", "-t", "tmpfs", "tmpfs", "/run"])
        batch("link set lo up\nlink add fab-a type veth peer name wire\nlink set wire up\n")
        clock, network = SystemClock(), KernelNetwork()
        balancer = KernelBalancer(Path("/run/bpf"), network)
        world = replace(
            Bench(EDGE).make_world(), clock=clock, network=network, balancer=balancer
        )
        problems, journal = Problems(lambda: None), Journal(EDGE, clock, lambda: None)
        director = Director(world, journal, problems)
        director.want(
            Target(machine=EDGE, generation=1, platform=PLATFORM, balanced=(SERVICE,))
        )
        kernel = Kernel(world, journal, problems, "test", (), Frost(lambda: False))
        kernel.want(network_state(PLATFORM, EDGE))
        await director.begin()
        await kernel.reconcile()
        put_routes()
        tasks = [asyncio.ensure_future(part.run()) for part in (director, kernel)]
        await asyncio.sleep(2)
        heard.clear()
        with flapping():
            changes, oldest_ms, slowest_seconds = await followed(balancer)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await network.close()
        assert sum(heard) <= changes + 1, "the kernel tells of other tables, too"
        assert oldest_ms < 3000, "stale after 15 000"
        assert slowest_seconds < 1
        assert not [each for each in problems.sentences if "director" in each]

    in_machine(scenario)


def put_routes() -> None:
    for slot in range(1, 11):
        batch(f"route add {instance(slot)}/128 dev fab-a table 105 metric 1010\n")
    batch("route add 2001:db8:1::9/128 dev fab-a table 103\n")


def counting(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of how many messages each follower took at once; lost ones are many."""
    heard, take = list[int](), Hints.take

    def counted(hints: Hints) -> tuple[list[bytes], bool]:
        messages, lost = take(hints)
        heard.append(len(messages) + 1_000_000 * lost)
        return messages, lost

    monkeypatch.setattr(Hints, "take", counted)
    return heard


async def followed(balancer: KernelBalancer) -> tuple[int, int, float]:
    """Return how many changes were made, the age of the oldest heartbeat in milliseconds, and
    how long a change took at most, in seconds.
    """
    oldest_ms, slowest, begun = 0, 0.0, time.monotonic()
    turn = 0
    while time.monotonic() < begun + LOOKED_SECONDS:
        verb = ("del", "add")[turn % 2]
        batch(f"route {verb} {instance(1)}/128 dev fab-a table 105 metric 1010\n")
        changed = time.monotonic()
        while (instance(1) in members(balancer)) is (verb == "del"):
            assert time.monotonic() < changed + 5
            await asyncio.sleep(0.01)
        slowest = max(slowest, time.monotonic() - changed)
        assert {instance(slot) for slot in range(2, 11)} <= members(balancer)
        oldest_ms = max(oldest_ms, balancer.beat_age_ms())
        turn += 1
        await asyncio.sleep(0.1)
    return turn, oldest_ms, slowest


def members(balancer: KernelBalancer) -> set[IPv6Address]:
    return {each for row in range(40) for each in balancer.row(WEB.id, row)}
