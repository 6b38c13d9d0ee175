"""Commands in instances, as operators ask for them: judged, and written down."""

from dataclasses import dataclass, replace

import structlog

from pltfrms.controller.asked.operations import Operations
from pltfrms.controller.records.auditing import Asked
from pltfrms.errors import ConflictError, ForbiddenError, NotFoundError, UnavailableError
from pltfrms.model.messages.commands import CommandPart, WantedCommand
from pltfrms.model.network.topology import Platform
from pltfrms.planner.identity.commands import lines_of_command, why_not_run, why_not_said

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedCommand:
    """What may run, and is written down."""

    command: WantedCommand
    node: str
    platform: Platform
    asked: Asked


class CommandDesk:
    """Lets commands run in instances. Roles have been asked by then."""

    def __init__(self, operations: Operations, *, secure: bool) -> None:
        """`secure`: nodes can tell controllers from others."""
        self._operations = operations
        self._secure = secure

    async def allow(self, service: str, said: WantedCommand, asked: Asked) -> AllowedCommand:
        """Write down what is about to run, and return where; else it does not.

        Raises:
            ForbiddenError: the platform does not allow it, or nobody could be sure who asks.
            NotFoundError: there is no such instance.
            UnavailableError: it cannot be written down.
        """
        snapshot = await self._operations.controller.view.linearized()
        command = replace(said, by=asked.by or said.by, why=asked.why or said.why)
        if why := self._why_not(snapshot.platform, asked) or why_not_said(command):
            raise ForbiddenError(why)
        snapshot.service(service)
        allocation = snapshot.allocations.get(command.allocation)
        if allocation is None or allocation.service != service:
            raise NotFoundError(
                f"{command.allocation[:100]!r} is not an instance of {service}; see: pltfrms "
                f"service show {service}"
            )
        await self._write_down("exec", command, allocation.node, asked)
        return AllowedCommand(
            command=command, node=allocation.node, platform=snapshot.platform, asked=asked
        )

    def _why_not(self, platform: Platform, asked: Asked) -> str:
        if why := why_not_run(platform):
            return why
        if not self._secure:
            return "machines have not joined the platform, so nodes cannot tell who asks"
        return "" if asked.proved else "it is not known who asks: pltfrms login"

    async def end(self, allowed: AllowedCommand, last: CommandPart | None) -> None:
        """Write down how it ended; None: who asked left, or the node fell silent."""
        how = "its end was not seen: who asked left, or the node fell silent"
        if last is not None:
            how = last.failure or f"ended with status {last.status}"
        try:
            await self._write_down(
                "exec end", allowed.command, allowed.node, allowed.asked, how
            )
        except (UnavailableError, ConflictError) as error:
            _log.warning(
                "end of command not written down",
                allocation=allowed.command.allocation,
                how=how,
                why=str(error),
            )

    async def _write_down(
        self, what: str, command: WantedCommand, node: str, asked: Asked, how: str = ""
    ) -> None:
        who = replace(asked, by=command.by, why=command.why)
        lines = [*lines_of_command(command, node), *filter(None, [how])]

        async def attempt() -> bool | None:
            controller = self._operations.controller
            sealed = await self._operations.records.seal(what, lines, who)
            done = await controller.store.commit(sealed.writes, (sealed.condition,))
            return None if done is None else True

        await self._operations.controller.insisting.until_done(attempt)
