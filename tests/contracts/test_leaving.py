"""One of two real members leaves: the store goes on with the other one alone."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.drivers.store.members import EtcdMembers
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import UnavailableError
from pltfrms.planner.upkeep.membership import Seats, next_change, why_unchangeable
from pltfrms.planner.upkeep.upkeep import Past, Task, Work
from tests.contracts.conftest import PROGRAMS, program_of
from tests.contracts.etcd import EtcdCluster, store_files
from tests.contracts.test_members import by_name, until_seen

NAMES = {"m0", "m1"}
Story = Callable[[EtcdStore, EtcdMembers], Awaitable[None]]


@pytest.fixture(params=PROGRAMS)
def two(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EtcdCluster]:
    """Two members that speak by TLS."""
    made = EtcdCluster(
        tmp_path_factory.mktemp("etcd"),
        size=2,
        program=program_of(request, request.param),
        files=store_files(tmp_path_factory.mktemp("state")),
    )
    made.spread()  # a member is known by its address
    try:
        made.start()
        yield made
    finally:
        made.stop()


async def until_left(members: EtcdMembers, seats: Seats) -> list[Work]:
    """Do the steps that controllers do until only who is wanted is a member; return them."""
    past, done = Past(since=time.monotonic()), list[Work]()
    while True:
        look, now = await members.look(), time.monotonic()
        past = past.seen(look, now)
        if look.revision and by_name(look).keys() == seats.wanted.keys():
            return done
        task = next_change(look, seats, past, now)
        if task:
            past = past.done(task, now, well=await _did(members, task))
            done.append(task.work)
        await asyncio.sleep(0.1)


async def _did(members: EtcdMembers, task: Task) -> bool:
    try:
        if task.work is Work.MOVE_LEADER:
            await members.lead(task.member)
        else:
            assert task.work is Work.REMOVE
            await members.remove(task.number)
    except UnavailableError:
        return False
    return True


@pytest.mark.parametrize("leads", [False, True])
def test_the_one_that_stays_goes_on_alone_and_the_other_one_ends(
    two: EtcdCluster, *, leads: bool
) -> None:
    async def story(store: EtcdStore, members: EtcdMembers) -> None:
        await store.commit([Put(key="/a", value=b"1")])
        look = await until_seen(members, lambda seen: by_name(seen).keys() == NAMES)
        await until_seen(members, lambda seen: any(m.leader for m in seen.members))
        (leader,) = (m.name for m in (await members.look()).members if m.leader)
        leaves = leader if leads else (NAMES - {leader}).pop()
        (stays,) = NAMES - {leaves}
        seats = Seats(wanted={stays: by_name(look)[stays].peer})
        done = await until_left(members, seats)
        first = [Work.MOVE_LEADER] if leads else []
        assert list(dict.fromkeys(done)) == [*first, Work.REMOVE]
        store.use([two.endpoints[int(stays[1])]])
        await until(lambda: written(store))
        assert [each.key for each in (await store.list("/")).entries] == ["/a", "/b"]
        await asyncio.to_thread(two.wait_for_end, int(leaves[1]))  # it was told
        last = await until_seen(members, lambda seen: seen.revision > 0)
        assert (last.spare, [m.name for m in last.members]) == (0, [stays])

    run(two, story)


def test_one_that_is_dead_takes_the_majority_along_and_nobody_guesses(
    two: EtcdCluster,
) -> None:
    async def story(store: EtcdStore, members: EtcdMembers) -> None:
        await store.commit([Put(key="/a", value=b"1")])
        look = await until_seen(members, lambda seen: by_name(seen).keys() == NAMES)
        two.kill(1)
        seats = Seats(wanted={"m0": by_name(look)["m0"].peer})
        await until_seen(members, lambda seen: bool(why_unchangeable(seen)))
        look, now = await members.look(), time.monotonic()
        assert next_change(look, seats, Past(since=now).seen(look, now), now + 1000) is None
        two.start_again(1, wait=False)
        assert await until_left(members, seats)
        await until(lambda: written(store))

    run(two, story)


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    while True:
        if await done():
            return
        await asyncio.sleep(0.1)


async def written(store: EtcdStore) -> bool:
    try:
        return bool(await store.commit([Put(key="/b", value=b"2")]))
    except UnavailableError:
        return False


def run(two: EtcdCluster, story: Story) -> None:
    async def with_both() -> None:
        store = EtcdStore(two.endpoints, tls=two.tls)
        members = EtcdMembers(two.endpoints, two.tls)
        try:
            async with asyncio.timeout(60):
                await story(store, members)
        finally:
            await store.close()
            await members.close()

    asyncio.run(with_both())
