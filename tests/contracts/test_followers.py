"""A controller with many followers of events, over a real etcd."""

import asyncio
import time
from contextlib import suppress
from random import Random

from pltfrms.controller.asked.operations import Operations
from pltfrms.controller.planning.loop import Controller
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import Heartbeat
from pltfrms.model.running.state import MachineStatus
from tests.contracts.etcd import EtcdCluster
from tests.strategies import make_platform

FOLLOWERS = 150


async def _ready(operations: Operations) -> None:
    for _ in range(200):
        with suppress(UnavailableError):
            operations.snapshot()
            break
        await asyncio.sleep(0.05)


async def _beat(operations: Operations, seconds: float) -> float:
    """Send heartbeats for some time; return the longest that one took."""
    heartbeat, longest = Heartbeat(status=MachineStatus(machine="fra-n1")), 0.0
    until = time.monotonic() + seconds
    while (began := time.monotonic()) < until:
        await operations.heartbeat(heartbeat)
        longest = max(longest, time.monotonic() - began)
        await asyncio.sleep(0.1)
    return longest


def test_heartbeats_go_on_while_one_hundred_and_fifty_follow_events(
    mortal_etcd: EtcdCluster,
) -> None:
    async def story() -> None:
        store = EtcdStore(mortal_etcd.endpoints)
        platform, clock = make_platform({"fra": 2}), SystemClock()
        jitter = Random(1)  # noqa: S311 - jitter, not a secret
        controller = Controller(store, clock, "fra-c1", platform, jitter)
        running = asyncio.create_task(controller.run())
        operations = Operations(controller)
        await _ready(operations)
        await operations.heartbeat(Heartbeat(status=MachineStatus(machine="fra-n1")))
        await asyncio.sleep(0.5)
        last = (await operations.events(0, 0, 1000))[-1].sequence
        waiting = [
            asyncio.create_task(operations.events(last, 30_000, 10)) for _ in range(FOLLOWERS)
        ]
        assert await _beat(operations, 4.0) < 1.0
        await controller.journal.write([controller.journal.tell("test", "something")])
        async with asyncio.timeout(5):
            answers = await asyncio.gather(*waiting)
        assert {events[-1].what for events in answers} == {"something"}
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await store.close()

    asyncio.run(story())
