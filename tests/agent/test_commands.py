"""Whom a node obeys that is told to run something in an instance, and for how long."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pltfrms.agent.commands import AT_ONCE, CommandRunner
from pltfrms.codec import decode, encode
from pltfrms.drivers.glass.server import GlassLimits, LookingGlass
from pltfrms.drivers.workload.ports import Workload
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.commands import CommandPart, WantedCommand
from pltfrms.model.network.topology import Operator, OperatorRole, Platform
from pltfrms.model.running.machine import Instance
from tests.strategies import make_platform

ADA = Operator(name="ada", keys=(), role=OperatorRole.ADMIN)
ALLOWING = replace(make_platform({"fra": 1}), allow_exec=True, operators=(ADA,))
RUNS = Instance(allocation="web.fra.1-1", pid=7, device="i1", fingerprint="")
OTHERS = Instance(
    allocation="dns.fra.1-1", pid=os.getpid(), device="i2", fingerprint="", unit="a.service"
)
WISH = WantedCommand(allocation="web.fra.1-1", words=("id",))


class Inside:
    """Says a word, and then nothing for ever, or fails."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.begun = self.ended = 0
        self.fails = False

    async def run(
        self, instance: Instance, words: tuple[str, ...], seconds: float
    ) -> AsyncGenerator[CommandPart]:
        self.begun += 1
        self.asked.append((instance.allocation, words))
        try:
            if self.fails:
                raise UnavailableError("no more processes")
            yield CommandPart(output="YQ==")
            await asyncio.sleep(seconds)
            yield CommandPart(status=3)
        finally:
            self.ended += 1


def runner(inside: Inside, platform: Platform = ALLOWING) -> CommandRunner:
    async def running() -> dict[str, Instance]:
        return {each.allocation: each for each in (RUNS, OTHERS)}

    workload = cast("Workload", SimpleNamespace(running=running))
    return CommandRunner(workload, inside.run, lambda: platform)


async def said(runner: CommandRunner, command: object) -> list[CommandPart]:
    return [decode(CommandPart, line) async for line in runner.run(encode(command))]


NOT_RUN: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"allow_exec": False}, {}, "this platform does not allow it"),
    ({"operators": ()}, {}, "no operator has a role"),
    ({"operators": (replace(ADA, role=None),)}, {}, "no operator has a role"),
    ({}, {"allocation": "web.fra.9-1"}, "web.fra.9-1 does not run here"),
    ({}, {"allocation": "dns.fra.1-1"}, "others have started dns.fra.1-1"),
    ({}, {"words": ()}, "there is no command"),
    ({}, {"words": ("",)}, "there is no command"),
    ({}, {"words": ("a\0b",)}, "a zero byte"),
    ({}, {"words": ("x" * 6001,)}, "at most 6000"),
    ({}, {"words": ("\n" * 3000,)}, "at most 6000"),
    ({}, {"seconds": 0}, "1 to 3600 seconds"),
    ({}, {"seconds": 4000}, "1 to 3600 seconds"),
]


@pytest.mark.parametrize(("platform", "command", "why"), NOT_RUN)
def test_what_may_not_run_does_not(
    platform: dict[str, Any], command: dict[str, Any], why: str
) -> None:
    inside = Inside()
    node = runner(inside, replace(ALLOWING, **platform))
    [part] = asyncio.run(said(node, replace(WISH, **command)))
    assert why in part.failure
    assert inside.asked == []


def test_what_this_version_does_not_understand_is_not_run() -> None:
    async def story() -> None:
        inside = Inside()
        for text in (b"nonsense", encode(WISH)[:-1] + b',"as_root":true}'):
            lines = [line async for line in runner(inside).run(text)]
            assert decode(CommandPart, lines[0]).failure
        assert inside.asked == []

    asyncio.run(story())


def test_what_a_command_says_is_passed_on_with_its_status() -> None:
    inside = Inside()
    parts = asyncio.run(said(runner(inside), replace(WISH, seconds=1)))
    assert parts == [CommandPart(output="YQ=="), CommandPart(status=3)]
    assert inside.asked == [("web.fra.1-1", ("id",))]
    inside.fails = True
    [part] = asyncio.run(said(runner(inside), WISH))
    assert part.failure == "no more processes"


def test_a_machine_runs_so_many_at_once_and_ends_what_nobody_waits_for() -> None:
    async def story() -> None:
        inside = Inside()
        node = runner(inside)
        streams = [node.run(encode(WISH)) for _ in range(AT_ONCE)]
        for each in streams:
            await anext(each)
        [part] = await said(node, WISH)
        assert "commands run on this machine already" in part.failure
        await streams[0].aclose()
        assert (inside.begun, inside.ended) == (AT_ONCE, 1)
        async with aclosing(node.run(encode(WISH))) as another:
            assert decode(CommandPart, await anext(another)).output
        for each in streams[1:]:
            await each.aclose()
        assert inside.begun == inside.ended

    asyncio.run(story())


def test_a_command_ends_when_who_asked_for_it_hangs_up() -> None:
    async def story(path: Path) -> None:
        inside = Inside()
        glass = LookingGlass(path / "bird.ctl")
        node = runner(inside)
        deaf = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await glass.serve(reader, writer, None, None if deaf else node.run)

        server = await asyncio.start_unix_server(serve, path / "s", limit=512)
        text = encode(replace(WISH, words=("x" * 5000,)))
        async with server:
            # As many as would keep others from looking, if they were counted.
            lines = [await asyncio.open_unix_connection(path / "s") for _ in range(AT_ONCE)]
            for reader, writer in lines:
                await reader.readline()
                writer.write(b"run %d\n%s" % (len(text), text))
                assert decode(CommandPart, await reader.readline()).output == "YQ=="
            reader, writer = await asyncio.open_unix_connection(path / "s")
            assert b"ready" in await reader.readline()
            writer.close()
            for _, writer in lines:
                writer.close()
            async with asyncio.timeout(30):
                while inside.ended < AT_ONCE:  # noqa: ASYNC110 - it is another's
                    await asyncio.sleep(0.01)
            deaf = 1
            reader, writer = await asyncio.open_unix_connection(path / "s")
            await reader.readline()
            writer.write(b"run 2\n{}")
            assert await reader.readline() == b"8007 Access denied\n"
            writer.close()
        assert inside.begun == AT_ONCE

    with TemporaryDirectory() as name:
        asyncio.run(story(Path(name)))


def test_a_command_ends_when_nobody_takes_what_it_says() -> None:
    async def story(path: Path) -> None:
        ended = asyncio.Event()

        async def talks(_: bytes) -> AsyncGenerator[bytes]:
            try:
                while True:
                    yield b"x" * 65_536
            finally:
                ended.set()

        glass = LookingGlass(path / "bird.ctl", GlassLimits(taking_seconds=0.1))

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await glass.serve(reader, writer, None, talks)

        async with await asyncio.start_unix_server(serve, path / "s", limit=512):
            _, writer = await asyncio.open_unix_connection(path / "s", limit=512)
            writer.write(b"run 2\n{}")
            async with asyncio.timeout(30):
                await ended.wait()
            writer.close()

    with TemporaryDirectory() as name:
        asyncio.run(story(Path(name)))
