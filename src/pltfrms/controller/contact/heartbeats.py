"""What a heartbeat does: keep the machine's lease alive, and store what is new.

In the steady state this is one keep-alive and no write, by a client of the store that nobody
else uses. It needs no fresh view of the store: a list that is slow, or fails, does not make a
machine look lost. It costs the same however many machines there are.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace

from pltfrms.codec import encode, first_that_fits
from pltfrms.controller.contact.newcomers import Newcomers
from pltfrms.controller.contact.view import View
from pltfrms.controller.counters import Counters
from pltfrms.controller.records.journal import MACHINE_IN_CONTACT, EventLog
from pltfrms.controller.records.state import Stored, contact_key, heard_key, status_key
from pltfrms.drivers.store.ports import Put, Store
from pltfrms.drivers.store.transaction import batches
from pltfrms.errors import NotFoundError, UnavailableError, UsageError
from pltfrms.model.messages.api import Event, Heartbeat, HeartbeatReply, UnreadHeartbeat
from pltfrms.model.running.state import MachineStatus
from pltfrms.model.running.texts import STATUS_BYTES_MAX, smaller_statuses

TIMEOUT_SECONDS = 1.2
"""An agent that waits longer than this had better ask another controller."""
_Report = MachineStatus | Mapping[str, object]
"""How a machine is, understood or not."""


@dataclass(frozen=True, slots=True)
class _Own:
    """What this controller wrote last for a machine, until the mirror shows it."""

    revision: int
    lease: int
    report: _Report | None
    reported_at: int = 0
    """Revision of our write of `report`; 0: another controller wrote it, or nobody did."""


class Heartbeats:
    """Takes the heartbeats of all machines."""

    def __init__(self, store: Store, view: View, journal: EventLog, counters: Counters) -> None:
        """Remember no machine."""
        self._store = store
        self._view = view
        self._journal = journal
        self._counters = counters
        self._newcomers = Newcomers(view)
        self._storing: dict[str, asyncio.Future[None]] = {}
        """What is being stored, of each machine one thing at a time."""
        self._own: dict[str, _Own] = {}
        self._heard: dict[str, tuple[int, int]] = {}
        """What was stored for the referee of a recovery: its mark, and what a machine heard."""

    async def take(self, heartbeat: Heartbeat) -> HeartbeatReply:
        """Note that a machine lives, and how it is.

        Raises:
            NotFoundError: the platform has no such machine.
            UnavailableError: the store does not answer (in time).
        """
        status = heartbeat.status
        await self._store_heard(status.machine, heartbeat.heard)
        return await self._take(status.machine, status, heartbeat.events)

    async def take_unread(self, heartbeat: UnreadHeartbeat) -> HeartbeatReply:
        """Note that a machine lives, and keep how it is for those who understand it.

        Raises:
            UsageError: not even its name is understood.
            NotFoundError, UnavailableError: see `take`.
        """
        machine = heartbeat.status.get("machine")
        if not isinstance(machine, str):
            raise UsageError("the heartbeat does not say of which machine it is")
        await self._store_heard(machine, heartbeat.heard)
        return await self._take(machine, heartbeat.status, heartbeat.events)

    async def _take(
        self, machine: str, report: _Report, events: Iterable[Event]
    ) -> HeartbeatReply:
        stored = self._view.last_stored()
        if stored.platform is None:
            raise UnavailableError("the store holds no platform yet; try again soon")
        if self._view.machine(machine) is None:
            raise NotFoundError(f"the platform has no machine {machine!r} with an agent")
        self._counters.heartbeats += 1
        ttl_seconds = stored.platform.timers.contact_ttl_seconds
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if not await self._only_lives(self._before(stored, machine), report, events):
                    await self._alone(
                        machine,
                        lambda: self._store_news(machine, report, events, ttl_seconds),
                    )
        except TimeoutError:
            raise UnavailableError("the store is slow; try another controller") from None
        return HeartbeatReply(generation=stored.commit)

    async def _only_lives(self, own: _Own, report: _Report, events: Iterable[Event]) -> bool:
        """Renew a lease where there is nothing else to do; return whether that was all."""
        if not own.lease or events or report != own.report:
            return False
        return await self._store.keep_alive(own.lease)

    async def _alone(self, machine: str, store: Callable[[], Awaitable[None]]) -> None:
        """Store something of a machine after what is being stored of it.

        Who gives up waiting does not end it: it would all be to do again for the next one.
        """
        while (before := self._storing.get(machine)) is not None:
            await asyncio.wait({before})
        storing = self._storing[machine] = asyncio.ensure_future(store())

        def stored(done: asyncio.Future[None]) -> None:
            self._storing.pop(machine, None)
            _ = done.cancelled() or done.exception()  # nobody may be waiting any more

        storing.add_done_callback(stored)
        try:
            await asyncio.shield(storing)
        finally:
            del storing, before  # whose error holds this frame: nobody would let go of either

    async def _store_heard(self, machine: str, generation: int) -> None:
        """Keep what a machine has heard of while the store is held after a recovery."""
        stored = self._view.last_stored()
        heard = (stored.recovering, generation)
        if not stored.recovering or self._view.machine(machine) is None:
            return
        if heard != self._heard.get(machine):
            put = Put(key=heard_key(machine), value=str(generation).encode())
            await self._store.commit([put])
            self._heard[machine] = heard

    async def _store_news(
        self, machine: str, report: _Report, events: Iterable[Event], ttl_seconds: int
    ) -> None:
        own = self._before(self._view.last_stored(), machine)
        lease = own.lease if own.lease and await self._store.keep_alive(own.lease) else 0
        with nullcontext() if lease else self._newcomers.seat():
            await self._write_news(own, lease, machine, report, events, ttl_seconds)

    async def _write_news(
        self,
        own: _Own,
        lease: int,
        machine: str,
        report: _Report,
        events: Iterable[Event],
        ttl_seconds: int,
    ) -> None:
        writes: list[Put] = []
        told = [*self._phase_events(own.report, report, events), *events]
        if not lease:
            lease = await self._store.grant(ttl_seconds)
            writes.append(Put(key=contact_key(machine), value=b"present", lease=lease))
            told.insert(0, self._journal.tell(f"machine/{machine}", MACHINE_IN_CONTACT))
        if report != own.report:
            report, text = _fitted(report)
            if report != own.report:
                writes.append(Put(key=status_key(machine), value=text))
        reported_at = own.reported_at
        for batch in batches([*writes, *map(self._journal.put, told)]):
            revision = await self._write(machine, batch)
            if any(write.key == status_key(machine) for write in batch):
                reported_at = revision
            self._own[machine] = _Own(revision, lease, report, reported_at)

    def _before(self, stored: Stored, machine: str) -> _Own:
        """Return what the store has of a machine now, of which the mirror may not know yet.

        A report that cannot be read there is known only if it is the one that we wrote.
        """
        own = self._own.get(machine)
        if own and own.revision > stored.revision:
            return own
        lease = stored.leases.get(machine, 0)
        unread_at = stored.unread.get(status_key(machine))
        if own and unread_at == own.reported_at:
            return replace(own, revision=stored.revision, lease=lease)
        return _Own(stored.revision, lease, stored.statuses.get(machine))

    async def _write(self, machine: str, batch: list[Put]) -> int:
        try:
            revision = await self._store.commit(batch)
        except NotFoundError as error:
            self._own.pop(machine, None)
            raise UnavailableError(f"the lease of {machine} just ended: {error}") from error
        return revision or 0

    def _phase_events(
        self, before: _Report | None, after: _Report, events: Iterable[Event]
    ) -> list[Event]:
        """Tell of instances whose phase changed, unless the agent tells of it itself."""
        if not isinstance(after, MachineStatus):
            return []
        instances = before.instances if isinstance(before, MachineStatus) else ()
        known = {i.allocation: i.phase for i in instances}
        told = {(event.about, event.what) for event in events}
        return [
            replace(
                self._journal.tell(i.allocation, f"instance {i.phase}", detail=i.detail),
                source=after.machine,
            )
            for i in after.instances
            if known.get(i.allocation) is not i.phase
            and (i.allocation, f"instance {i.phase}") not in told
        ]


def _fitted(report: _Report) -> tuple[_Report, bytes]:
    """Return a report as it can be kept, and as JSON: a machine is not lost for its words."""
    if isinstance(report, MachineStatus):
        return first_that_fits(smaller_statuses(report), STATUS_BYTES_MAX)
    text = encode(report, Mapping[str, object])
    if len(text) <= STATUS_BYTES_MAX:
        return report, text
    *_, bare = smaller_statuses(MachineStatus(machine=str(report["machine"])))
    return bare, encode(bare)
