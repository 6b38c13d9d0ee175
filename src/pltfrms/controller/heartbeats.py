"""What a heartbeat does: keep the machine's lease alive, and store what is new.

In the steady state this is one keep-alive and no write.
"""

import asyncio
from dataclasses import dataclass, replace

from pltfrms.codec import encode
from pltfrms.controller.counters import Counters
from pltfrms.controller.journal import Journal
from pltfrms.controller.state import Stored, contact_key, status_key
from pltfrms.controller.view import View
from pltfrms.drivers.store.ports import Put, Store
from pltfrms.errors import NotFoundError, UnavailableError
from pltfrms.model.api import Event, Heartbeat, HeartbeatReply
from pltfrms.model.state import MachineStatus

TIMEOUT_SECONDS = 1.2
"""An agent that waits longer than this had better ask another controller."""
_EVENTS_PER_WRITE = 40


@dataclass(frozen=True, slots=True)
class _Own:
    """What this controller wrote last for a machine, until the mirror shows it."""

    revision: int
    lease: int
    status: MachineStatus | None


class Heartbeats:
    """Takes the heartbeats of all machines."""

    def __init__(self, store: Store, view: View, journal: Journal, counters: Counters) -> None:
        """Remember no machine."""
        self._store = store
        self._view = view
        self._journal = journal
        self._counters = counters
        self._own: dict[str, _Own] = {}

    async def take(self, heartbeat: Heartbeat) -> HeartbeatReply:
        """Note that a machine lives, and how it is.

        Raises:
            NotFoundError: the platform has no such machine.
            UnavailableError: the store does not answer (in time).
        """
        stored = self._view.stored()
        machine = heartbeat.status.machine
        if stored.platform is None:
            raise UnavailableError("the store holds no platform yet; try again soon")
        if machine not in {known.name for known in stored.platform.managed}:
            raise NotFoundError(f"the platform has no machine {machine!r} with an agent")
        self._counters.heartbeats += 1
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                ttl_seconds = stored.platform.timers.contact_ttl_seconds
                await self._store_news(stored, heartbeat, ttl_seconds)
        except TimeoutError:
            raise UnavailableError("the store is slow; try another controller") from None
        return HeartbeatReply(generation=stored.commit)

    async def _store_news(self, stored: Stored, heartbeat: Heartbeat, ttl_seconds: int) -> None:
        machine = heartbeat.status.machine
        own = self._own.get(machine)
        if own is None or own.revision <= stored.revision:
            before = stored.statuses.get(machine)
            own = _Own(stored.revision, stored.leases.get(machine, 0), before)
        lease = own.lease if own.lease and await self._store.keep_alive(own.lease) else 0
        writes: list[Put] = []
        events = [*self._phase_events(own.status, heartbeat), *heartbeat.events]
        if not lease:
            lease = await self._store.grant(ttl_seconds)
            writes.append(Put(key=contact_key(machine), value=b"present", lease=lease))
            events.insert(0, self._journal.tell(f"machine/{machine}", "machine in contact"))
        if heartbeat.status != own.status:
            writes.append(Put(key=status_key(machine), value=encode(heartbeat.status)))
        puts = [self._journal.put(event) for event in events]
        while writes or puts:
            batch = [*writes, *puts[:_EVENTS_PER_WRITE]]
            revision = await self._write(machine, batch)
            writes, puts = [], puts[_EVENTS_PER_WRITE:]
            self._own[machine] = _Own(revision, lease, heartbeat.status)

    async def _write(self, machine: str, batch: list[Put]) -> int:
        try:
            revision = await self._store.commit(batch)
        except NotFoundError as error:
            self._own.pop(machine, None)
            raise UnavailableError(f"the lease of {machine} just ended: {error}") from error
        return revision or 0

    def _phase_events(self, before: MachineStatus | None, heartbeat: Heartbeat) -> list[Event]:
        """Tell of instances whose phase changed, unless the agent tells of it itself."""
        known = {i.allocation: i.phase for i in before.instances} if before else {}
        told = {(event.about, event.what) for event in heartbeat.events}
        return [
            replace(
                self._journal.tell(i.allocation, f"instance {i.phase}", detail=i.detail),
                source=heartbeat.status.machine,
            )
            for i in heartbeat.status.instances
            if known.get(i.allocation) is not i.phase
            and (i.allocation, f"instance {i.phase}") not in told
        ]
