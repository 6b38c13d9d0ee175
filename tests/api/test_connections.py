"""Slow and many clients over real sockets: each harms itself alone."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from pltfrms.api.bounds import connections as bounds
from pltfrms.api.bounds.callers import Caller, CallerKind, Callers
from pltfrms.api.bounds.connections import Connections, bounded_by
from pltfrms.api.bounds.shares import HEARTBEATS

GET = b"GET / HTTP/1.1\r\nHost: c\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: c\r\n"
LARGE = b"x" * 20_000_000
PIECE = b"x" * 50_000
"""Of which a client is sent one more while it has not taken those before."""
SHORT = 0.4


@dataclass
class Served:
    """A server that answers questions of all kinds."""

    port: int
    connections: Connections
    asked: list[str]
    given_up: list[str]
    """Machines that did not wait for the answer to a heartbeat."""
    waited: list[tuple[str, float]]
    """Who waited instead, and for how long (seconds)."""
    clients: list["Client"] = field(default_factory=list)

    async def connect(self, source: str = "127.0.0.1") -> "Client":
        """Connect from an address of this machine."""
        ends = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(source, 0), limit=1 << 12
        )
        self.clients.append(Client(*ends))
        return self.clients[-1]

    @property
    def open(self) -> int:
        """How many connections the server has."""
        return self.connections.count(CallerKind.STRANGER)

    async def ended(self) -> None:
        """Return when the server has ended all connections."""
        while self.open:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(SHORT / 10)


@dataclass
class Client:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self) -> tuple[int, bytes]:
        """Return status and content of the next answer; 0 if the connection ends before."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            )
            return int(head.split()[1]), await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, OSError):
            return 0, b""

    async def ask(self) -> int:
        """Return the status code of a question."""
        self.writer.write(GET)
        return (await self.answer())[0]

    def send(self, some: bytes) -> None:
        """Send bytes."""
        self.writer.write(some)

    async def ended(self) -> None:
        """Return when the server has ended it."""
        with contextlib.suppress(OSError):
            while await self.reader.read(65_536):
                pass


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    scope["state"]["asked"].append(scope["path"])
    while (b"early", b"1") not in scope["headers"] and (await receive()).get("more_body"):
        pass
    if scope["path"] in {"/long", HEARTBEATS}:
        await asyncio.sleep(2 * SHORT)
    body = {"/large": LARGE, "/piece": PIECE}.get(scope["path"], b"ok")
    if scope["path"] == "/said":
        body = b", ".join(b"%s=%s" % header for header in scope["headers"])
    length = str(len(body)).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]}
    )
    if scope["path"] == "/piece":
        await send({"type": "http.response.body", "body": PIECE})
        return
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def serving(strangers: int = 2048, idle_seconds: int = 5) -> AsyncIterator[Served]:
    """Serve on a port of this machine."""
    given_up: list[str] = []
    waited: list[tuple[str, float]] = []
    connections = Connections(
        Callers(lambda: None), strangers, given_up.append, lambda *who: waited.append(who)
    )
    config = uvicorn.Config(
        _app,
        http=bounded_by(connections),
        ws="none",
        log_config=None,
        log_level="critical",
        lifespan="off",
        timeout_graceful_shutdown=0,
        timeout_keep_alive=idle_seconds,
    )
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    config.load()
    asked: list[str] = []
    server.lifespan = config.lifespan_class(config)
    server.lifespan.state["asked"] = asked
    await server.startup([bound])
    try:
        served = Served(bound.getsockname()[1], connections, asked, given_up, waited)
        yield served
    finally:
        for client in served.clients:
            client.writer.transport.abort()
        await asyncio.sleep(0)
        await server.shutdown([bound])


def play(
    story: Callable[[Served], Awaitable[None]], strangers: int = 2048, idle_seconds: int = 5
) -> None:
    """Run a story against a server."""

    async def run() -> None:
        async with serving(strangers, idle_seconds) as served:
            await asyncio.wait_for(asyncio.ensure_future(story(served)), 20)

    asyncio.run(run())


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "WHOLE_SECONDS", SHORT)
    monkeypatch.setattr(bounds, "TAKEN_SECONDS", SHORT)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("begin", "reason"),
    [
        (b"", "no question"),
        (GET[:-2], "slow question"),
        (POST + b"Content-Length: 100\r\n\r\n", "slow question"),
    ],
    ids=["nothing", "headers", "body"],
)
@pytest.mark.parametrize("kept", [False, True])
def test_a_client_that_sends_a_byte_now_and_then_is_closed_in_time(
    begin: bytes, reason: str, *, kept: bool
) -> None:
    async def story(served: Served) -> None:
        slow = await served.connect()
        if kept:
            assert await slow.ask() == 200
        began = asyncio.get_running_loop().time()
        slow.send(begin)

        async def drip() -> None:
            while begin:
                await asyncio.sleep(SHORT / 8)
                slow.send(b"X")

        dripping = asyncio.create_task(drip())
        await slow.ended()
        dripping.cancel()
        assert asyncio.get_running_loop().time() - began < 3 * SHORT
        assert served.connections.closed == {reason: 1}
        assert served.open == 0

    play(story)


@pytest.mark.usefixtures("short")
def test_a_question_that_takes_long_is_waited_for() -> None:
    async def story(served: Served) -> None:
        client = await served.connect()
        client.send(GET.replace(b"/", b"/long", 1))
        assert await client.answer() == (200, b"ok")
        assert await client.ask() == 200
        assert not served.connections.closed

    play(story)


@pytest.mark.usefixtures("short")
def test_a_client_that_does_not_take_its_answer_is_closed_in_time() -> None:
    async def story(served: Served) -> None:
        client = await served.connect()
        client.send(GET.replace(b"/", b"/large", 1))
        await served.ended()
        assert served.connections.closed == {"slow reader": 1}

    play(story)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    "asked",
    [GET.replace(b"/", b"/large", 1), GET.replace(b"/", b"/piece", 1) * 400],
    ids=["one", "many"],
)
def test_who_says_more_has_no_more_time_to_take_his_answer(asked: bytes) -> None:
    async def story(served: Served) -> None:
        client = await served.connect()
        client.send(asked)
        await asyncio.sleep(SHORT / 4)
        client.send(b"X")
        await served.ended()
        assert served.connections.closed == {"slow reader": 1}

    play(story)


def test_a_connection_without_a_question_is_closed_some_time_after_an_answer() -> None:
    async def story(served: Served) -> None:
        client = await served.connect()
        assert await client.ask() == 200
        await client.ended()
        assert not served.connections.closed  # it is no fault of anybody's

    play(story, idle_seconds=1)


def test_a_client_that_takes_its_answer_gets_all_of_it() -> None:
    async def story(served: Served) -> None:
        client = await served.connect()
        client.send(GET.replace(b"/", b"/large", 1))
        assert await client.answer() == (200, LARGE)

    play(story)


def test_one_caller_with_too_many_connections_ends_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "OF_EACH", 20)

    async def story(served: Served) -> None:
        other = await served.connect("127.0.0.2")
        assert await other.ask() == 200
        slow = [await served.connect() for _ in range(100)]
        for each in slow:
            each.send(GET[:5])
        await asyncio.sleep(0.1)
        assert served.open == 21
        assert served.connections.closed["too many of one caller"] == 80
        late = await served.connect()
        assert (await other.ask(), await late.ask()) == (200, 200)

    play(story)


def test_a_connection_is_whose_machine_the_platform_says_at_each_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Caller(CallerKind.MACHINE, "fra-n1")
    by_an_old_file = Caller(CallerKind.MACHINE, "fra-n9")

    async def story(served: Served) -> None:
        agent = await served.connect()
        assert await agent.ask() == 200
        assert served.open == 1
        for who in (by_an_old_file, machine):
            monkeypatch.setattr(Callers, "behind", lambda *_, who=who: who)
            assert await agent.ask() == 200
            assert (served.open, served.connections.count(CallerKind.MACHINE)) == (0, 1)
            assert list(served.connections._open) == [who]
        agent.writer.close()
        await asyncio.sleep(0.1)
        assert served.connections.count(CallerKind.MACHINE) == 0

    play(story)


def test_a_machine_that_does_not_wait_for_the_answer_to_its_heartbeat_is_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(served: Served) -> None:
        for name, path, waits in (
            ("fra-n1", HEARTBEATS, True),
            ("fra-n2", HEARTBEATS, False),
            ("fra-n3", "/long", False),
            ("", HEARTBEATS, False),
        ):
            caller = Caller(CallerKind.MACHINE if name else CallerKind.STRANGER, name)
            monkeypatch.setattr(Callers, "behind", lambda *_, who=caller: who)
            agent = await served.connect()
            agent.send(GET.replace(b"/", path.encode(), 1))
            if waits:
                assert await agent.answer() == (200, b"ok")
            else:
                await asyncio.sleep(0.1)
            agent.writer.transport.abort()
            await asyncio.sleep(0.1)
        assert served.given_up == ["fra-n2"]
        ((name, waited),) = served.waited
        assert name == "fra-n1"
        assert waited >= 2 * SHORT

    play(story)


def test_who_is_refused_before_he_has_said_all_has_waited_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caller = Caller(CallerKind.MACHINE, "fra-n1")
    monkeypatch.setattr(Callers, "behind", lambda *_: caller)

    async def story(served: Served) -> None:
        agent = await served.connect()
        head = POST.replace(b"/", HEARTBEATS.encode(), 1)
        agent.send(head + b"Early: 1\r\nContent-Length: 3\r\n\r\nab")
        assert await agent.answer() == (200, b"ok")
        assert served.waited == []
        agent.send(b"c" + GET)
        assert await agent.answer() == (200, b"ok")
        assert served.asked == [HEARTBEATS, "/"]

    play(story)


class _Writes:
    """A transport that writes down what it is to send at once."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.ended = ""

    def write(self, data: bytes) -> None:
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


def test_a_small_answer_is_sent_as_one_piece_and_a_large_one_at_once() -> None:
    async def story() -> None:
        line, loop = _Writes(), asyncio.get_running_loop()
        together = bounds.Together(cast("asyncio.Transport", line), loop)
        together.write(b"head ")
        together.write(b"body")
        assert line.sent == []
        await asyncio.sleep(0)
        assert line.sent == [b"head body"]
        together.write(b"head ")
        together.write(LARGE)
        assert line.sent[1:] == [b"head " + LARGE]
        together.write(b"last")
        together.close()
        assert (line.sent[-1], line.ended) == (b"last", "closed")
        together.write(b"never")
        together.abort()
        await asyncio.sleep(0)
        assert (line.sent[-1], line.ended) == (b"last", "aborted")

    asyncio.run(story())


def test_strangers_that_are_too_many_end_those_of_whom_there_are_most() -> None:
    async def story(served: Served) -> None:
        others = [await served.connect(f"127.0.0.{n}") for n in range(2, 7)]
        for _ in range(100):
            await served.connect()
        await asyncio.sleep(0.1)
        assert served.open == 30
        assert [await each.ask() for each in others] == [200] * 5

    play(story, strangers=30)


def test_who_is_being_answered_is_not_ended_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "OF_EACH", 3)

    async def story(served: Served) -> None:
        asking = [await served.connect() for _ in range(3)]
        for each in asking:
            each.send(GET.replace(b"/", b"/long", 1))
        await asyncio.sleep(0.1)
        refused = await served.connect()
        assert await refused.ask() == 0
        assert [await each.answer() for each in asking] == [(200, b"ok")] * 3
        assert await (await served.connect()).ask() == 200

    play(story)
