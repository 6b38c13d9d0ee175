"""The lab's daemon: starts the machines, then answers on the control socket."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from pltfrms.codec import read
from pltfrms.errors import InvariantError, PltfrmsError, UsageError
from pltfrms.lab.capsule.doctor import list_substitutes, measure_links
from pltfrms.lab.capsule.operations import LabOperations
from pltfrms.lab.parts import LabParts
from pltfrms.lab.processes.channel import Channel
from pltfrms.lab.protocol import LINE_BYTES, SOCKET, LabReport, error_line, value_line
from pltfrms.lab.rundir import PARTS

_Arguments = dict[str, Any]
_Verb = Callable[[_Arguments], Awaitable[object]]

_log = structlog.get_logger()


def run_daemon(
    parts: LabParts, run_directory: Path, report: int, root: Channel, events: Channel
) -> None:
    """Start the lab, say `ready` on the pipe `report`, and serve for ever.

    `root` takes questions to the capsule's root process; on `events` it reports ends.
    """
    asyncio.run(_Daemon(parts, run_directory, report).run(root, events))


class _Daemon:
    def __init__(self, parts: LabParts, run_directory: Path, report: int) -> None:
        self._parts = parts
        self._run_directory = run_directory
        self._report = report

    async def run(self, root: Channel, events: Channel) -> None:
        try:
            operations = LabOperations(self._parts, root)
            operations.start(lambda text: self._say({"progress": text}))
            server = await asyncio.start_unix_server(
                _Server(self._run_directory, operations).serve,
                path=self._run_directory / SOCKET,
                limit=LINE_BYTES,
            )
        except (PltfrmsError, OSError) as error:
            _log.error("the lab does not start", error=str(error))
            self._say({"error": str(error), "kind": type(error).__name__})
            return
        loop = asyncio.get_running_loop()
        gone = loop.create_future()
        loop.add_reader(events, _read_event, events, operations, gone)
        self._say({"ready": True})
        os.close(self._report)
        async with server:
            await gone

    def _say(self, message: dict[str, object]) -> None:
        os.write(self._report, json.dumps(message).encode() + b"\n")


def _read_event(events: Channel, operations: LabOperations, gone: asyncio.Future[None]) -> None:
    try:
        message, _ = events.receive()
    except EOFError:
        gone.set_result(None)
        return
    operations.ended(message["ended"])


class _Server:
    def __init__(self, run_directory: Path, operations: LabOperations) -> None:
        self._run_directory = run_directory
        self._operations = operations
        self._verbs: dict[str, _Verb] = {
            "fault": self._fault,
            "heal": lambda said: operations.heal(said["target"]),
            "boot": lambda said: operations.boot(said["target"]),
            "rewire": self._rewire,
            "faults": _plain(lambda _: operations.faults()),
            "machines": _plain(lambda _: operations.machines()),
            "place": _plain(lambda said: operations.place(said["target"])),
            "capture": _plain(lambda said: operations.capture_interface(said["target"])),
            "doctor": self._doctor,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client until it closes."""
        with suppress(ConnectionError):
            while line := await reader.readline():
                writer.write(await self._answer(line))
                await writer.drain()
        writer.close()

    async def _answer(self, line: bytes) -> bytes:
        try:
            said = json.loads(line)
            return value_line(await self._verb(said["do"])(said))
        except PltfrmsError as error:
            return error_line(error)
        except Exception as error:  # noqa: BLE001 - a bug must reach the caller, not end the lab
            _log.exception("bug", request=line.decode(errors="replace"))
            return error_line(InvariantError(f"{type(error).__name__}: {error}"))

    def _verb(self, name: str) -> _Verb:
        if name not in self._verbs:
            raise UsageError(f"the lab cannot {name}")
        return self._verbs[name]

    async def _fault(self, said: _Arguments) -> tuple[str, ...]:
        return await self._operations.fault(said["target"], said["kind"], said["for_ms"])

    async def _rewire(self, _said: _Arguments) -> tuple[str, ...]:
        parts = read(LabParts, (self._run_directory / PARTS).read_bytes())
        return await self._operations.rewire(parts)

    async def _doctor(self, _said: _Arguments) -> LabReport:
        operations = self._operations
        return LabReport(
            links=await measure_links(
                operations.wiring, operations.conditions(), operations.pids
            ),
            substitutes=list_substitutes(operations.room.shaper, operations.pids),
        )


def _plain(
    function: Callable[[_Arguments], object],
) -> _Verb:
    async def call(said: _Arguments) -> object:
        return function(said)

    return call
