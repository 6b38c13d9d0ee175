"""The etcd client when members die, hang, or lose their quorum."""

import asyncio
import json
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pltfrms.api.main import LEASE_SECONDS
from pltfrms.controller.contact.heartbeats import TIMEOUT_SECONDS
from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.drivers.store.members import EtcdMembers
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import UnavailableError, UnclearError
from tests.contracts.etcd import EtcdCluster, free_ports
from tests.drivers.tiny_http import HANG, Answer, TinyServer, serving


def _run(endpoints: tuple[str, ...], scenario: Callable[[EtcdStore], Awaitable[None]]) -> None:
    async def run() -> None:
        store = EtcdStore(endpoints, request_timeout_seconds=2.0, watch_silence_seconds=1.0)
        try:
            await asyncio.wait_for(scenario(store), 40)
        finally:
            await store.close()

    asyncio.run(run())


async def _commit_when_possible(store: EtcdStore, key: str) -> int:
    """Commit, over an election if there is one (its outcome is UnavailableError)."""
    while True:
        try:
            revision = await store.commit([Put(key=key, value=b"")])
        except UnavailableError:
            continue
        assert revision is not None
        return revision


def test_losing_one_member_is_survived_and_losing_two_is_said(
    mortal_etcd: EtcdCluster,
) -> None:
    async def scenario(store: EtcdStore) -> None:
        await store.commit([Put(key="/a", value=b"")])
        mortal_etcd.kill(0)  # the endpoint in use
        after = await _commit_when_possible(store, "/b")
        assert (await store.list("/")).revision >= after
        lease = await store.grant(10)
        assert await store.keep_alive(lease)

        mortal_etcd.kill(1)
        began = time.monotonic()
        for call in (
            store.list("/"),
            store.commit([Put(key="/c", value=b"")]),
            store.keep_alive(lease),
        ):
            with pytest.raises(UnavailableError, match="majority"):
                await call
        assert time.monotonic() - began < 3 * 2.0 + 1
        await _watch_is_refused(store, after)

    _run(mortal_etcd.endpoints, scenario)


@pytest.mark.parametrize("way", ["ends", "hangs"])
def test_when_the_leader_stops_another_one_takes_writes(
    mortal_etcd: EtcdCluster, way: str
) -> None:
    async def scenario(store: EtcdStore) -> None:
        await store.commit([Put(key="/a", value=b"")])
        members = EtcdMembers(mortal_etcd.endpoints)
        seen = await members.look()
        await members.close()
        (leader,) = (each.name for each in seen.members if each.leader)
        number = int(leader.removeprefix("m"))
        (mortal_etcd.end if way == "ends" else mortal_etcd.freeze)(number)
        after = await _commit_when_possible(store, "/b")
        listing = await store.list("/")
        assert listing.revision >= after
        assert [entry.key for entry in listing.entries] == ["/a", "/b"]

    _run(mortal_etcd.endpoints, scenario)


async def _watch_is_refused(store: EtcdStore, after: int) -> None:
    """Watch until it raises; the first may still be taken, and then ends."""
    refused = False
    while not refused:
        try:
            assert [revision async for revision in store.changes("/", after)] == []
        except UnavailableError:
            refused = True


def test_a_hung_member_costs_one_wait_then_the_next_is_asked_first(
    mortal_etcd: EtcdCluster,
) -> None:
    async def scenario(store: EtcdStore) -> None:
        await store.commit([Put(key="/a", value=b"")])
        mortal_etcd.freeze(0)
        try:
            await _commit_when_possible(store, "/b")
            began = time.monotonic()
            await store.list("/")
            assert time.monotonic() - began < 0.9
        finally:
            mortal_etcd.thaw(0)

    _run(mortal_etcd.endpoints, scenario)


def test_an_endpoint_that_never_was_is_passed_over(etcd: EtcdCluster) -> None:
    dead = f"http://127.0.0.1:{free_ports(1)[0]}"

    async def scenario(store: EtcdStore) -> None:
        revision = await store.commit([Put(key="/passed-over", value=b"")])
        assert revision is not None
        assert revision <= (await store.list("/passed-over")).revision

    _run((dead, *etcd.endpoints), scenario)


def test_members_of_another_store_are_not_believed_and_get_no_writes(
    etcd: EtcdCluster, tmp_path: Path
) -> None:
    other = EtcdCluster(tmp_path, size=1)
    try:
        other.start()

        async def scenario(store: EtcdStore) -> None:
            revision = await store.commit([Put(key="/same", value=b"")]) or 0
            store.use(other.endpoints)
            for _ in range(2):
                with pytest.raises(UnavailableError, match="of another store") as raised:
                    await store.commit([Put(key="/stray", value=b"")])
                assert not isinstance(raised.value, UnclearError), "nothing was sent"
                with pytest.raises(UnavailableError, match="of another store"):
                    await store.list("/")
                with pytest.raises(UnavailableError, match="of another store"):
                    async for _ in store.changes("/", 0):
                        pass
            store.use((*other.endpoints, *etcd.endpoints))
            assert await store.commit([Put(key="/same", value=b"")])
            assert (await store.list("/same")).revision > revision

        _run(etcd.endpoints, scenario)

        async def look(store: EtcdStore) -> None:
            assert not (await store.list("/")).entries

        _run(other.endpoints, look)
    finally:
        other.stop()


def test_a_silent_watch_ends(etcd: EtcdCluster) -> None:
    async def scenario(store: EtcdStore) -> None:
        listing = await store.list("/silent")
        began = time.monotonic()
        async for _ in store.changes("/silent", listing.revision):
            pytest.fail("nothing changed")
        assert 0.9 < time.monotonic() - began < 5

    _run(etcd.endpoints, scenario)


def test_a_watch_from_a_compacted_revision_ends(mortal_etcd: EtcdCluster) -> None:
    async def scenario(store: EtcdStore) -> None:
        for number in range(5):
            await store.commit([Put(key="/c", value=b"%d" % number)])
        last = (await store.list("/c")).revision
        await store._call("/v3/kv/compaction", {"revision": str(last)}, repeatable=False)
        began = time.monotonic()
        seen = [revision async for revision in store.changes("/c", 1)]
        assert seen == []
        assert time.monotonic() - began < 0.9

    _run(mortal_etcd.endpoints, scenario)


def test_a_write_whose_answer_is_lost_is_not_sent_again() -> None:
    """A second try of a guarded commit would fail its own guard and say `not done`."""
    taken: list[int] = []

    def swallower(port: int) -> Callable[[StreamReader, StreamWriter], None]:
        def swallow(_: StreamReader, writer: StreamWriter) -> None:
            taken.append(port)
            writer.close()

        return swallow

    async def scenario() -> None:
        ports = free_ports(2)
        servers = [
            await asyncio.start_server(swallower(port), "127.0.0.1", port) for port in ports
        ]
        store = EtcdStore([f"http://127.0.0.1:{port}" for port in ports])
        with pytest.raises(UnclearError, match="may or may not"):
            await store.commit([Put(key="/a", value=b"")])
        assert taken == ports[:1]
        with pytest.raises(UnavailableError):
            await store.list("/a")
        assert taken == [ports[0], ports[1], ports[0]]
        await store.close()
        for server in servers:
            server.close()
            await server.wait_closed()

    asyncio.run(scenario())


def test_what_no_member_took_is_never_said_to_be_done_perhaps() -> None:
    async def scenario(store: EtcdStore) -> None:
        with pytest.raises(UnavailableError, match="does not answer") as refused:
            await store.commit([Put(key="/a", value=b"")])
        assert not isinstance(refused.value, UnclearError)
        with pytest.raises(UnavailableError) as unread:
            await store.list("/a")
        assert "may or may not" not in f"{refused.value} {unread.value}"

    _run(tuple(f"http://127.0.0.1:{port}" for port in free_ports(3)), scenario)


def test_members_that_say_the_same_are_named_in_one_sentence() -> None:
    error = b'{"error": "etcdserver: no leader", "code": 14}'

    async def scenario(store: EtcdStore) -> None:
        with pytest.raises(UnavailableError) as refused:
            await store.commit([Put(key="/a", value=b"")])
        assert str(refused.value).count("no leader") == 1

    with (
        serving(Answer(status=503, body=error)) as first,
        serving(Answer(status=503, body=error)) as second,
    ):
        _run((first.endpoint, second.endpoint), scenario)


def test_an_error_in_the_stream_of_keep_alive_is_not_a_lost_lease() -> None:
    error = b'{"error": {"grpc_code": 14, "message": "etcdserver: request timed out"}}'

    async def scenario(store: EtcdStore) -> None:
        with pytest.raises(UnavailableError, match="timed out"):
            await store.keep_alive(7)

    with serving(error) as server:
        _run((server.endpoint,), scenario)


def test_leases_that_are_renewed_at_once_cost_one_request_and_each_has_its_own_answer() -> None:
    answer = b'{"result": {"TTL": "3"}}\n{"result": {}}\n{"result": {"TTL": "3"}}\n'

    async def scenario(store: EtcdStore) -> None:
        renewals = map(store.keep_alive, (7, 8, 9, 7))
        assert await asyncio.gather(*renewals) == [True, False, True, True]

    with serving(answer) as server:
        _run((server.endpoint,), scenario)
    (question,) = server.seen
    assert [json.loads(line) for line in question.body.splitlines()] == [
        {"ID": "7"},
        {"ID": "8"},
        {"ID": "9"},
    ]


def test_who_gives_up_on_a_renewal_does_not_give_up_for_others() -> None:
    async def scenario(store: EtcdStore) -> None:
        others = asyncio.create_task(store.keep_alive(7))
        impatient = asyncio.create_task(store.keep_alive(7))
        await asyncio.sleep(0)
        impatient.cancel()
        assert await others

    with serving(b'{"result": {"TTL": "3"}}') as server:
        _run((server.endpoint,), scenario)


def test_fewer_answers_than_renewals_are_none() -> None:
    async def scenario(store: EtcdStore) -> None:
        renewals = map(store.keep_alive, (7, 8))
        answers = await asyncio.gather(*renewals, return_exceptions=True)
        assert [type(each) for each in answers] == [UnavailableError] * 2

    with serving(b'{"result": {"TTL": "3"}}') as server:
        _run((server.endpoint,), scenario)


def test_a_hung_member_costs_a_machine_one_heartbeat_at_most() -> None:
    async def scenario(store: EtcdStore) -> None:
        for heartbeat in range(3):
            with suppress(TimeoutError, UnavailableError):
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    assert await store.keep_alive(7)
                    continue
            assert heartbeat == 0

    async def run(endpoints: tuple[str, ...]) -> None:
        store = EtcdStore(endpoints, request_timeout_seconds=LEASE_SECONDS)
        await scenario(store)
        await store.close()

    with serving(HANG) as hung, serving(b'{"result": {"TTL": "3"}}') as sound:
        asyncio.run(run((hung.endpoint, sound.endpoint)))


def test_a_store_that_is_slow_with_lists_alone_is_read_all_the_same() -> None:
    async def scenario(endpoint: str) -> None:
        store = EtcdStore([endpoint], request_timeout_seconds=0.5)
        revision = 0
        for _ in range(5):
            with suppress(UnavailableError):
                revision = (await store.list("/a")).revision
                break
        assert revision == 5
        with pytest.raises(UnavailableError):
            await store.keep_alive(7)
        await store.close()

    body = b'{"header": {"revision": "5"}}'
    with serving(Answer(body=body, after_seconds=1.0)) as server:
        asyncio.run(scenario(server.endpoint))


def of_store(number: int) -> Answer:
    """What a member of a store answers to a list and to a commit."""
    body = b'{"header": {"cluster_id": "%d", "revision": "5"}, "succeeded": true}' % number
    return Answer(body=body)


def written(server: TinyServer) -> int:
    return sum(each.target.endswith("/txn") for each in server.seen)


def test_a_hung_member_that_was_never_met_leaves_time_for_the_next_one() -> None:
    async def run(known: str, *others: str) -> None:
        store = EtcdStore([known], request_timeout_seconds=4.0)
        await store.list("/a")
        store.use(others)
        assert await store.commit([Put(key="/a", value=b"")]) == 5
        await store.close()

    with serving(of_store(1)) as known, serving(HANG) as hung, serving(of_store(1)) as sound:
        asyncio.run(run(known.endpoint, hung.endpoint, sound.endpoint))
        assert (written(hung), written(sound)) == (0, 1)


def test_who_has_not_answered_for_long_is_met_anew_before_a_write() -> None:
    away = Answer(status=503, body=b'{"error": "etcdserver: no leader", "code": 14}')

    async def run(one: TinyServer, other: TinyServer) -> None:
        store = EtcdStore([one.endpoint])
        write = [Put(key="/a", value=b"")]
        try:
            for asked in (one, other, one):
                store.use([asked.endpoint])
                assert await store.commit(write) == 5
            store.use([one.endpoint, other.endpoint])
            one.answer, other.answer = away, of_store(2)
            with pytest.raises(UnavailableError, match="of another store"):
                await store.commit(write)
        finally:
            await store.close()

    with serving(of_store(1)) as one, serving(of_store(1)) as other:
        asyncio.run(run(one, other))
        assert written(other) == 1, "nothing was written into another store"
