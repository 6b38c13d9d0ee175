"""What the members of every store promise: the same tests against memory and real etcd."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.store.data import read_data
from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.drivers.store.members import EtcdMembers
from pltfrms.drivers.store.memory import MemoryStore, MemoryStoreState
from pltfrms.drivers.store.memory_members import MemoryMembers
from pltfrms.drivers.store.ports import Delete, Members, Put, Store
from pltfrms.errors import StoreFullError, UnavailableError
from pltfrms.model.messages.store import NO_SPACE, MemberData, StoreLook, StoreMember
from tests.contracts.conftest import (
    BY_TLS,
    NEWER,
    PROGRAMS,
    SMALL_BYTES,
    cluster,
    program_of,
)
from tests.contracts.etcd import EtcdCluster, free_ports

Scenario = Callable[[Store, Members], Awaitable[None]]
Check = Callable[[Scenario], None]
PUT_BYTES = 400_000


def memory() -> MemoryStoreState:
    state = MemoryStoreState(SystemClock())
    state.room.quota_bytes, state.room.leader = SMALL_BYTES, "m0"
    state.room.file_bytes = {"m0": 0, "m1": 0, "m2": 0}
    return state


@asynccontextmanager
async def opened(cluster: EtcdCluster | None) -> AsyncIterator[tuple[Store, Members]]:
    if cluster:
        store: Store = EtcdStore(cluster.endpoints, tls=cluster.tls)
        members: Members = EtcdMembers(cluster.endpoints, cluster.tls)
    else:
        state = memory()
        store = MemoryStore(SystemClock(), state)
        members = MemoryMembers(SystemClock(), state)
    try:
        yield store, members
    finally:
        await store.close()
        await members.close()


@pytest.fixture(params=PROGRAMS)
def mortal_etcd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EtcdCluster]:
    """A cluster of one's own, to break."""
    yield from cluster(tmp_path_factory, program=program_of(request, request.param))


@pytest.fixture(params=["memory", PROGRAMS[0], f"{NEWER}{BY_TLS}"])
def some(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EtcdCluster | None]:
    """A cluster that has room for 8 MiB; None: the one in memory."""
    if request.param == "memory":
        yield None
    else:
        program, secure = program_of(request, request.param), BY_TLS in request.param
        yield from cluster(tmp_path_factory, SMALL_BYTES, program, secure=secure)


@pytest.fixture
def check(some: EtcdCluster | None) -> Check:
    """Run a scenario with a store of three members that has room for 8 MiB."""

    async def run(scenario: Scenario) -> None:
        async with opened(some) as (store, members), asyncio.timeout(60):
            await until_named(members)
            await scenario(store, members)

    return lambda scenario: asyncio.run(run(scenario))


async def fill(store: Store) -> None:
    """Write the same key until there is no room."""
    for number in range(100):
        value = b"%06d" % number + b"x" * PUT_BYTES
        try:
            await store.commit([Put(key="/fill", value=value)])
        except StoreFullError:
            return
    pytest.fail("there is always room")


async def until_seen(members: Members, condition: Callable[[StoreLook], bool]) -> StoreLook:
    """Return the first look in which something is so; members say it one after the other."""
    while True:
        look = await members.look()
        if condition(look):
            return look
        await asyncio.sleep(0.05)


async def until_named(members: Members) -> None:
    """Wait until each member has told the others its name, which it does after its start."""
    await until_seen(members, lambda seen: by_name(seen).keys() == {"m0", "m1", "m2"})


def by_name(look: StoreLook) -> dict[str, StoreMember]:
    return {member.name: member for member in look.members}


def test_members_say_who_leads_and_how_large_they_are(check: Check) -> None:
    async def scenario(store: Store, members: Members) -> None:
        revision = await store.commit([Put(key="/a", value=b"x" * PUT_BYTES)])
        look = await until_seen(members, lambda seen: seen.revision == revision)
        look = await until_seen(
            members, lambda seen: all(m.file_bytes > PUT_BYTES for m in seen.members)
        )
        assert [m.name for m in look.members] == ["m0", "m1", "m2"]
        assert sum(m.leader for m in look.members) == 1
        assert {(m.quota_bytes, m.trouble) for m in look.members} == {(SMALL_BYTES, "")}
        assert all(m.used_bytes <= m.file_bytes < SMALL_BYTES for m in look.members)
        assert not look.alarms
        assert not look.full

    check(scenario)


def test_a_full_store_is_read_keeps_leases_and_deletes_and_takes_nothing_new(
    check: Check,
) -> None:
    async def scenario(store: Store, members: Members) -> None:
        lease = await store.grant(30)
        await store.commit([Put(key="/a", value=b"", lease=lease)])
        await fill(store)
        look = await until_seen(members, lambda seen: seen.full)
        assert {alarm.what for alarm in look.alarms} == {NO_SPACE}
        assert {alarm.member for alarm in look.alarms} <= {"m0", "m1", "m2"}
        assert [entry.key for entry in (await store.list("/")).entries] == ["/a", "/fill"]
        assert await store.keep_alive(lease)
        with pytest.raises(StoreFullError, match="full"):
            await store.commit([Put(key="/b", value=b"")])
        with pytest.raises(StoreFullError, match="full"):
            await store.grant(30)
        assert await store.commit([Delete(key="/fill")])
        assert [entry.key for entry in (await store.list("/")).entries] == ["/a"]

    check(scenario)


def test_a_full_store_takes_writes_again_when_room_was_made(check: Check) -> None:
    async def scenario(store: Store, members: Members) -> None:
        await fill(store)
        look = await until_seen(members, lambda seen: seen.full)
        await members.compact(look.revision)
        await members.compact(look.revision)  # twice is once
        for member in look.members:
            before = by_name(await members.look())[member.name].file_bytes
            await members.defragment(member.name)
            after = by_name(await members.look())[member.name]
            assert after.file_bytes < before / 2
            assert not after.trouble
        await members.disarm()
        await until_seen(members, lambda seen: not seen.full)
        assert await store.commit([Put(key="/b", value=b"")])
        assert len((await store.list("/")).entries) == 2

    check(scenario)


def test_another_member_leads_when_it_is_told_to(check: Check) -> None:
    async def scenario(_store: Store, members: Members) -> None:
        look = await members.look()
        (follower, _) = (m.name for m in look.members if not m.leader)
        await members.lead(follower)
        await until_seen(members, lambda seen: by_name(seen)[follower].leader)

    check(scenario)


def test_of_a_member_that_is_not_there_nothing_is_done(check: Check) -> None:
    async def scenario(_store: Store, members: Members) -> None:
        await members.look()
        with pytest.raises(UnavailableError):
            await members.defragment("nobody")

    check(scenario)


def test_a_watch_from_before_a_compaction_ends_and_a_list_goes_on(check: Check) -> None:
    async def scenario(store: Store, members: Members) -> None:
        last = 0
        for number in range(5):
            last = await store.commit([Put(key="/c", value=b"%d" % number)]) or 0
        await members.compact(last)
        assert [revision async for revision in store.changes("/c", 1)] == []
        assert (await store.list("/c")).entries[0].value == b"4"
        assert (await store.list("/c", last - 1)).entries[0].value == b"4"

    check(scenario)


def test_a_member_that_is_away_is_not_forgotten_when_nobody_says_who_there_is(
    mortal_etcd: EtcdCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(_self: EtcdMembers, _endpoints: Sequence[str]) -> dict[str, str]:
        return {}

    async def run() -> None:
        known, new = (EtcdMembers(mortal_etcd.endpoints) for _ in range(2))
        try:
            await until_named(known)
            monkeypatch.setattr(EtcdMembers, "_list", nobody)
            mortal_etcd.kill(1)
            for members, name in ((known, "m1"), (new, mortal_etcd.endpoints[1])):
                look = await until_seen(members, lambda seen: seen.revision > 0)
                assert len(look.members) == 3
                assert [m.name for m in look.members if m.trouble] == [name]
        finally:
            await known.close()
            await new.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_member_that_does_not_answer_is_named(mortal_etcd: EtcdCluster) -> None:
    async def story(members: EtcdMembers) -> None:
        await until_named(members)
        for stop, back in ((mortal_etcd.freeze, mortal_etcd.thaw), (mortal_etcd.kill, None)):
            stop(1)
            look = await until_seen(
                members, lambda seen: seen.revision > 0 and bool(by_name(seen)["m1"].trouble)
            )
            assert [m.name for m in look.members if m.trouble] == ["m1"]
            assert by_name(look)["m1"].file_bytes == 0
            if back:
                back(1)
                await until_seen(
                    members, lambda seen: seen.revision > 0 and not by_name(seen)["m1"].trouble
                )
        mortal_etcd.kill(2)
        look = await until_seen(members, lambda seen: not seen.revision)
        assert all(member.trouble for member in look.members)
        with pytest.raises(UnavailableError, match="not forgotten"):
            await members.compact(1)

    async def run() -> None:
        members = EtcdMembers(mortal_etcd.endpoints)
        try:
            await asyncio.wait_for(story(members), 60)
        finally:
            await members.close()

    asyncio.run(run())


def test_members_come_as_learners_get_a_vote_and_go(some: EtcdCluster | None) -> None:
    peer = f"{some.scheme if some else 'http'}://127.0.0.1:{free_ports(1)[0]}"

    async def scenario(store: Store, members: Members) -> None:
        await until_named(members)
        await store.commit([Put(key="/a", value=b"1")])
        for _ in range(2):  # twice is once
            await insisted(members, lambda: members.add(peer))
        (added,) = [member for member in (await members.look()).members if member.learner]
        assert (added.peer, added.started, bool(added.trouble)) == (peer, False, True)
        with pytest.raises(UnavailableError):
            await members.promote(added.number)
        if some:
            some.join(peer)
        else:
            cast("MemoryMembers", members).begin(peer, "m3")
        look = await until_seen(
            members, lambda seen: "m3" in by_name(seen) and not by_name(seen)["m3"].trouble
        )
        learner = by_name(look)["m3"]
        assert (learner.learner, learner.started) == (True, True)
        assert len(look.voters) == 3
        await insisted(members, lambda: members.promote(learner.number))
        await members.promote(learner.number)
        look = await until_seen(members, lambda seen: len(seen.voters) == 4)
        assert look.spare == 1
        gone = by_name(look)["m0"].number
        for _ in range(2):
            await insisted(members, lambda: members.remove(gone))
        await until_seen(members, lambda seen: by_name(seen).keys() == {"m1", "m2", "m3"})
        assert [entry.key for entry in (await store.list("/")).entries] == ["/a"]

    async def run() -> None:
        async with opened(some) as (store, members), asyncio.timeout(60):
            await scenario(store, members)

    asyncio.run(run())


async def insisted(members: Members, change: Callable[[], Awaitable[None]]) -> None:
    """Do what is refused until all are connected for 5 s, and have caught up."""
    while True:
        try:
            return await change()
        except UnavailableError:
            await asyncio.sleep(0.1)
            await members.look()


def test_who_has_just_come_or_gone_is_known_wherever_one_asks(mortal_etcd: EtcdCluster) -> None:
    async def run() -> None:
        first, other = (EtcdMembers(mortal_etcd.endpoints[n:]) for n in (0, 2))
        try:
            await until_named(first)
            await other.look()
            peer = f"http://127.0.0.1:{free_ports(1)[0]}"
            await insisted(first, lambda: first.add(peer))
            (agreed,) = await other.agreed()
            assert peer in [member.peer for member in agreed.members]
            mortal_etcd.kill(0)
            mortal_etcd.kill(1)
            with pytest.raises(UnavailableError, match="no member of the store answers"):
                await other.agreed()
        finally:
            await first.close()
            await other.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_members_of_another_store_are_named_and_nothing_else_of_them_is_believed(
    mortal_etcd: EtcdCluster, small_etcd: EtcdCluster
) -> None:
    async def run() -> None:
        both = EtcdMembers((*mortal_etcd.endpoints, *small_etcd.endpoints[1:]))
        try:
            await until_named(both)
            look = await both.look()
            assert look.strangers == small_etcd.endpoints[1:]
            peers = {member.peer for member in look.members}
            ours, theirs = await both.agreed()
            assert {member.peer for member in ours.members} == peers
            assert not peers & {member.peer for member in theirs.members}
            for number in range(3):  # of those that we have always asked, nobody answers
                mortal_etcd.kill(number)
            look = await until_seen(both, lambda seen: not seen.strangers)
            assert not peers & {member.peer for member in look.members}
        finally:
            await both.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_disk_says_whose_data_it_has(mortal_etcd: EtcdCluster) -> None:
    async def run() -> None:
        members = EtcdMembers(mortal_etcd.endpoints)
        try:
            await until_named(members)
            (agreed,) = await members.agreed()
            for member in agreed.members:
                data = read_data(mortal_etcd.directory / member.name)
                assert data == MemberData(number=member.number, store=agreed.store)
        finally:
            await members.close()

    assert read_data(mortal_etcd.directory) is None
    asyncio.run(asyncio.wait_for(run(), 60))


def wait_for_data(directory: Path) -> None:
    deadline = time.monotonic() + 20
    while read_data(directory) is None and time.monotonic() < deadline:
        time.sleep(0.001)


def test_a_learner_that_ended_before_it_said_its_name_goes_on_with_its_data(
    mortal_etcd: EtcdCluster,
) -> None:
    peer = f"http://127.0.0.1:{free_ports(1)[0]}"

    async def run() -> None:
        members = EtcdMembers(mortal_etcd.endpoints)
        try:
            await until_named(members)
            await insisted(members, lambda: members.add(peer))
            mortal_etcd.join(peer)
            await asyncio.to_thread(wait_for_data, mortal_etcd.directory / "m3")
            mortal_etcd.kill(3)
            (agreed,) = await members.agreed()
            (learner,) = (each for each in agreed.members if each.learner)
            data = read_data(mortal_etcd.directory / "m3")
            assert data == MemberData(number=learner.number, store=agreed.store)
            mortal_etcd.start_again(3)
            await until_seen(members, lambda seen: "m3" in by_name(seen))
            await insisted(members, lambda: members.promote(learner.number))
        finally:
            await members.close()

    asyncio.run(asyncio.wait_for(run(), 60))
