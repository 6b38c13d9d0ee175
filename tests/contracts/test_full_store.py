"""A real store that is full, real controllers, and machines with news: it opens again."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from random import Random

import pytest

from pltfrms.controller.asked.operations import Operations
from pltfrms.controller.keeping import upkeep as upkeep_module
from pltfrms.controller.planning.apart import Apart
from pltfrms.controller.planning.loop import Controller
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.drivers.store.members import EtcdMembers
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import StoreFullError, UnavailableError
from pltfrms.model.messages.api import Change, Event, Heartbeat
from pltfrms.model.network.topology import Role
from pltfrms.model.running.state import Contact, MachineStatus
from pltfrms.planner.upkeep import upkeep
from tests.contracts.etcd import EtcdCluster
from tests.strategies import make_platform, make_spec

PLATFORM = make_platform({"fra": 2, "ams": 2, "lon": 2})
QUICK_SECONDS = 0.5


@asynccontextmanager
async def running(etcd: EtcdCluster, name: str, first: int) -> AsyncIterator[Operations]:
    """Run a controller that asks one of the members first."""
    endpoints = etcd.endpoints[first:] + etcd.endpoints[:first]
    store, leases, members = EtcdStore(endpoints), EtcdStore(endpoints), EtcdMembers(endpoints)
    apart = Apart(lease_store=leases, members=members)
    random = Random(first)  # noqa: S311 - spreads retries, no secret
    controller = Controller(store, SystemClock(), name, PLATFORM, random, apart=apart)
    task = asyncio.create_task(controller.run())
    try:
        yield Operations(controller)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for each in (store, leases, members):
            await each.close()


async def beat(machine: str, controllers: list[Operations]) -> None:
    """Say each second that a machine lives, with news each third time."""
    for number in itertools.count():
        status = MachineStatus(machine=machine, problems=(f"news {number // 3}",))
        for operations in controllers:
            with suppress(UnavailableError):
                await operations.heartbeat(Heartbeat(status=status))
                break
        await asyncio.sleep(1)


async def watch(controllers: list[Operations], lost: set[str], said: set[str]) -> None:
    """Remember who was called lost, and what was said of the store while it was full."""
    while True:
        for operations in controllers:
            view = operations.snapshot(stale=True)
            for name, machine in view.snapshot.machines.items():
                if machine.contact is Contact.LOST:
                    lost.add(name)
            if view.store and view.store.look.full and not view.stale_seconds:
                said |= {p.partition(". ")[0] for p in view.store.problems}
        await asyncio.sleep(0.1)


async def until_all_are_present(operations: Operations) -> None:
    while True:
        with suppress(UnavailableError):
            machines = operations.snapshot().snapshot.machines.values()
            if machines and all(each.contact is Contact.PRESENT for each in machines):
                return
        await asyncio.sleep(0.1)


async def fill(etcd: EtcdCluster) -> None:
    store = EtcdStore(etcd.endpoints)
    with suppress(StoreFullError):
        while True:
            await store.commit([Put(key="/elsewhere", value=b"x" * 400_000)])
    await store.close()


async def apply_until_taken(operations: Operations, seconds: float) -> None:
    spec = replace(make_spec("web"), per_datacenter=1)
    async with asyncio.timeout(seconds):
        while True:
            with suppress(UnavailableError):
                await operations.apply(Change(services=(spec,)))
                return
            await asyncio.sleep(0.2)


async def until_told(operations: Operations, what: str) -> list[Event]:
    while True:
        events = list(await operations.events(0, 0, 1000))
        if any(event.what == what for event in events):
            return events
        await asyncio.sleep(0.1)


def test_a_full_store_opens_again_by_itself_and_no_machine_is_lost(
    small_etcd: EtcdCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep_module, "LOOK_SECONDS", QUICK_SECONDS)
    monkeypatch.setattr(upkeep, "FULL_PAUSE_SECONDS", QUICK_SECONDS)
    names = [machine.name for machine in PLATFORM.machines_of(Role.CONTROLLER)]

    async def story() -> None:
        async with (
            running(small_etcd, names[0], 0) as one,
            running(small_etcd, names[1], 1) as two,
            running(small_etcd, names[2], 2) as three,
            asyncio.TaskGroup() as group,
        ):
            controllers = [one, two, three]
            tasks = [
                group.create_task(beat(each.name, controllers)) for each in PLATFORM.managed
            ]
            for each in controllers:
                await until_all_are_present(each)
            lost, said = set[str](), set[str]()
            tasks.append(group.create_task(watch(controllers, lost, said)))
            await fill(small_etcd)
            await apply_until_taken(two, 30)
            events = await until_told(one, "store has room again")
            await asyncio.sleep(8)  # longer than anybody takes to be called lost
            for task in tasks:
                task.cancel()
            what = [event.what for event in events if event.about == "store"]
            assert "store is full" in what
            assert what.count("member defragmented") == 3
            assert lost == set()
            # That its members are not at the addresses of the platform is said, too.
            (problem,) = (each for each in said if each.startswith("it is full"))
            assert problem.startswith("it is full and takes no writes")

    asyncio.run(asyncio.wait_for(story(), 90))
