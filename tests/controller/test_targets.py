"""What agents fetch costs what has changed."""

import asyncio
from dataclasses import replace

import pytest

from pltfrms.controller.contact.polls import Polls
from pltfrms.controller.records.state import commit_mark, service_key
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import Change, Heartbeat
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import MachineStatus
from pltfrms.planner.placement.target import Makings
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import simulate
from tests.strategies import make_platform, make_spec

PLATFORM = make_platform({f"d{number}": 18 for number in range(5)})
MACHINES = 100
ONE = replace(make_spec("one"), datacenters=("d1",))


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the machines of all targets that are made from now on."""
    made: list[str] = []

    make = Makings.target

    def count(makings: Makings, machine: str, now_ms: int) -> Target:
        made.append(machine)
        return make(makings, machine, now_ms)

    monkeypatch.setattr(Makings, "target", count)
    return made


async def wait_all(cluster: Cluster, seconds: float) -> list[asyncio.Task[Target | None]]:
    """Return the long polls of all machines, which know the last commit."""
    commit = cluster.stored().commit
    ask = cluster.operations.target
    polls = [
        asyncio.create_task(ask(machine.name, commit, round(seconds * 1000)))
        for machine in cluster.platform.managed
    ]
    await cluster.clock.sleep(0.1)
    return polls


def test_no_target_is_made_before_there_is_a_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made = counted(monkeypatch)

    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(5)
        made.clear()
        polls = await wait_all(cluster, 20)
        for number in range(10):  # statuses change meanwhile
            status = MachineStatus(machine="fra-c1", boot=f"boot-{number}")
            await cluster.operations.heartbeat(Heartbeat(status=status))
            await cluster.clock.sleep(1)
        assert made == []
        await cluster.operations.apply(Change(services=(make_spec("api"),)))
        began = cluster.clock.monotonic()
        targets = await asyncio.gather(*polls)
        assert cluster.clock.monotonic() - began < 0.5
        assert all(targets)

    simulate(story)


def test_a_service_that_changes_lets_few_machines_fetch() -> None:
    """Of a hundred: those on which it is replaced, and nobody else."""

    async def story(cluster: Cluster) -> None:
        await cluster.until(lambda: len(cluster.stored().leases) == MACHINES, 10)
        await cluster.operations.apply(Change(services=(ONE,)))
        await cluster.until(lambda: len(cluster.serving("one")) == ONE.per_datacenter, 20)
        await cluster.clock.sleep(5)
        before = {name: agent.fetched for name, agent in cluster.agents.items()}
        changed = replace(ONE, run=replace(ONE.run, process=("serve", "again")))
        await cluster.operations.apply(Change(services=(changed,)))
        await cluster.until(lambda: _replaced(cluster, 2), 60)
        await cluster.clock.sleep(5)
        fetching = [
            name for name, each in cluster.agents.items() if each.fetched > before[name]
        ]
        assert 1 <= len(fetching) <= 8
        view = cluster.operations.snapshot().snapshot
        generations = {status.generation for status in view.statuses.values()}
        assert generations == {view.revision}  # nobody is behind

    simulate(story, apply=False, platform=PLATFORM)


def _replaced(cluster: Cluster, version: int) -> bool:
    allocations = cluster.stored().allocations.values()
    return [each.version for each in allocations] == [version] * ONE.per_datacenter


def test_any_controller_also_one_that_has_just_begun_has_the_same_fingerprints() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.operations.delete("web")
        await cluster.operations.apply(Change(services=(make_spec("api"),)))
        await cluster.until(lambda: cluster.settled("api"), 20)
        first, *_, last = cluster.seats.values()
        await last.crash()
        last.start()
        await cluster.clock.sleep(5)
        for machine in cluster.platform.managed:
            targets = [
                await seat.operations.target(machine.name, 0, 0)
                for seat in (first, last)
                if seat.operations
            ]
            assert targets[0] == targets[1]

    simulate(story)


def test_an_agent_that_says_no_fingerprint_hears_of_every_commit() -> None:
    async def story(cluster: Cluster) -> None:
        now = await cluster.operations.target("fra-c1", 0, 0)
        assert now
        ask = cluster.operations.target
        waiting = asyncio.ensure_future(ask("fra-c1", now.generation, 30_000))
        told = asyncio.ensure_future(ask("fra-c1", now.generation, 3_000, now.made_of))
        await cluster.operations.apply(Change(services=(make_spec("api"),)))
        newer = await waiting
        assert newer
        assert newer.generation > now.generation
        assert await told is None

    simulate(story)


def test_a_commit_wakes_only_those_whose_target_it_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = 0
    plain = Polls.wait

    async def counted_wait(polls: Polls, machine: str, made_of: str, seconds: float) -> None:
        nonlocal waits
        waits += 1
        await plain(polls, machine, made_of, seconds)

    monkeypatch.setattr(Polls, "wait", counted_wait)

    async def story(cluster: Cluster) -> None:
        nonlocal waits
        await cluster.until(lambda: len(cluster.stored().leases) == MACHINES, 10)
        await cluster.operations.apply(Change(services=(ONE,)))
        await cluster.until(lambda: len(cluster.serving("one")) == ONE.per_datacenter, 20)
        ask, after = cluster.operations.target, cluster.stored().commit
        known = [await ask(machine.name, 0, 0) for machine in PLATFORM.managed]
        polls = [
            asyncio.create_task(ask(target.machine, after, 4000, target.made_of))
            for target in known
            if target
        ]
        await cluster.clock.sleep(0.5)
        assert waits == len(polls) == MACHINES
        changed = replace(ONE, run=replace(ONE.run, process=("serve", "again")))
        await cluster.operations.apply(Change(services=(changed,)))
        await cluster.clock.sleep(0.5)
        told = [poll for poll in polls if poll.done()]
        assert 1 <= len(told) <= 8
        assert waits == MACHINES  # nobody looked in vain

    simulate(story, apply=False, platform=PLATFORM)


def test_who_waits_for_what_cannot_be_read_hears_of_it_at_once() -> None:
    async def story(cluster: Cluster) -> None:
        now = await cluster.operations.target("fra-c1", 0, 0)
        assert now
        ask = cluster.operations.target("fra-c1", now.generation, 4000, now.made_of)
        waiting = asyncio.ensure_future(ask)
        await cluster.clock.sleep(0.1)
        newer = Put(key=service_key("web"), value=b'{"from": "a newer version"}')
        store = next(iter(cluster.seats.values())).store
        await store.commit([newer, commit_mark("fra-c1", 1)])
        await cluster.clock.sleep(0.5)
        with pytest.raises(UnavailableError, match="cannot read what is wanted"):
            waiting.result()

    simulate(story)
