"""Commands that operators have run in instances of this machine, if the platform allows it."""

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

import structlog

from pltfrms.codec import decode_fully, encode
from pltfrms.drivers.workload.ports import Workload
from pltfrms.errors import ForbiddenError, NotFoundError, PltfrmsError, UnavailableError
from pltfrms.model.messages.commands import CommandPart, WantedCommand
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.machine import Instance
from pltfrms.planner.identity.commands import why_not_run, why_not_said

AT_ONCE: Final = 4
"""On one machine."""
Inside = Callable[[Instance, tuple[str, ...], float], AsyncGenerator[CommandPart]]
"""Runs words in an instance, for so many seconds at most."""

_log = structlog.get_logger(__name__)


class CommandRunner:
    """Runs them for controllers. Whoever asks has shown that he is one."""

    def __init__(
        self, workload: Workload, inside: Inside, platform: Callable[[], Platform]
    ) -> None:
        """`platform` is as this machine was told last."""
        self._workload = workload
        self._inside = inside
        self._platform = platform
        self._running = 0

    async def run(self, text: bytes) -> AsyncGenerator[bytes]:
        """Do what a `WantedCommand` wants; yield lines, each a `CommandPart`."""
        self._running += 1
        try:
            command = decode_fully(WantedCommand, text)
            instance = await self._instance(command)
            _log.info("command", allocation=command.allocation, by=command.by)
            parts = self._inside(instance, command.words, float(command.seconds))
            async with aclosing(parts):
                async for part in parts:
                    yield _line(part)
        except PltfrmsError as error:
            yield _line(CommandPart(failure=str(error)))
        finally:
            self._running -= 1

    async def _instance(self, command: WantedCommand) -> Instance:
        if why := why_not_run(self._platform()) or why_not_said(command):
            raise ForbiddenError(why)
        if self._running > AT_ONCE:
            raise UnavailableError(f"{AT_ONCE} commands run on this machine already")
        instance = (await self._workload.running()).get(command.allocation)
        if instance is None:
            raise NotFoundError(f"{command.allocation} does not run here")
        if instance.pid == os.getpid():
            raise ForbiddenError(
                f"others have started {command.allocation}: enter it as they do"
            )
        return instance


def _line(part: CommandPart) -> bytes:
    return encode(part) + b"\n"
