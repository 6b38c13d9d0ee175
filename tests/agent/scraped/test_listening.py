"""Who gets metrics of a machine, over a real socket: with a token, by TLS or plainly."""

import asyncio
import contextlib
import socket
import ssl
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from pltfrms.agent.scraped import listening
from pltfrms.agent.scraped.listening import LINES_EACH, MetricsDoor, MetricsServer
from pltfrms.drivers.identity.tls import (
    client_context,
    server_context,
    trusting_context,
)
from pltfrms.model.identity.words import machine_server_name, machines_server_name
from pltfrms.model.network.readers import MetricsReader, fingerprint
from tests.drivers.identity.authority import Office

TOKEN = f"metrics.{'0a' * 32}"
OTHER = f"metrics.{'0b' * 32}"
PROMETHEUS = MetricsReader(name="prometheus", sha256=fingerprint(TOKEN))


@dataclass
class Machine:
    """One that tells metrics on loopback."""

    port: int
    readers: tuple[MetricsReader, ...] = (PROMETHEUS,)
    made: int = 0

    def text(self) -> str:
        self.made += 1
        return f"a {self.made}\n"

    async def line(
        self, tls: ssl.SSLContext | None = None, name: str | None = None
    ) -> tuple[StreamReader, StreamWriter]:
        return await asyncio.open_connection("::1", self.port, ssl=tls, server_hostname=name)

    async def ask(
        self,
        token: str = TOKEN,
        path: str = "/metrics",
        tls: ssl.SSLContext | None = None,
        name: str | None = None,
    ) -> tuple[int, str]:
        shown = f"Authorization: Bearer {token}\r\n" if token else ""
        return await self.say(f"GET {path} HTTP/1.1\r\nHost: m\r\n{shown}\r\n", tls, name)

    async def say(
        self, text: str, tls: ssl.SSLContext | None = None, name: str | None = None
    ) -> tuple[int, str]:
        """Return the status and the content of the answer; 0: there is none."""
        reader, writer = await self.line(tls, name)
        writer.write(text.encode())
        said = (await reader.read()).decode()
        writer.close()
        head, _, content = said.partition("\r\n\r\n")
        return int(head.split()[1]) if head else 0, content


async def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def listens(port: int) -> bool:
    with contextlib.closing(socket.socket(socket.AF_INET6)) as trial:
        return trial.connect_ex(("::1", port)) == 0


@asynccontextmanager
async def machine(
    monkeypatch: pytest.MonkeyPatch,
    tls: ssl.SSLContext | None = None,
    readers: tuple[MetricsReader, ...] = (PROMETHEUS,),
) -> AsyncIterator[Machine]:
    with contextlib.closing(socket.socket(socket.AF_INET6)) as bound:
        bound.bind(("::1", 0))
        port = int(bound.getsockname()[1])
    monkeypatch.setattr(listening, "METRICS_PORT", port)
    monkeypatch.setattr(listening, "_LOOK_SECONDS", 0.05)
    there = Machine(port, readers)
    door = MetricsDoor(address=IPv6Address("::1"), readers=lambda: there.readers, tls=tls)
    serving = asyncio.ensure_future(MetricsServer(door, there.text).run())
    try:
        if readers:
            await until(lambda: listens(port))
        yield there
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


def test_who_shows_the_token_of_a_reader_gets_them_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        async with machine(monkeypatch) as there:
            assert await there.ask() == (200, "a 1\n")
            for wrong in ("", OTHER, TOKEN[:-1], PROMETHEUS.sha256, f"metrics.{TOKEN}"):
                status, said = await there.ask(wrong)
                assert (status, said.startswith("a ")) == (403, False), wrong
            assert (await there.ask(path="/metrics/"))[0] == 404
            assert (await there.ask(path="/v1/snapshot"))[0] == 404
            assert (await there.say("POST /metrics HTTP/1.1\r\nHost: m\r\n\r\n"))[0] == 404
            assert there.made == 1

    asyncio.run(story())


def test_what_is_no_question_is_answered_or_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with machine(monkeypatch) as there:
            assert (await there.say("hello\r\n\r\n"))[0] == 400
            long = "x" * 20_000
            assert (await there.say(f"GET /metrics HTTP/1.1\r\nA: {long}\r\n\r\n"))[0] in {
                0,
                400,
            }
            with monkeypatch.context() as soon, contextlib.suppress(ConnectionError):
                soon.setattr(listening, "_SECONDS", 0.5)
                assert await there.say("GET /metrics") == (0, "")  # it never ends
            assert (await there.ask())[0] == 200

    asyncio.run(story())


def test_a_reader_who_is_not_named_any_more_gets_nothing_and_without_any_nobody_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        async with machine(monkeypatch, readers=()) as there:
            await asyncio.sleep(0.2)
            assert not listens(there.port)
            there.readers = (PROMETHEUS,)
            await until(lambda: listens(there.port))
            assert (await there.ask())[0] == 200
            there.readers = (MetricsReader(name="other", sha256=fingerprint(OTHER)),)
            assert (await there.ask())[0] == 403
            assert (await there.ask(OTHER))[0] == 200
            there.readers = ()
            await until(lambda: not listens(there.port))

    asyncio.run(story())


def test_who_asks_all_the_time_has_them_made_once_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "_FRESH_SECONDS", 60.0)

    async def story() -> None:
        async with machine(monkeypatch) as there:
            assert {await there.ask() for _ in range(20)} == {(200, "a 1\n")}
            monkeypatch.setattr(listening, "_FRESH_SECONDS", 0.0)
            assert await there.ask() == (200, "a 2\n")

    asyncio.run(story())


def test_who_says_nothing_takes_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "_SECONDS", 60.0)

    async def ended(line: tuple[StreamReader, StreamWriter]) -> None:
        with contextlib.suppress(ConnectionError):
            assert await line[0].read() == b""
        line[1].close()

    async def status(there: Machine) -> int:
        try:
            return (await there.ask())[0]
        except ConnectionError:
            return 0

    async def story() -> None:
        async with machine(monkeypatch) as there:
            lines = [await there.line() for _ in range(LINES_EACH)]
            silent = [asyncio.ensure_future(ended(each)) for each in lines]
            await ended(await there.line())  # one too many
            assert not any(each.done() for each in silent)
            for _, writer in lines:
                writer.transport.abort()
            await asyncio.gather(*silent)
            async with asyncio.timeout(20):
                while await status(there) != 200:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.02)

    asyncio.run(story())


def test_by_tls_every_machine_answers_by_one_name_to_who_shows_no_certificate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def story() -> None:
        office = Office("example", time.time_ns() // 1_000_000)
        own = office.identity(tmp_path, "fra-n1")
        roots = trusting_context(own.read().roots)
        async with machine(monkeypatch, server_context(own, lambda _why: None)) as there:
            name = machines_server_name("example")
            assert (await there.ask(tls=roots, name=name))[0] == 200
            assert (await there.ask(OTHER, tls=roots, name=name))[0] == 403
            assert (await there.ask("", tls=client_context(own, lambda _: ""), name=name))[
                0
            ] == 403
            with pytest.raises(ssl.SSLCertVerificationError):
                await there.ask(tls=roots, name=machine_server_name("example", "fra-n2"))
            with pytest.raises(ssl.SSLCertVerificationError):
                await there.ask(tls=ssl.create_default_context(), name=name)
            with contextlib.suppress(ConnectionError):
                assert await there.ask() == (0, "")  # plainly

    asyncio.run(story())
