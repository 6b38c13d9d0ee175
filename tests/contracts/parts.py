"""A service that has a part of the store, and what it is asked through, on loopback."""

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2

from pltfrms.controller.asked.secrets import Secrets
from pltfrms.controller.records.auditing import NOBODY
from pltfrms.drivers.identity.tls import trusting_context
from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.model.identity.words import controllers_server_name
from pltfrms.model.messages.api import Change
from pltfrms.model.messages.secrets import SecretChange, SecretVerb
from pltfrms.model.services.parts import StoreUse, part_of
from pltfrms.model.services.secrets import SecretUse
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


def playing(etcd: EtcdCluster, tmp_path: Path, silence_seconds: float = 60.0) -> Play:
    """Return what has a story happen in a scene of its own."""

    def run(story: Story) -> None:
        store = EtcdStore(etcd.endpoints, watch_silence_seconds=silence_seconds)

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
