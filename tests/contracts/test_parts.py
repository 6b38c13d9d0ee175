"""A service and its part of the store: by TLS, through a controller, to a real etcd."""

import asyncio
import base64
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pltfrms.api.routes.parts import LOGIN_BYTES_MAX
from pltfrms.drivers.store.ports import Put
from pltfrms.model.messages.secrets import SecretVerb
from pltfrms.model.messages.store import StoreLook, StoreMember, StoreState
from pltfrms.planner.parts import room
from pltfrms.planner.parts.room import size_of
from pltfrms.planner.parts.tokens import token_for
from tests.contracts.etcd import EtcdCluster
from tests.contracts.parts import WORD, Play, Program, Scene, b64, playing, using


@pytest.fixture
def play(etcd: EtcdCluster, tmp_path: Path) -> Play:
    return playing(etcd, tmp_path)


# ---- what a program that elects a primary does ---------------------------------------------


def test_keys_are_written_read_compared_and_deleted(play: Play) -> None:
    async def story(scene: Scene) -> None:
        db = scene.db
        assert "raft_term" in (await db.put("a", "1"))["header"]
        assert await db.get("a") == b"1"
        compare = {"key": db.key("a"), "target": "CREATE", "create_revision": "0"}
        again = {"request_put": {"key": db.key("a"), "value": b64("2")}}
        nested = {"compare": [compare], "success": [again], "failure": []}
        said = {"compare": [compare], "success": [again]}
        assert not (await db.done("kv/txn", said)).get("succeeded")
        answer = await db.done("kv/txn", said | {"failure": [{"request_txn": nested}]})
        assert not answer["responses"][0]["response_txn"].get("succeeded")
        whole = {"key": b64(db.prefix), "range_end": b64("/pltfrms-parts/db0")}
        assert (await db.done("kv/range", whole | {"serializable": True}))["count"] == "1"
        assert (await db.done("kv/deleterange", whole))["deleted"] == "1"
        assert await db.get("a") is None

    play(story)


def test_a_lease_takes_its_keys_with_it(play: Play) -> None:
    async def story(scene: Scene) -> None:
        db = scene.db
        lease = (await db.done("lease/grant", {"TTL": 20}))["ID"]
        await db.put("leader", "fra-1", lease=lease)
        assert (await db.done("lease/keepalive", {"ID": lease}))["result"]["TTL"] == "20"
        await db.done("lease/revoke", {"ID": lease})
        assert await db.get("leader") is None
        assert "TTL" not in (await db.done("lease/keepalive", {"ID": lease}))["result"]
        said = {"key": db.key("leader"), "value": b64("x"), "lease": lease}
        await db.refused("kv/put", said, 5, "etcdserver: requested lease not found")

    play(story)


def test_changes_are_told_as_they_happen(play: Play) -> None:
    async def story(scene: Scene) -> None:
        db = scene.db
        said = {"key": b64(db.prefix), "range_end": b64("/pltfrms-parts/db0"), "filters": []}
        async with db.watching(said) as answers:
            assert (await anext(answers))["result"]["created"] is True
            await scene.other.put("a", "not ours")
            await db.put("a", "ours")
            (event,) = (await anext(answers))["result"]["events"]
            assert base64.b64decode(event["kv"]["value"]) == b"ours"

    play(story)


def test_a_watch_that_hears_nothing_ends(etcd: EtcdCluster, tmp_path: Path) -> None:
    async def story(scene: Scene) -> None:
        async with scene.db.watching({"key": b64(scene.db.prefix)}) as answers:
            assert [each["result"].get("created") async for each in answers] == [True]

    playing(etcd, tmp_path, silence_seconds=2.0)(story)


def test_what_is_told_at_once_comes_in_pieces(play: Play) -> None:
    """A watch that begins with all of the history is no answer of so many bytes."""

    async def story(scene: Scene) -> None:
        db = scene.db
        begin = int((await db.put("a", "x"))["header"]["revision"])
        large = Put(key=f"{db.prefix}large", value=b"x" * 65_536)
        for _ in range(60):
            await scene.store.commit([large])
        said = {"key": b64(db.prefix), "range_end": b64("/pltfrms-parts/db0")}
        seen, sizes = 0, []
        async with db.watching(said | {"start_revision": str(begin)}) as answers:
            async for answer in answers:
                seen += len(answer["result"].get("events", ()))
                sizes.append(size_of(answer))
                if seen == 61:
                    break
        assert max(sizes) < 3 * room.BYTES_MAX < sum(sizes)

    play(story)


def test_members_are_the_gates(play: Play) -> None:
    async def story(scene: Scene) -> None:
        (member,) = (await scene.db.done("cluster/member/list", {}))["members"]
        assert member["clientURLs"] == ["https://fra-c1.machine.test.pltfrms.internal:7480"]

    play(story)


def test_leases_and_keys_of_a_part_are_seen_at_every_gate(play: Play) -> None:
    """What a gate remembers is a shortcut: another one reads it in the store."""

    async def story(scene: Scene) -> None:
        lease = (await scene.db.done("lease/grant", {"TTL": 20}))["ID"]
        notes = await scene.store.list("/pltfrms-part-leases/")
        assert [(each.key, each.lease) for each in notes.entries] == [
            (f"/pltfrms-part-leases/db/{lease}", int(lease))
        ]

    play(story)


# ---- what nobody may -----------------------------------------------------------------------


def places(db: Program) -> Iterator[tuple[str, str | None]]:
    """Yield keys and ends of ranges that are not all in a part."""
    begin = db.prefix
    yield "/pltfrms/platform", None  # the platform's
    yield "/pltfrms-parts/db-2/a", None  # another part
    yield "/pltfrms-parts/db0", None  # one whose name goes on
    yield "/pltfrms-parts/db", None  # without the slash
    yield "/pltfrms-part-leases/db/7", None  # the leases beside
    yield "", None  # no key
    yield "\0", None  # a zero byte
    yield begin, "\0"  # all from here
    yield "\0", "\0"  # all there is
    yield begin, "/pltfrms-parts/db1"  # to another part
    yield begin, "\x7f"  # to the end
    yield "/pltfrms/", "/pltfrms-parts/db0"  # from the platform
    yield "/", "0"  # before and after


def asks(key: str, end: str | None) -> Iterator[tuple[str, object]]:
    """Yield every question about a place."""
    place = {"key": b64(key)} | ({} if end is None else {"range_end": b64(end)})
    put = {"key": b64(key), "value": b64("x")}
    yield "kv/range", place
    yield "kv/range", place | {"keys_only": True, "limit": "1"}
    yield "kv/deleterange", place
    yield "watch", {"create_request": place}
    inner = [{"request_range": place}, {"request_delete_range": place}]
    if end is None:
        yield "kv/put", put
        yield "kv/txn", {"compare": [{"key": b64(key), "target": "MOD"}]}
        inner.append({"request_put": put})
    for each in inner:
        for branch in ("success", "failure"):
            yield "kv/txn", {branch: [each]}
            yield "kv/txn", {"failure": [{"request_txn": {branch: [each]}}]}


def test_nothing_outside_a_part_is_touched(play: Play) -> None:
    async def story(scene: Scene) -> None:
        secret = Put(key="/pltfrms/platform", value=b"the platform's")
        await scene.store.commit([secret])
        await scene.other.put("a", "the other's")
        before = await scene.store.list("")
        for key, end in places(scene.db):
            for method, said in asks(key, end):
                await scene.db.refused(method, said, 7, "etcdserver: permission denied")
        after = await scene.store.list("")
        assert after.entries == before.entries

    play(story)


def test_other_words_of_etcd_are_not_known(play: Play) -> None:
    async def story(scene: Scene) -> None:
        db, key = scene.db, scene.db.key("a")
        for method, said in (
            ("kv/range", {"key": key, "rangeEnd": b64("\0")}),
            ("kv/range", {"key": key, "revision": "1"}),
            ("kv/range", {"key": [1]}),
            ("kv/put", {"key": key, "value": b64("x"), "ignoreLease": True}),
            ("kv/put", {"key": key, "value": b64("x"), "lease": "-1"}),
            ("kv/put", {"key": key, "value": b64("x"), "lease": True}),
            ("kv/put", {"key": key, "value": "x"}),
            ("kv/txn", {"compare": [{"key": key, "target": "MOD", "value": b64("x")}]}),
            ("kv/txn", {"compare": [{"key": key, "target": 2}]}),
            ("kv/txn", {"compare": [{"key": key, "range_end": b64("\0")}]}),
            ("kv/txn", {"success": [{"requestPut": {"key": key}}]}),
            ("kv/txn", {"success": {"request_put": {"key": key}}}),
            ("kv/txn", {"success": [{"request_range": {"key": key}}] * 65}),
            ("lease/grant", {"TTL": 20, "ID": "7"}),
            ("lease/grant", {"TTL": 4}),
            ("lease/grant", {"TTL": 301}),
            ("cluster/member/list", {"linearizable": True}),
            ("watch", {"cancel_request": {"watch_id": "0"}}),
            ("watch", {"create_request": {"key": key, "watch_id": "7"}}),
            ("kv/range", b"{"),
            ("kv/range", b"[" * 100_000),
            ("kv/range", b'{"key": ' + b"9" * 5000 + b"}"),
        ):
            await db.refused(method, said, 3)

    play(story)


OTHERS = (
    *("alarm", "defragment", "status", "hash", "snapshot", "transfer-leadership"),
    *("kv/compaction", "lease/leases", "lease/timetolive", "lease/kv/lease/leases"),
    *("cluster/member/add", "cluster/member/remove", "cluster/member/update"),
    *("auth/enable", "auth/disable", "auth/user/add", "auth/role/grant"),
    *("election/campaign", "lock/lock", "kv/range/", "../v1/apply"),
)
"""What else etcd's gateway has."""


def test_what_is_not_of_a_part_is_not_there(play: Play) -> None:
    async def story(scene: Scene) -> None:
        for path in OTHERS:
            for prefix in ("", "maintenance/"):
                status, _ = await scene.db.ask(f"{prefix}{path}", {})
                assert status in {403, 404}, path

    play(story)


def test_leases_of_others_are_as_if_they_were_gone(play: Play) -> None:
    async def story(scene: Scene) -> None:
        db = scene.db
        of_a_machine = await scene.store.grant(60)
        of_another = int((await scene.other.done("lease/grant", {"TTL": 60}))["ID"])
        for lease in (of_a_machine, of_another, 7, 0):
            said = {"ID": str(lease)}
            await db.refused("lease/revoke", said, 5, "requested lease not found")
            assert "TTL" not in (await db.done("lease/keepalive", said))["result"]
            put = {"key": db.key("a"), "value": b64("x"), "lease": str(lease)}
            if lease:
                await db.refused("kv/put", put, 5)
                await db.refused("kv/txn", {"failure": [{"request_put": put}]}, 5)
        assert await scene.store.lease_time(of_a_machine)
        assert await scene.store.lease_time(of_another)
        await scene.store.revoke(of_a_machine)

    play(story)


def test_who_shows_no_token_or_another_is_not_let_in(play: Play) -> None:
    async def story(scene: Scene) -> None:
        db, good = scene.db, scene.db.token
        service, second, sign = good.split(".")
        said = {"key": db.key("a")}
        methods = {"kv/range": said, "lease/grant": {"TTL": 20}, "cluster/member/list": {}}
        db.token = ""
        for method, words in methods.items():
            await db.refused(method, words, 3, "etcdserver: user name is empty")
        for token in (
            scene.other.token.replace("db-2", "db"),
            f"db-2.{second}.{sign}",
            f"{service}.{int(second) + 1}.{sign}",
            f"{service}.{int(second) - 90_000}.{sign}",
            f"{service}.{second}.{'0' * 64}",
            f"{service}.{second}.",
            "nobody.1.x",
            "Basic eDp5",
            "x",
        ):
            db.token = token
            for method, words in methods.items():
                await db.refused(method, words, 16, "etcdserver: invalid auth token")
        for name, password in (("db", "x"), ("nobody", WORD), ("db", ""), ("db", f"{WORD}\n")):
            login = {"name": name, "password": password}
            await db.refused("auth/authenticate", login, 3, "authentication failed")
        odd = {"name": "\ud800", "password": "\ud800"}  # which no token can have in it
        await db.refused("auth/authenticate", odd, 3, "authentication failed")

    play(story)


def test_nothing_is_read_of_who_is_not_known(play: Play) -> None:
    async def story(scene: Scene) -> None:
        db = scene.db
        db.token = db.token[:-1]
        for method in ("kv/range", "kv/txn", "lease/grant", "watch", "cluster/member/list"):
            await db.refused(method, b"[" * 100_000, 16, "invalid auth token")
        db.token = ""
        long = {"name": "db", "password": "x" * LOGIN_BYTES_MAX}
        await db.refused("auth/authenticate", long, 3, "longer than")

    play(story)


def test_a_word_that_is_an_empty_line_lets_nobody_in(play: Play) -> None:
    async def story(scene: Scene) -> None:
        await scene.set_secret("empty", "\n", SecretVerb.SET)
        await scene.door.operations.apply(using("db-3", "empty"))
        await scene.door.seen()
        login = {"name": "db-3", "password": ""}
        await scene.db.refused("auth/authenticate", login, 3, "authentication failed")
        scene.db.token = token_for("db-3", b"", 2_000_000_000)
        await scene.db.refused("cluster/member/list", {}, 16)

    play(story)


def test_a_token_ends_with_the_word_that_it_was_given_for(play: Play) -> None:
    async def story(scene: Scene) -> None:
        db = scene.db
        prefix = {"key": b64(db.prefix), "range_end": b64("/pltfrms-parts/db0")}
        async with db.watching(prefix) as answers:
            await anext(answers)
            await scene.set_secret("db-word", "a new word", SecretVerb.ROTATE)
            old = db.token
            await db.log_in("a new word")
            await db.put("a", "x")
            found = await db.done("kv/range", {"key": db.key("a")})
            assert found["count"] == "1"
            db.token = old
            await db.refused("kv/range", prefix, 16)
            db.token = ""
            login = {"name": "db", "password": WORD}
            await db.refused("auth/authenticate", login, 3, "authentication failed")
            assert [each async for each in answers] == []

    play(story)


# ---- how much ------------------------------------------------------------------------------


def test_a_part_has_so_many_keys_and_bytes(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "KEYS_MAX", 3)
    monkeypatch.setattr(room, "BYTES_MAX", 2000)

    async def story(scene: Scene) -> None:
        db = scene.db
        for name in ("a", "b", "c"):
            await db.put(name, "x")
        more = {"key": db.key("d"), "value": b64("x")}
        await db.refused("kv/put", more, 8, "at most 3 keys")
        await db.put("a", "y")  # which is there
        large = {"key": db.key("a"), "value": b64("x" * 3000)}
        await db.refused("kv/put", large, 8, "at most 2000 bytes together")
        await db.refused("kv/txn", {"failure": [{"request_put": large}]}, 8)
        await scene.other.put("a", "x")  # which is full for nobody else
        await db.done("kv/deleterange", {"key": db.key("a")})
        await db.done("kv/put", more)

    play(story)


def test_what_is_too_large_is_refused(play: Play) -> None:
    async def story(scene: Scene) -> None:
        db = scene.db
        value = b"x" * 65_536
        await db.put("a", value)
        assert await db.get("a") == value
        said = {"key": db.key("a"), "value": b64(value + b"x")}
        await db.refused("kv/put", said, 3, "at most 65536 fit")
        said = {"key": db.key("a" * 1100), "value": ""}
        await db.refused("kv/put", said, 3, "at most 1024 fit")
        await db.refused("kv/put", b" " * 600_000, 3, "larger than")

    play(story)


def test_what_is_said_for_nothing_is_counted_before_it_is_read(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = "pltfrms.controller.asked.part_room.ANSWERS_BYTES_AT_ONCE"
    monkeypatch.setattr("pltfrms.controller.asked.part_room.ANSWERS_BYTES_PER_SECOND", 1)
    monkeypatch.setattr(at_once, 1_000_000)

    async def story(scene: Scene) -> None:
        nothing = b"[" * 400_000
        for code in (3, 3, 8, 8):
            await scene.db.refused("lease/keepalive", nothing, code)
        await scene.db.done("lease/keepalive", {"ID": "7"})
        await scene.other.refused("lease/keepalive", nothing, 3)

    play(story)


def test_leases_and_watches_are_counted(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pltfrms.controller.asked.parts.WATCHES_MAX", 2)

    async def story(scene: Scene) -> None:
        db = scene.db
        asked = (db.ask("lease/grant", {"TTL": 20}) for _ in range(40))
        codes = [answer.get("code", 0) for _, answer in await asyncio.gather(*asked)]
        assert (codes.count(0), codes.count(8)) == (32, 8)
        said = {"key": b64(db.prefix)}
        async with db.watching(said) as one:
            await anext(one)
            async with db.watching(said) as two:
                await anext(two)
                await db.refused("watch", {"create_request": said}, 8, "at most 2 watches")
        for _ in range(100):  # until the gate has seen that they are gone
            with contextlib.suppress(AssertionError):
                async with db.watching(said) as again:
                    await anext(again)
                    return
        pytest.fail("both places are still taken")

    play(story)


def test_nothing_new_is_written_while_the_store_is_rather_full(play: Play) -> None:
    async def story(scene: Scene) -> None:
        db = scene.db
        lease = (await db.done("lease/grant", {"TTL": 20}))["ID"]
        await db.put("a", "x")

        class Upkeep:
            state: StoreState | None = None

        upkeep: Any = Upkeep()
        scene.door.controller.upkeep = upkeep
        put = {"key": db.key("a"), "value": b64("y")}
        await db.refused("kv/put", put, 14, "has not seen yet")
        full = StoreMember(name="m", file_bytes=61, quota_bytes=100)
        upkeep.state = StoreState(look=StoreLook(revision=1, members=(full,)))
        await db.refused("kv/put", put, 8, "more than 60% full")
        await db.refused("kv/txn", {"failure": [{"request_put": put}]}, 8)
        await db.refused("lease/grant", {"TTL": 20}, 8)
        assert await db.get("a") == b"x"
        assert "TTL" in (await db.done("lease/keepalive", {"ID": lease}))["result"]
        await db.done("kv/deleterange", {"key": db.key("a")})
        await db.done("lease/revoke", {"ID": lease})

    play(story)
