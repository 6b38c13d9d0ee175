"""What strangers may cost a controller and a looking glass."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest
import structlog

from pltfrms.agent import glass as looking
from pltfrms.agent.glass import SOCKET_NAME, GlassNetwork, run_glass
from pltfrms.api.bounds import connections as bounds
from pltfrms.api.bounds import serving, shares
from pltfrms.api.bounds.callers import CallerKind
from pltfrms.api.bounds.shares import Lane, Rate, Share
from pltfrms.drivers.identity.tls import client_context, server_context
from pltfrms.model.identity.words import machine_server_name
from pltfrms.model.messages.api import Heartbeat
from pltfrms.model.running.state import MachineStatus
from tests.api.door import PLATFORM, Door, believing, serve
from tests.drivers.identity.authority import Office

BEAT = Heartbeat(status=MachineStatus(machine="fra-n1"))
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def silent(door: Door, count: int) -> list[Line]:
    """Connect, and say nothing."""
    return [
        await asyncio.open_connection("127.0.0.1", door.port, local_addr=("127.0.0.9", 0))
        for _ in range(count)
    ]


async def ended(line: Line) -> None:
    with contextlib.suppress(OSError):
        assert not await line[0].read(1)


async def until(holds: Callable[[], bool]) -> None:
    """Return when something holds; it must, soon."""
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.01)
    assert holds()


async def close(*lines: Line) -> None:
    for _, writer in lines:
        writer.transport.abort()
    await asyncio.sleep(0)


def test_who_connects_and_shakes_no_hands_takes_room_and_is_sent_away_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "HANDSHAKE_SECONDS", 2.0)

    async def story(door: Door) -> None:
        connections = door.doors.connections
        lines = await silent(door, 3)
        await until(lambda: connections.count(CallerKind.STRANGER) == 3)
        async with asyncio.timeout(10):
            await asyncio.gather(*map(ended, lines))
        await until(lambda: connections.closed["no handshake"] == 3)
        assert connections.count(CallerKind.STRANGER) == 0
        await close(*lines)

    serve(tmp_path, story)


def test_who_shakes_no_hands_often_ends_what_is_his_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "OF_EACH", 5)

    async def story(door: Door) -> None:
        agent = door.agent(await door.join("fra-n1"))
        await agent.heartbeat(BEAT)
        lines = await silent(door, 20)
        async with asyncio.timeout(5):
            await asyncio.gather(*map(ended, lines[:15]))
        assert door.doors.connections.count(CallerKind.STRANGER) == 5 + 1
        await agent.heartbeat(BEAT)
        await close(*lines)
        await agent.close()

    serve(tmp_path, story)


def test_who_connects_all_the_time_costs_no_signatures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Share(seats=0, rate=Rate(per_second=0.001, burst=10))
    monkeypatch.setitem(shares.OF_STRANGERS, Lane.CONNECT, few)

    async def story(door: Door) -> None:
        lines = await silent(door, 30)
        async with asyncio.timeout(5):
            await asyncio.gather(*map(ended, lines[10:]))
        assert door.doors.connections.count(CallerKind.STRANGER) == 10
        assert door.doors.shares.refused[Lane.CONNECT, "rate"] == 20
        agent = door.agent(await door.join("fra-n1"))
        await agent.heartbeat(BEAT)
        await close(*lines)
        await agent.close()

    serve(tmp_path, story)


def test_who_is_refused_all_the_time_is_counted_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Share(seats=16, rate=Rate(per_second=0.001, burst=5))
    monkeypatch.setitem(shares.OF_STRANGERS, Lane.OTHER, few)

    async def story(door: Door) -> None:
        context = client_context(door.file, believing, stranger=True)
        with structlog.testing.capture_logs() as logs:
            answers = [await door.ask(context, "GET", f"/v1/targets/{n}") for n in range(5)] + [
                await door.ask(context, "POST", "/v1/heartbeats") for _ in range(5)
            ]
        assert [each.status_code for each in answers] == [403] * 5 + [429] * 5
        assert [each.headers.get("connection") for each in answers[4:6]] == [None, "close"]
        assert [each["event"] for each in logs] == ["refused"]
        refused = door.doors.shares.refused
        assert (refused[Lane.WAIT, "forbidden"], refused[Lane.HEARTBEAT, "forbidden"]) == (5, 5)

    serve(tmp_path, story)


def test_certificates_of_others_are_counted_and_said_once(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        file = Office(PLATFORM.name, door.now_ms).identity(tmp_path / "other", "fra-n1")
        context = client_context(door.file, believing, stranger=True)
        context.load_cert_chain(file.path)
        with structlog.testing.capture_logs() as logs:
            for _ in range(5):
                with contextlib.suppress(Exception):
                    await door.ask(context, "GET", "/healthz")
        assert [each["event"] for each in logs] == ["certificate refused"]
        await until(lambda: door.doors.connections.closed["no handshake"] == 5)

    serve(tmp_path, story)


def test_a_looking_glass_waits_for_no_handshake_and_keeps_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    monkeypatch.setattr(looking, "HANDSHAKE_SECONDS", 3.0)
    monkeypatch.setattr(looking, "GLASS_PORT", unused_port)
    monkeypatch.setattr(looking, "_LINES_MAX", 3)

    async def run() -> None:
        async def connect() -> Line:
            return await asyncio.open_connection("::1", unused_port)

        office = Office(PLATFORM.name, time.time_ns() // 1_000_000)
        server = office.identity(tmp_path / "n", "fra-n1")
        network = GlassNetwork(
            address=IPv6Address("::1"),
            clients=IPv6Network("::1/128"),
            tls=server_context(server, lambda _why: None, required=True),
            platform=lambda: PLATFORM,
        )
        serving = asyncio.create_task(run_glass(tmp_path, network, tmp_path / "bird.ctl"))
        await until(lambda: (tmp_path / SOCKET_NAME).exists() or serving.done())
        await asyncio.sleep(0.1)
        silent = [await connect() for _ in range(3)]
        late = await connect()  # one too many
        async with asyncio.timeout(2.5):
            await ended(late)
        async with asyncio.timeout(10):
            await asyncio.gather(*map(ended, silent))
        asking = office.identity(tmp_path / "c", "fra-c1", controller=True)
        reader, writer = await asyncio.open_connection(
            "::1",
            unused_port,
            ssl=client_context(asking, believing),
            server_hostname=machine_server_name(PLATFORM.name, "fra-n1"),
        )
        assert b"looking glass ready" in await reader.readline()
        await close((reader, writer), late, *silent)
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    asyncio.run(run())


@pytest.fixture
def unused_port() -> int:
    with contextlib.closing(socket.socket(socket.AF_INET6)) as bound:
        bound.bind(("::1", 0))
        return int(bound.getsockname()[1])
