"""A service and its part of the store: by TLS, through a controller, to a real etcd."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pltfrms.controller.asked.secrets import Secrets
from pltfrms.controller.records.auditing import NOBODY
from pltfrms.drivers.identity.tls import trusting_context
from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.drivers.store.ports import Put
from pltfrms.model.identity.words import controllers_server_name
from pltfrms.model.messages.api import Change
from pltfrms.model.messages.secrets import SecretChange, SecretVerb
from pltfrms.model.messages.store import StoreLook, StoreMember, StoreState
from pltfrms.model.services.parts import StoreUse, part_of
from pltfrms.model.services.secrets import SecretUse
from pltfrms.planner.parts import room
from tests.api.door import PLATFORM, Door, serve
from tests.contracts.etcd import EtcdCluster
from tests.strategies import make_spec

WORD = "a word"


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def using(name: str, secret: str) -> Change:
    uses = (SecretUse(name=secret, file="word"),)
    spec = make_spec(name, 1)
    run = replace(spec.run, secrets=uses, store=StoreUse(secret=secret))
    return Change(services=(replace(spec, run=run),))


@dataclass
class Program:
    """What a service runs that knows etcd: it speaks to one gate."""

    door: Door
    name: str
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        return part_of(self.name)

    def client(self) -> httpx2.AsyncClient:
        roots = self.door.file.read().roots
        return httpx2.AsyncClient(verify=trusting_context(roots), timeout=20)

    async def ask(self, method: str, said: object) -> tuple[int, Mapping[str, Any]]:
        async with self.client() as client:
            answer = await client.post(
                f"{self.door.url}/v3/{method}",
                content=said if isinstance(said, bytes) else json.dumps(said),
                headers={"authorization": self.token} if self.token else {},
                extensions={"sni_hostname": controllers_server_name(PLATFORM.name)},
            )
            return answer.status_code, answer.json()

    async def done(self, method: str, said: object) -> Mapping[str, Any]:
        status, answer = await self.ask(method, said)
        assert status == 200, answer
        return answer

    async def refused(self, method: str, said: object, code: int, words: str = "") -> None:
        status, answer = await self.ask(method, said)
        assert (status >= 400, answer.get("code")) == (True, code), (said, status, answer)
        assert words in answer["error"], answer

    async def log_in(self, password: str = WORD) -> None:
        said = {"name": self.name, "password": password}
        self.token = (await self.done("auth/authenticate", said))["token"]

    def key(self, name: str) -> str:
        return b64(f"{self.prefix}{name}")

    async def put(self, name: str, value: str | bytes, **more: object) -> Mapping[str, Any]:
        return await self.done("kv/put", {"key": self.key(name), "value": b64(value), **more})

    async def get(self, name: str) -> bytes | None:
        answer = await self.done("kv/range", {"key": self.key(name)})
        found = answer.get("kvs", [])
        return base64.b64decode(found[0].get("value", "")) if found else None

    @contextlib.asynccontextmanager
    async def watching(self, said: object) -> AsyncIterator[AsyncIterator[Any]]:
        async with (
            self.client() as client,
            client.stream(
                "POST",
                f"{self.door.url}/v3/watch",
                content=json.dumps({"create_request": said}),
                headers={"authorization": self.token},
                extensions={"sni_hostname": controllers_server_name(PLATFORM.name)},
            ) as answer,
        ):
            assert answer.status_code == 200, await answer.aread()
            yield (json.loads(line) async for line in answer.aiter_lines())


@dataclass
class Scene:
    """A controller, a store, and the programs of two services."""

    door: Door
    store: EtcdStore
    db: Program
    other: Program

    async def set_secret(self, name: str, value: str, verb: SecretVerb) -> None:
        said = SecretChange(verb=verb, name=name, value=b64(value))
        await Secrets(self.door.operations, secure=True).change(said, NOBODY)
        await self.door.seen()

    async def empty(self) -> None:
        """Forget what was before, as another test has the same store."""
        for prefix in ("/pltfrms-parts/", "/pltfrms-part-leases/"):
            for lease in {each.lease for each in (await self.store.list(prefix)).entries} - {0}:
                await self.store.revoke(lease)
            question = {"key": b64(prefix), "range_end": b64(prefix[:-1] + "0")}
            await self.store.ask("/v3/kv/deleterange", question, repeatable=True)


Story = Callable[[Scene], Awaitable[None]]
Play = Callable[[Story], None]


@pytest.fixture
def play(etcd: EtcdCluster, tmp_path: Path) -> Play:
    def run(story: Story) -> None:
        store = EtcdStore(etcd.endpoints, watch_silence_seconds=3)

        async def whole(door: Door) -> None:
            scene = Scene(door, store, Program(door, "db"), Program(door, "db-2"))
            await scene.empty()
            try:
                for name in ("db", "db-2"):
                    word = f"{name}-word"
                    value = WORD if name == "db" else "another word"
                    await scene.set_secret(word, f"{value}\n", SecretVerb.SET)
                    await door.operations.apply(using(name, word))
                await door.seen()
                await scene.db.log_in()
                await scene.other.log_in("another word")
                await story(scene)
            finally:
                await store.close()

        serve(tmp_path / "door", whole, gateway=store)

    return run


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
            assert await anext(answers, None) is None  # it was silent, and so may be dead

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

    play(story)


def test_a_token_ends_with_the_word_that_it_was_given_for(play: Play) -> None:
    async def story(scene: Scene) -> None:
        db, prefix = scene.db, {"key": b64(scene.db.prefix)}
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
            assert [each async for each in answers if "events" not in each["result"]] == []

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
        async with asyncio.timeout(10):
            while (await db.ask("watch", {"create_request": {}}))[1]["code"] != 7:
                pass
        async with db.watching(said) as again:
            await anext(again)

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
