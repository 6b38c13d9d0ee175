"""A history of writes by the API while members of a real store are killed, paused and cut off.

Three controllers over three members, in a network of their own; clients write services, guarded
by the commit that they saw, or not, and read what the store has.
"""

import asyncio
import itertools
import subprocess
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from pltfrms.codec import decode
from pltfrms.controller.asked.operations import Operations
from pltfrms.controller.records.state import COMMIT_KEY, PREFIX, service_key
from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.drivers.store.members import EtcdMembers
from pltfrms.errors import ConflictError, UnavailableError, UnclearError
from pltfrms.model.messages.api import Change
from pltfrms.model.network.topology import Role
from pltfrms.model.services.service import Service
from pltfrms.render.etcd import peer_url
from tests.contracts.etcd import EtcdCluster
from tests.contracts.linear import Kind, Op, is_linearizable
from tests.contracts.test_full_store import running
from tests.strategies import make_platform, make_spec

PLATFORM = make_platform({"fra": 1, "ams": 1, "lon": 1})
SERVICES = ("web", "shop")
CLIENTS = 4
FAULT_SECONDS, REST_SECONDS = 3.0, 2.0
OPERATION_SECONDS = 10.0


@dataclass
class History:
    """What clients saw, by service, and how often what happened."""

    ops: dict[str, list[Op]] = field(default_factory=lambda: {name: [] for name in SERVICES})
    counts: Counter[str] = field(default_factory=Counter)
    longest_gap_seconds: float = 0.0
    """Between two writes that were acknowledged."""
    acknowledged_at: float = 0.0

    def acknowledge(self, at: float) -> None:
        if self.acknowledged_at:
            gap = at - self.acknowledged_at
            self.longest_gap_seconds = max(self.longest_gap_seconds, gap)
        self.acknowledged_at = at

    def wrong(self) -> list[str]:
        """Return the services whose history fits no order."""
        return [name for name, ops in self.ops.items() if not is_linearizable(ops)]


class Client:
    """Reads and writes services, one after the other."""

    def __init__(
        self, history: History, store: EtcdStore, controllers: list[Operations], seed: int
    ) -> None:
        self.history = history
        self.store = store
        self.controllers = controllers
        self.random = Random(seed)  # noqa: S311 - a simulation, no secret
        self.words = (f"{seed}-{number}" for number in itertools.count())

    async def run(self, until: float) -> None:
        while time.monotonic() < until:
            name = self.random.choice(SERVICES)
            kind = self.random.choice(list(Kind))
            if kind is Kind.READ:
                await self.read(name)
            else:
                await self.write(name, kind)
            await asyncio.sleep(0.2 * self.random.random())

    async def read(self, name: str) -> None:
        began = time.monotonic()
        with suppress(UnavailableError):
            _commit, value = await self._seen(name)
            self._note(name, Op(kind=Kind.READ, value=value, began=began), "read")

    async def write(self, name: str, kind: Kind) -> None:
        """Write a word of its own, if nobody changed anything since it looked, or anyhow."""
        spec = make_spec(name)
        word = next(self.words)
        spec = replace(spec, run=replace(spec.run, process=("serve", word)))
        try:
            commit, expected = await self._seen(name)
        except UnavailableError:
            return
        change = Change(services=(spec,), revision=commit if kind is Kind.SWAP else None)
        began = time.monotonic()
        op = Op(kind=kind, value=word, expected=expected, began=began)
        try:
            async with asyncio.timeout(OPERATION_SECONDS):
                await self.random.choice(self.controllers).apply(change)
        except ConflictError:
            self.history.counts["refused"] += 1
        except (UnclearError, TimeoutError):
            self.history.ops[name].append(op)
            self.history.counts["unclear"] += 1
        except UnavailableError:
            self.history.counts["not done"] += 1
        else:
            self._note(name, op, "acknowledged")
            self.history.acknowledge(time.monotonic())

    async def _seen(self, name: str) -> tuple[int, str]:
        """Return the last commit, and what is written, at one moment."""
        entries = {each.key: each for each in (await self.store.list(PREFIX)).entries}
        commit = entries[COMMIT_KEY].mod_revision if COMMIT_KEY in entries else 0
        entry = entries.get(service_key(name))
        return commit, decode(Service, entry.value).spec.run.process[1] if entry else ""

    def _note(self, name: str, op: Op, what: str) -> None:
        self.history.ops[name].append(replace(op, ended=time.monotonic()))
        self.history.counts[what] += 1


async def disturb(etcd: EtcdCluster, history: History, rounds: int) -> None:
    """Kill, pause and cut off members, mostly the leader, one after the other."""
    random, members = Random(rounds), EtcdMembers(etcd.endpoints)  # noqa: S311 - as above
    for number in range(rounds):
        leader = next((m.name for m in (await members.look()).members if m.leader), "m0")
        who = int(leader[1:]) if random.random() < 0.8 else random.randrange(3)
        fault = ("kill", "pause", "cut")[number % 3]
        history.counts[fault] += 1
        if fault == "kill":
            etcd.kill(who)
            await asyncio.sleep(FAULT_SECONDS)
            await asyncio.to_thread(etcd.start_again, who)
        elif fault == "pause":
            etcd.freeze(who)
            await asyncio.sleep(FAULT_SECONDS)
            etcd.thaw(who)
        else:
            etcd.cut(who)
            await asyncio.sleep(FAULT_SECONDS)
            etcd.mend()
        await asyncio.sleep(REST_SECONDS)
    await members.close()


def prepare(directory: Path) -> None:
    """Give a machine of its own a network, and a place that users of members may pass."""
    for command in (
        ("ip", "link", "set", "lo", "up"),
        ("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(directory)),
    ):
        subprocess.run(command, check=True, timeout=10)


async def record(directory: Path, rounds: int) -> History:
    """Return a history of some faults. Needs root, and a machine of its own."""
    prepare(directory)
    etcd, history = EtcdCluster(directory), History()
    etcd.as_users = True
    machines = PLATFORM.machines_of(Role.CONTROLLER)
    # Else controllers would remove a killed member: it is none of theirs.
    etcd.settle(*(peer_url(PLATFORM, each) for each in machines))
    try:
        etcd.start()
        async with AsyncExitStack() as stack:
            controllers = [
                await stack.enter_async_context(running(etcd, each.name, first))
                for first, each in enumerate(machines)
            ]
            store = EtcdStore(etcd.endpoints)
            stack.push_async_callback(store.close)
            clients = [Client(history, store, controllers, seed) for seed in range(CLIENTS)]
            await until_written(clients[0])
            until = time.monotonic() + rounds * (FAULT_SECONDS + REST_SECONDS)
            tasks = [asyncio.create_task(client.run(until)) for client in clients]
            await disturb(etcd, history, rounds)
            await asyncio.gather(*tasks)
            for name in SERVICES:
                await until_written(clients[0], name)
                await clients[0].read(name)
    finally:
        etcd.stop()
    return history


async def until_written(client: Client, name: str = SERVICES[0]) -> None:
    """Write until that is acknowledged."""
    before = client.history.counts["acknowledged"]
    while client.history.counts["acknowledged"] == before:
        await client.write(name, Kind.WRITE)
        await asyncio.sleep(0.1)
