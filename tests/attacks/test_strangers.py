"""What somebody tries who is not who he says, or may not what he asks: one row for each.

Every row is refused in words or by TLS itself, counted, and changes nothing in the store.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import pytest

from pltfrms.agent.control.targets import Targets
from pltfrms.codec import encode
from pltfrms.controller.records.state import EVENTS, PLATFORM_KEY, commit_mark
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.disk import DirectoryDisk
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.identity.keys import make_key, make_request, sign_text
from pltfrms.drivers.identity.tls import client_context
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import ConflictError, SpecError, UsageError
from pltfrms.model.identity.lives import DAY_MS
from pltfrms.model.identity.words import (
    JoinAsk,
    JoinToken,
    RenewalAsk,
    ReturnAsk,
    TokenAsk,
    return_text,
)
from pltfrms.model.messages.api import Change, Event, Heartbeat
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import MachineStatus
from pltfrms.planner.identity.tokens import TOKEN_MS
from pltfrms.specfile import load_platform
from tests.api.door import PLATFORM, Door, believing, serve
from tests.drivers.identity.authority import Office

BY_TLS = 0
"""In place of a status code: there is no answer."""
Said = tuple[int, str]
Try = Callable[[], Awaitable[Said]]
SPEC = encode(Change(platform=replace(PLATFORM, machines=PLATFORM.machines[:-1])))
BEAT = encode(Heartbeat(status=MachineStatus(machine="fra-n1")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Somebody with an identity, or with none."""

    door: Door
    file: IdentityFile
    stranger: bool = False

    async def ask(self, method: str, path: str, body: bytes = b"") -> Said:
        context = client_context(self.door.file, believing, stranger=True)
        if not self.stranger:
            context.load_cert_chain(self.file.path)
        try:
            answer = await self.door.ask(context, method, path, body)
        except httpx2.TransportError:
            return BY_TLS, ""
        return answer.status_code, answer.text


async def nobody(door: Door) -> Asking:
    return Asking(door=door, file=door.file, stranger=True)


async def a_node(door: Door) -> Asking:
    return Asking(door=door, file=await door.join("fra-n1"))


async def a_controller(door: Door) -> Asking:
    """Ask as one that may ask everything, so that only what is asked is at fault."""
    await door.known.own.look()
    await door.seen()
    return Asking(door=door, file=door.file)


async def of_another_authority(door: Door) -> Asking:
    office = Office(PLATFORM.name, door.now_ms)
    return Asking(door=door, file=office.identity(door.directory / "other", "fra-n1"))


async def expired(door: Door) -> Asking:
    node = await a_node(door)
    node.file.renew(door.signed_at(door.now_ms - 31 * DAY_MS, node.file), door.now_ms)
    return node


async def removed(door: Door) -> Asking:
    node = await a_node(door)
    rest = tuple(each for each in PLATFORM.machines if each.name != "fra-n1")
    less = encode(replace(PLATFORM, machines=rest))
    await door.store.commit([Put(key=PLATFORM_KEY, value=less), commit_mark("t", 0)])
    await door.known.identities._revoke("fra-n1")
    await door.seen()
    return node


async def joined_again(door: Door) -> Asking:
    old = await a_node(door)
    kept = old.file.path.read_bytes()
    await door.join("fra-n1")
    old.file.path.write_bytes(kept)
    return old


async def signed_by_a_removed_controller(door: Door) -> Asking:
    await a_node(door)
    return Asking(door=door, file=door.forged("fra-n1", "fra-c9"))


Who = Callable[[Door], Awaitable[Asking]]


def asks(
    who: Who, method: str, path: str, body: bytes = b""
) -> Callable[[Door], Awaitable[Try]]:
    async def prepare(door: Door) -> Try:
        asking = await who(door)
        return lambda: asking.ask(method, path, body)

    return prepare


def joins(
    change: Callable[[JoinAsk], JoinAsk] = lambda ask: ask,
    before: Callable[[Door, JoinToken], Awaitable[None]] | None = None,
) -> Callable[[Door], Awaitable[Try]]:
    """Join with a good token, but for one thing."""

    async def prepare(door: Door) -> Try:
        token = await door.token("fra-n1")
        if before:
            await before(door, token)
        request = make_request(make_key(), PLATFORM.name, "fra-n1")
        ask = JoinAsk(machine=token.machine, secret=token.secret, request=request)
        stranger = await nobody(door)
        return lambda: stranger.ask("POST", "/v1/identity/join", encode(change(ask)))

    return prepare


async def use(door: Door, token: JoinToken) -> None:
    request = make_request(make_key(), PLATFORM.name, "fra-n1")
    ask = JoinAsk(machine="fra-n1", secret=token.secret, request=request)
    await door.known.identities.join(ask)


async def wait_an_hour(door: Door, _token: JoinToken) -> None:
    clock = door.controller.clock
    later = clock.unix_ms() + TOKEN_MS
    door.known.identities._clock = _Later(later)


class _Later(SystemClock):
    """A clock by which it is later."""

    def __init__(self, unix_ms: int) -> None:
        self._unix_ms = unix_ms

    def unix_ms(self) -> int:
        return self._unix_ms


async def an_answer_again(door: Door) -> Try:
    """Say again what a machine said that came back by its key."""
    node = await a_node(door)
    nonce = door.known.identities.nonce("fra-n1").nonce
    signature = sign_text(node.file.key(), return_text("fra-n1", nonce))
    request = node.file.read().request
    ask = ReturnAsk(machine="fra-n1", nonce=nonce, request=request, signature=signature)
    await door.known.identities.give_back(ask)
    stranger = await nobody(door)
    return lambda: stranger.ask("POST", "/v1/identity/return", encode(ask))


async def a_renewal_for_another_key(door: Door) -> Try:
    node = await a_node(door)
    request = make_request(make_key(), PLATFORM.name, "fra-n1")
    ask = RenewalAsk(machine="fra-n1", request=request)
    return lambda: node.ask("POST", "/v1/identity/renewal", encode(ask))


def beat(status: str = "fra-n1", source: str = "fra-n1") -> bytes:
    event = Event(at_ms=1, source=source, about=f"machine/{source}", what="agent started")
    return encode(Heartbeat(status=MachineStatus(machine=status), events=(event,)))


def deep(levels: int) -> bytes:
    return b'{"services":' + b"[" * levels + b"]" * levels + b"}"


ROWS: dict[str, tuple[Callable[[Door], Awaitable[Try]], int, str]] = {
    "no certificate, a report": (
        asks(nobody, "POST", "/v1/heartbeats", BEAT), 403, "shows no certificate"),
    "no certificate, a spec": (
        asks(nobody, "POST", "/v1/apply", SPEC), 403, "shows no certificate"),
    "no certificate, a target": (
        asks(nobody, "GET", "/v1/targets/fra-n1"), 403, "shows no certificate"),
    "certificate of another authority": (
        asks(of_another_authority, "POST", "/v1/heartbeats", BEAT), BY_TLS, ""),
    "certificate of an authority of a removed controller": (
        asks(signed_by_a_removed_controller, "POST", "/v1/heartbeats", BEAT),
        403, "with another key"),
    "expired certificate": (asks(expired, "POST", "/v1/heartbeats", BEAT), BY_TLS, ""),
    "certificate of a removed machine": (
        asks(removed, "POST", "/v1/heartbeats", BEAT), 403, "no machine fra-n1 any more"),
    "certificate from before it joined again": (
        asks(joined_again, "POST", "/v1/heartbeats", BEAT), 403, "has joined again"),
    "a node writes a spec": (asks(a_node, "POST", "/v1/apply", SPEC), 403, "its own target"),
    "a node deletes a service": (
        asks(a_node, "DELETE", "/v1/services/web"), 403, "its own target"),
    "a node makes a token": (
        asks(a_node, "POST", "/v1/identity/tokens", encode(TokenAsk(machine="fra-n2"))),
        403, "its own target"),
    "a node says how another one is": (
        asks(a_node, "POST", "/v1/heartbeats", beat(status="fra-n2")),
        403, "may not speak as fra-n2"),
    "a node tells an event of another one": (
        asks(a_node, "POST", "/v1/heartbeats", beat(source="fra-c1")),
        403, "may not speak as fra-c1"),
    "a node reads the target of another one": (
        asks(a_node, "GET", "/v1/targets/fra-n2"), 403, "its own target"),
    "a node reads all": (asks(a_node, "GET", "/v1/snapshot"), 403, "its own target"),
    "a node renews for another key": (
        a_renewal_for_another_key, 403, "joined with another key"),
    "a node comes back a second time with the same words": (
        an_answer_again, 403, "nonce is not valid any more"),
    "a used token": (joins(before=use), 403, "has been used"),
    "a token after an hour": (joins(before=wait_an_hour), 403, "has expired"),
    "a token for another machine": (
        joins(lambda ask: replace(ask, machine="fra-n2")), 403, "for another machine"),
    "a guessed token": (
        joins(lambda ask: replace(ask, secret="0" * 32)), 403, "token is not valid"),
    "a path in the name of who joins": (
        joins(lambda ask: replace(ask, machine="../tokens/fra-n1")), 404, "no machine"),
    "a path in the name of a target": (
        asks(a_controller, "GET", "/v1/targets/..%2F..%2Fetc%2Fpasswd"), 404, "no "),
    "a path in the name of a service": (
        asks(a_controller, "DELETE", "/v1/services/..%2Fplatform"), 404, "no "),
    "a path in the name of a machine that gets a token": (
        asks(a_controller, "POST", "/v1/identity/tokens", encode(TokenAsk(machine="../x"))),
        404, "no machine"),
    "an oversize body": (
        asks(a_node, "POST", "/v1/heartbeats", b" " * (2 * 1024 * 1024 + 1)),
        413, "larger than"),
    "a deeply nested body": (asks(a_controller, "POST", "/v1/apply", deep(100_000)), 400, ""),
    "a body that is none": (asks(a_controller, "POST", "/v1/apply", b"{"), 400, ""),
}  # fmt: skip


async def stored(door: Door) -> dict[str, bytes]:
    """Return all that the store holds but what controllers tell of themselves."""
    listing = await door.store.list("/")
    return {
        each.key: each.value
        for each in listing.entries
        if not each.key.startswith(EVENTS) and not each.lease
    }


def counted(door: Door) -> int:
    return door.doors.shares.refused.total() + door.doors.connections.closed.total()


@pytest.mark.parametrize("row", ROWS)
def test_it_is_refused_and_counted_and_changes_nothing(tmp_path: Path, row: str) -> None:
    prepare, status, says = ROWS[row]

    async def story(door: Door) -> None:
        attempt = await prepare(door)
        before, count = await stored(door), counted(door)
        told, text = await attempt()
        assert told == status, text
        assert says in text
        if text:
            assert json.loads(text)["nothing_done"] is True
        for _ in range(500):  # a connection that was refused ends soon
            if counted(door) > count:
                break
            await asyncio.sleep(0.01)
        assert counted(door) > count
        assert await stored(door) == before

    serve(tmp_path, story)


def test_a_target_from_before_is_not_taken_again(tmp_path: Path) -> None:
    targets = Targets("fra-n1", DirectoryDisk(tmp_path), lambda: PLATFORM)
    for generation in (5, 9):
        targets.accept(Target(machine="fra-n1", generation=generation, platform=PLATFORM))
    kept = (tmp_path / "target.json").read_bytes()
    for generation in (5, 9):
        with pytest.raises(ConflictError, match="generation 9 is in force"):
            targets.accept(Target(machine="fra-n1", generation=generation, platform=PLATFORM))
    with pytest.raises(UsageError, match="target for fra-n2 refused"):
        targets.accept(Target(machine="fra-n2", generation=10, platform=PLATFORM))
    assert (tmp_path / "target.json").read_bytes() == kept


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "anchors"),
        ("platform: " + "[" * 2000 + "]" * 2000 + "\n", "nested too deeply"),
        ("platform: " + "{a: " * 2000 + "1" + "}" * 2000 + "\n", "nested too deeply"),
        ("platform: !!python/object/apply:os.system [id]\n", "must be text, not a list"),
    ],
    ids=["aliases", "lists", "maps", "tags"],
)
def test_a_bomb_of_yaml_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "platform.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=why):
        load_platform(path)
