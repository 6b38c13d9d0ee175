"""End leases of services in the store whose holders are known to be dead: before their time.

Who says that an instance is dead is its agent, which has seen it end, or two kinds of evidence
that its machine is lost. Numbers of leases never come back: what is ended by number is never
that of an instance which began since, however late it is done.
"""

import asyncio
import contextlib
from typing import Final

import structlog

from pltfrms.controller.asked.part_leases import PartLeases
from pltfrms.controller.contact.view import View
from pltfrms.errors import NotFoundError, UnavailableError
from pltfrms.model.messages.api import LeasesAsk, LeasesReply
from pltfrms.model.running.state import Snapshot
from pltfrms.planner.parts.ends import Holder, dead_holders, ends_leases, holder_of
from pltfrms.planner.placement.evidence import witnessed

_LOOK_SECONDS: Final = 1.0
_AGAIN_SECONDS: Final = 0.2
"""Between two looks: leases can be revoked a little later than each commit."""

_log = structlog.get_logger(__name__)


class PartEnds:
    """Ends them as agents ask, and by itself those of lost machines."""

    def __init__(self, view: View, leases: PartLeases) -> None:
        """Judge by what `view` shows; `leases` knows from where each was asked for."""
        self._view = view
        self._leases = leases
        self._ended: frozenset[str] = frozenset()
        """Allocations on lost machines that have none any more."""

    async def asked(self, ask: LeasesAsk) -> LeasesReply:
        """End those of an instance's leases that its agent names; return the others.

        Raises:
            NotFoundError: the machine has no such instance whose leases are to end with it.
            UnavailableError: the store, or the state, is not known here.
        """
        # Before any end: by now another one may have the address for life.
        view = self._view
        snapshot = await view.linearized() if ask.end else view.snapshot()
        holder = holder_of(snapshot, ask.machine, ask.allocation)
        if holder is None:
            what = f"{ask.machine} has no {ask.allocation} whose leases end with it"
            raise NotFoundError(what)
        found = await self._leases.of(holder.service, holder.addresses)
        ending = frozenset(found).intersection(ask.end)
        for lease in sorted(ending):
            await self._end(holder, lease, "it has ended")
        return LeasesReply(leases=tuple(each for each in found if each not in ending))

    async def run(self) -> None:
        """Follow which machines are lost, for ever."""
        while True:
            await self._view.wait(_LOOK_SECONDS)
            try:
                await self.look()
            except UnavailableError as error:
                _log.debug("leases of lost machines stay", reason=str(error))
            except Exception:  # noqa: BLE001 - a bug here must not end a controller
                _log.exception("leases of lost machines stay")
            await asyncio.sleep(_AGAIN_SECONDS)

    async def look(self) -> None:
        """End the leases of those on lost machines, once while they are lost.

        Raises:
            UnavailableError: it is not known who is lost, or the store does not answer.
        """
        if not any(map(ends_leases, self._view.last_stored().services.values())):
            return
        if not self._due(self._view.snapshot()):
            return
        snapshot, stored = await self._view.linearized_stored()
        for holder in self._due(snapshot):
            if holder.node in stored.leases:
                continue  # it is heard again, as we are about to see
            for lease in await self._leases.of(holder.service, holder.addresses):
                await self._end(holder, lease, "its machine is lost")
            self._ended |= {holder.allocation}

    def _due(self, snapshot: Snapshot) -> list[Holder]:
        """Return those whose leases are to end now: edges do not hear their machines, too."""
        dead = {each.allocation: each for each in dead_holders(snapshot)}
        self._ended &= dead.keys()
        due = [each for name, each in sorted(dead.items()) if name not in self._ended]
        sure = witnessed(snapshot, {each.node for each in due}) if due else frozenset()
        return [each for each in due if each.node in sure]

    async def _end(self, holder: Holder, lease: int, why: str) -> None:
        with contextlib.suppress(NotFoundError):  # its time was over just now
            await self._leases.revoke(lease)
        _log.info("lease ended", allocation=holder.allocation, lease=lease, reason=why)
