"""A store that fills up is noticed, made smaller and opened again; nobody is lost for it."""

import asyncio
from dataclasses import replace

import pytest

from pltfrms.api.metrics import Metrics
from pltfrms.codec import encode
from pltfrms.controller.planning import loop
from pltfrms.controller.records.state import status_key
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import Change, Event
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import InstanceStatus, MachineStatus, Phase
from pltfrms.planner.upkeep import forgetting, upkeep
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import WEB, simulate
from tests.controller.test_fair_contact import never_lost, told_lost

QUOTA = 10_000_000
FILL = "/elsewhere/fill"
CHUNK = b"x" * 500_000


def small(cluster: Cluster, live_bytes: int = 0) -> None:
    """Give the store three members with little room, some of which is taken for good."""
    room = cluster.state.room
    room.quota_bytes, room.leader = QUOTA, "fra-c1"
    room.file_bytes = dict.fromkeys(cluster.seats, 0)
    for number in range(live_bytes // len(CHUNK)):
        cluster.state.commit((Put(key=f"{FILL}-{number}", value=CHUNK),), ())


def fill(cluster: Cluster) -> None:
    """Write one key again and again until there is no room."""
    while not cluster.state.room.full:
        try:
            cluster.state.commit((Put(key=FILL, value=CHUNK),), ())
        except UnavailableError:
            return


async def told(cluster: Cluster) -> list[Event]:
    return list(await cluster.operations.events(0, 0, 1000))


def changed(per_datacenter: int) -> Change:
    return Change(services=(replace(WEB, per_datacenter=per_datacenter),))


def test_a_full_store_is_opened_again_and_nobody_is_lost_for_it() -> None:
    async def story(cluster: Cluster) -> None:
        small(cluster)
        await cluster.clock.sleep(15)
        before = cluster.stored().allocations
        watching = asyncio.create_task(never_lost(cluster))
        fill(cluster)
        await cluster.until(lambda: not cluster.state.room.full, 60)
        seconds = await cluster.until(
            lambda: not any(s.controller.why_idle for s in cluster.seats.values()), 10
        )
        assert seconds < 10
        done = [line for line in cluster.members.done if not line.startswith("compact")]
        assert done == [
            "defragment ams-c1",
            "defragment lon-c1",
            "lead ams-c1",
            "defragment fra-c1",
            "disarm",
        ]
        await cluster.operations.apply(changed(3))
        await cluster.until(lambda: cluster.settled("web"), 20)
        await cluster.clock.sleep(20)
        assert not watching.done(), watching.result()
        watching.cancel()
        assert await told_lost(cluster) == []
        assert before.items() <= cluster.stored().allocations.items()
        what = [event.what for event in await told(cluster) if event.about == "store"]
        assert what == [
            "store is full",
            "member defragmented",
            "member defragmented",
            "member defragmented",
            "store has room again",
        ]

    simulate(story)


def test_while_the_store_is_full_reads_go_on_and_one_problem_says_so() -> None:
    async def story(cluster: Cluster) -> None:
        small(cluster)
        await cluster.clock.sleep(15)
        cluster.members.silent.add("lon-c1")  # so that nothing can be done about it
        fill(cluster)
        for lease in cluster.stored().leases.values():
            cluster.state.revoke(lease)  # and no new one is granted
        watching = asyncio.create_task(never_lost(cluster))
        await cluster.clock.sleep(60)
        assert not watching.done(), watching.result()
        watching.cancel()
        for seat in cluster.seats.values():
            assert seat.operations
            view = seat.operations.snapshot()
            assert view.store
            full = [problem for problem in view.store.problems if "it is full" in problem]
            (problem,) = full
            assert "No room can be made while lon-c1 is not well" in problem
            assert "the store is full" in seat.controller.why_idle
            assert "pltfrms_store_full 1.0" in Metrics(seat.controller).text().decode()
            assert len(await seat.operations.events(0, 0, 1000)) > 0
        assert not [line for line in cluster.members.done if "compact" not in line]
        cluster.members.silent.clear()
        await cluster.until(lambda: not cluster.state.room.full, 60)
        await cluster.until(lambda: cluster.settled("web"), 30)
        assert await told_lost(cluster) == []

    simulate(story)


def test_who_fills_the_store_up_is_told_before_it_is_full() -> None:
    async def story(cluster: Cluster) -> None:
        small(cluster, 8_500_000)
        await cluster.clock.sleep(80)
        store = cluster.operations.snapshot().store
        assert store
        (problem,) = store.problems
        assert "it is nearly full: " in problem
        assert "/pltfrms/machines/" in problem
        text = Metrics(cluster.operations.controller).text().decode()
        assert 'pltfrms_store_member_bytes{member="fra-c1",size="quota"} 1e+07' in text
        assert 'pltfrms_store_keys{kind="pltfrms/services"} 1.0' in text
        what = [event.what for event in await told(cluster) if event.about == "store"]
        assert what == ["store nearly full"]

    simulate(story)


def test_history_is_forgotten_and_everybody_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "HISTORY_SECONDS", 60.0)

    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(190)
        compactions = [line for line in cluster.members.done if line.startswith("compact")]
        assert 2 <= len(compactions) <= 4
        await cluster.operations.apply(changed(3))
        await cluster.until(lambda: cluster.settled("web"), 20)

    simulate(story)


def test_while_no_controller_can_say_that_it_lives_they_act_one_after_the_other() -> None:
    async def story(cluster: Cluster) -> None:
        small(cluster)
        await cluster.clock.sleep(15)
        fill(cluster)
        for lease in list(cluster.stored().leases.values()):
            cluster.state.revoke(lease)
        for key in [e.key for e in cluster.state.list("/pltfrms/controllers/").entries]:
            (entry,) = cluster.state.list(key).entries
            cluster.state.revoke(entry.lease)
        assert not cluster.stored().controllers
        await cluster.until(lambda: not cluster.state.room.full, 60)
        done = [line for line in cluster.members.done if line.startswith("defragment")]
        assert len(done) == len(set(done)) == 3
        await cluster.until(lambda: len(cluster.stored().controllers) == 3, 10)
        await cluster.until(lambda: cluster.settled("web"), 30)

    simulate(story)


def test_the_next_controller_does_it_when_the_first_one_is_gone() -> None:
    async def story(cluster: Cluster) -> None:
        small(cluster)
        await cluster.clock.sleep(15)
        await cluster.seats["fra-c1"].crash()
        fill(cluster)
        await cluster.until(lambda: not cluster.state.room.full, 90)

    simulate(story)


def test_how_machines_were_that_left_is_not_kept_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forgetting, "KEPT_MACHINES", 2)
    monkeypatch.setattr(loop, "PRUNE_SECONDS", 5.0)

    def left(name: str, *instances: str) -> MachineStatus:
        return MachineStatus(
            machine=name,
            instances=tuple(
                InstanceStatus(allocation=each, phase=Phase.READY) for each in instances
            ),
        )

    async def story(cluster: Cluster) -> None:
        statuses = [left("idle"), *(left(f"old-{n}", f"gone.fra.1-{n}") for n in range(1, 5))]
        for status in statuses:
            put = Put(key=status_key(status.machine), value=encode(status))
            cluster.state.commit((put,), ())
        known = set(cluster.stored().statuses) - {s.machine for s in statuses}
        await cluster.until(
            lambda: set(cluster.stored().statuses) == known | {"old-3", "old-4"}, 20
        )
        await cluster.clock.sleep(20)
        assert set(cluster.stored().statuses) == known | {"old-3", "old-4"}
        assert Reason.NODE_LOST not in cluster.operations.controller.counters.steps

    simulate(story)
