"""Who may have a command run in an instance, and what is written down of it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import pytest
from fastapi import FastAPI

from pltfrms.api.app import make_app
from pltfrms.api.bounds.serving import ControllerIdentity
from pltfrms.codec import decode, encode
from pltfrms.drivers.glass.client import Glass, GlassMachine
from pltfrms.drivers.identity.store_files import StoreFiles
from pltfrms.drivers.operators.memory import MemorySignatures
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import Change
from pltfrms.model.messages.audit import AuditPage
from pltfrms.model.messages.commands import CommandPart, WantedCommand
from pltfrms.model.network.topology import Platform
from tests.api.logins import WITH_ROLES, Desk, at_the_desk
from tests.strategies import make_spec

ALLOWING = replace(WITH_ROLES, allow_exec=True)
Story = Callable[["Room"], Awaitable[None]]


class FakeNodes:
    """Says a word, and how it ended; or falls silent."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, WantedCommand]] = []
        self.end: CommandPart | None = CommandPart(status=3)
        self.said = asyncio.Event()
        self.lasts: asyncio.Event | None = None

    async def run(
        self, place: GlassMachine, command: WantedCommand
    ) -> AsyncGenerator[CommandPart]:
        self.ran.append((place.machine, command))
        yield CommandPart(output="YQ==")
        self.said.set()
        if self.lasts:
            await self.lasts.wait()
        if self.end is None:
            raise UnavailableError("fra-n1 fell silent: how it ended is not known")
        yield self.end


class Room:
    """A desk whose controller can have nodes run commands."""

    def __init__(self, desk: Desk, *, secure: bool) -> None:
        self.desk = desk
        self.nodes = FakeNodes()
        desk.app = self._app(secure=secure)
        desk.client = desk.over("192.0.2.7")
        self.command = WantedCommand(allocation="", words=("cat", "a file"), why="it hangs")

    def _app(self, *, secure: bool) -> FastAPI:
        known = SimpleNamespace(
            identities=None, store=StoreFiles(Path("/nonexistent")), said=None
        )
        operations = next(iter(self.desk.cluster.seats.values())).operations
        assert operations
        return make_app(
            operations,
            cast("Glass", object()),
            MemorySignatures(),
            known=cast("ControllerIdentity", known) if secure else None,
            runner=self.nodes,
        )

    async def ask(self, who: str, service: str = "web", **other: object) -> httpx2.Response:
        command = replace(self.command, **other)  # type: ignore[arg-type]
        return await self.desk.ask(who, "POST", f"/v1/services/{service}/exec", command)

    async def audited(self) -> list[tuple[str, str, str, tuple[str, ...]]]:
        page = await self.desk.ask("ada", "GET", "/v1/audit")
        return [
            (each.what, each.by, each.why, each.lines)
            for each in decode(AuditPage, page.content).records
            if each.what.startswith("exec")
        ]


def play(story: Story, platform: Platform = ALLOWING, *, secure: bool = True) -> None:
    async def whole(desk: Desk) -> None:
        room, cluster = Room(desk, secure=secure), desk.cluster
        change = Change(services=(make_spec("web", 1),))
        assert (await desk.ask("oli", "POST", "/v1/apply", change)).status_code == 200
        await cluster.until(lambda: bool(cluster.stored().allocations), 20)
        await cluster.clock.sleep(2)
        first = min(cluster.stored().allocations)
        room.command = replace(room.command, allocation=first)
        await story(room)

    at_the_desk(whole, platform)


def test_operators_may_and_it_is_written_down_before_and_after() -> None:
    async def story(room: Room) -> None:
        answer = await room.ask("oli", by="somebody else")
        assert answer.status_code == 200
        parts = [decode(CommandPart, line) for line in answer.text.splitlines()]
        assert parts == [CommandPart(output="YQ=="), CommandPart(status=3)]
        [(node, ran)] = room.nodes.ran
        assert (ran.by, ran.words) == ("oli", ("cat", "a file"))
        what = f"{room.command.allocation} on {node}: cat 'a file'"
        assert await room.audited() == [
            ("exec", "oli", "it hangs", (what,)),
            ("exec end", "oli", "it hangs", (what, "ended with status 3")),
        ]

    play(story)


def test_others_may_not() -> None:
    async def story(room: Room) -> None:
        for who in ("vic", "dan"):
            assert (await room.ask(who)).status_code == 403
        stranger = await room.desk.client.post("/v1/services/web/exec", content=b"{}")
        assert stranger.status_code == 403
        assert (await room.ask("oli", "shop")).status_code == 404
        for other in ("shop.fra.1-1", "web.fra.77-1"):
            assert (await room.ask("oli", allocation=other)).status_code == 404
        assert (await room.ask("oli", words=())).status_code == 403
        assert room.nodes.ran == []
        assert await room.audited() == []

    play(story)


def test_nobody_may_where_the_platform_does_not_say_so() -> None:
    async def story(room: Room) -> None:
        answer = await room.ask("ada")
        assert answer.status_code == 403
        assert "this platform does not allow it" in answer.text
        assert room.nodes.ran == []

    play(story, WITH_ROLES)


def test_nobody_may_where_nodes_cannot_tell_who_asks() -> None:
    async def story(room: Room) -> None:
        answer = await room.ask("ada")
        assert answer.status_code == 403
        assert "machines have not joined" in answer.text

    play(story, secure=False)


def test_what_cannot_be_written_down_does_not_run() -> None:
    async def story(room: Room) -> None:
        headers = await room.desk.headers("oli")
        assert headers

        async def full(*_: object) -> None:
            raise UnavailableError("the store takes no writes")

        seat = next(iter(room.desk.cluster.seats.values()))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(seat.store, "commit", full)
            answer = await room.ask("oli")
        assert (answer.status_code, room.nodes.ran) == (503, [])
        assert "takes no writes" in answer.text
        seat.store.unavailable = True
        assert (await room.ask("oli")).status_code == 503
        assert room.nodes.ran == []

    play(story)


def test_an_end_that_nobody_saw_is_written_down_as_such() -> None:
    async def story(room: Room) -> None:
        room.nodes.end = None
        answer = await room.ask("oli")
        last = decode(CommandPart, answer.text.splitlines()[-1])
        assert "fell silent" in last.failure
        [_, (what, *_, lines)] = await room.audited()
        assert (what, lines[1]) == ("exec end", last.failure)

    play(story)


def test_a_long_command_is_written_down_whole_and_nothing_of_it_is_unseen() -> None:
    async def story(room: Room) -> None:
        words = ("sh", "-c", f"true {'x' * 5000}\n\u202ethe end")
        assert (await room.ask("oli", words=words)).status_code == 200
        [(_, _, _, lines), _] = await room.audited()
        assert "".join(lines).endswith(f"{'x' * 5000}\\n\\u202ethe end'")
        refused = await room.ask("oli", words=("sh", "-c", "\u202e" * 1500))
        assert "at most 6000 are written down" in refused.text
        assert len(room.nodes.ran) == 1

    play(story)


def test_who_hangs_up_ends_it_and_that_is_written_down() -> None:
    async def story(room: Room) -> None:
        room.nodes.lasts = asyncio.Event()
        headers = await room.desk.headers("oli")
        body = [encode(room.command)]

        async def receive() -> MutableMapping[str, Any]:
            if body:
                return {"type": "http.request", "body": body.pop(), "more_body": False}
            await room.nodes.said.wait()
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            del message

        path = "/v1/services/web/exec"
        scope = {
            "type": "http",
            "asgi": {"spec_version": "2.3"},
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [
                (name.lower().encode(), word.encode()) for name, word in headers.items()
            ],
            "client": ("192.0.2.7", 7),
            "server": ("c", 80),
        }
        await room.desk.app(scope, receive, send)
        await room.desk.cluster.clock.sleep(1)
        [_, (what, by, _, lines)] = await room.audited()
        assert (what, by) == ("exec end", "oli")
        assert "who asked left" in lines[-1]

    play(story)


def test_a_controller_has_so_many_run_at_once() -> None:
    async def story(room: Room) -> None:
        room.nodes.lasts = asyncio.Event()
        asked = [asyncio.ensure_future(room.ask("oli")) for _ in range(9)]
        await room.desk.cluster.until(
            lambda: len(room.nodes.ran) == 8 and any(e.done() for e in asked), 20
        )
        room.nodes.lasts.set()
        answers = [(await each).text for each in asked]
        assert sum("8 commands are under way here" in text for text in answers) == 1
        assert len(room.nodes.ran) == 8

    play(story)
