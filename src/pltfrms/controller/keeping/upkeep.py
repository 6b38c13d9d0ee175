"""Watches the members of the store: all controllers look, the first one acts.

It keeps the store small, and has its members be the controllers of the platform.

It waits for nothing else that a controller does, and nothing waits for it: a store that is full
refuses what others write.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import replace

import structlog

from pltfrms.controller.contact.view import View
from pltfrms.controller.records.documents import read_documents
from pltfrms.controller.records.journal import EventLog
from pltfrms.controller.records.state import SEATS
from pltfrms.drivers.ports import Clock
from pltfrms.drivers.store.ports import Members, Store
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import Event
from pltfrms.model.messages.store import KindSize, SeatRequest, StoreLook, StoreState, megabytes
from pltfrms.model.network.topology import Role
from pltfrms.planner.upkeep.membership import Seats, next_change
from pltfrms.planner.upkeep.telling import (
    Fullness,
    fullness,
    gone_members,
    gone_sentence,
    store_problems,
)
from pltfrms.planner.upkeep.upkeep import Past, Task, Work, next_task
from pltfrms.render.etcd import peer_url

LOOK_SECONDS = 5.0
BUSY_SECONDS = 1.0
"""Between two looks while there is something to do."""
RANK_SECONDS = 30.0
"""What a controller waits, times its rank, while no controller can say that it lives."""
_UNTOLD_MAX = 20
_CHANGES = {
    Work.ADD: "member is being added",
    Work.PROMOTE: "member has a vote",
    Work.REMOVE: "member removed",
}
"""What is told of changes of the members."""

_log = structlog.get_logger(__name__)


class Upkeep:
    """Looks at the members of the store, and does for them what is to be done."""

    def __init__(
        self,
        members: Members,
        store: Store,
        clock: Clock,
        name: str,
        view: View,
        journal: EventLog,
    ) -> None:
        """Act as the controller `name` when `view` says that it is the first one."""
        self._members = members
        self._store = store
        self._clock = clock
        self._name = name
        self._view = view
        self._journal = journal
        self._past = Past(since=clock.monotonic())
        self._waiting: tuple[Work, str, float] | None = None
        self._told = Fullness.ROOM
        self._told_gone: frozenset[str] = frozenset()
        self._untold: deque[Event] = deque(maxlen=_UNTOLD_MAX)
        """What a full store could not take."""
        self.done: Counter[Work] = Counter()
        """What was done by this controller."""
        self.state: StoreState | None = None
        """As it was at the last look; None: there was none yet."""

    @property
    def full(self) -> bool:
        """Whether the store refused writes when we looked last."""
        return self.state is not None and self.state.look.full

    async def run(self) -> None:
        """Look, and act, until cancelled."""
        while True:
            pause = LOOK_SECONDS
            try:
                pause = await self.cycle()
            except UnavailableError as error:
                _log.warning("upkeep of the store goes on later", reason=str(error))
            except Exception:  # noqa: BLE001 - a bug here must not end heartbeats
                _log.exception("upkeep of the store failed")
            await self._clock.sleep(pause)

    async def cycle(self) -> float:
        """Look once, and do what is due; return after how many seconds to look again.

        Raises:
            UnavailableError: what was to be done is not, or nobody knows.
        """
        look = await self._members.look()
        now = self._clock.monotonic()
        first = self._is_first()
        if not first:  # who acts does not know since when others do not
            self._past = replace(self._past, touched_at=now)
        self._past = self._past.seen(look, now)
        seats, kinds = await self._seats(look), self._kinds()
        task = self._next(look, seats, now) if first else None
        problems = store_problems(look, kinds, self._past, task, now, seats)
        self.state = StoreState(look=look, kinds=kinds, problems=problems)
        await self._tell_gone(look, first=first)
        if first:
            await self._tell(look)
        if task is None or not self._is_ours(task, now):
            return LOOK_SECONDS
        await self._do(task, look)
        return BUSY_SECONDS

    def _next(self, look: StoreLook, seats: Seats | None, now: float) -> Task | None:
        change = next_change(look, seats, self._past, now) if seats else None
        return change or next_task(look, self._past, now)

    async def _seats(self, look: StoreLook) -> Seats | None:
        """Return who is to be a member, and who asks for it; None: it is not known.

        A new one speaks with the others as they do.
        """
        platform = self._view.platform
        if platform is None:
            return None
        controllers = platform.machines_of(Role.CONTROLLER)
        secure = any(member.peer.startswith("https:") for member in look.members)
        wanted = {each.name: peer_url(platform, each, secure=secure) for each in controllers}
        try:
            listing = await self._store.list(SEATS)
        except UnavailableError:
            return Seats(wanted=wanted)
        requests = read_documents(SeatRequest, listing.entries).words.values()
        return Seats(wanted=wanted, asking={each.machine: each.lost for each in requests})

    # ---- whose turn it is ------------------------------------------------------------------

    def _is_first(self) -> bool:
        return self._view.fresh and self._view.is_first(self._name)

    def _is_ours(self, task: Task, now: float) -> bool:
        """Return whether nobody else does it: so also while no controller can say it lives.

        A full store takes no new lease: then they act one long after the other.
        """
        if self._name in self._view.controllers:
            return True
        if self._waiting is None or self._waiting[:2] != (task.work, task.member):
            self._waiting = (task.work, task.member, now)
        platform = self._view.platform
        machines = platform.machines_of(Role.CONTROLLER) if platform else ()
        names = [machine.name for machine in machines]
        rank = names.index(self._name) if self._name in names else len(names)
        return now - self._waiting[2] >= rank * RANK_SECONDS

    # ---- doing -----------------------------------------------------------------------------

    async def _do(self, task: Task, look: StoreLook) -> None:
        _log.info("upkeep of the store", task=task.sentence)
        well = False
        try:
            await self._effect(task)
            well = True
        finally:  # also of what has failed, so that it is not tried again at once
            self._past = self._past.done(task, self._clock.monotonic(), well=well)
        self.done[task.work] += 1
        if task.work is Work.DEFRAGMENT:
            await self._tell_defragmented(task, look)
        if task.work in _CHANGES:
            detail = f"{task.member}: {task.why}"
            self._untold.append(self._journal.tell("store", _CHANGES[task.work], detail=detail))
            await self._flush(full=look.full)

    async def _effect(self, task: Task) -> None:
        if task.work is Work.COMPACT:
            await self._members.compact(task.revision)
        elif task.work is Work.MOVE_LEADER:
            await self._members.lead(task.member)
        elif task.work is Work.DEFRAGMENT:
            await self._members.defragment(task.member)
        elif task.work is Work.ADD:
            await self._members.add(task.peer)
        elif task.work is Work.PROMOTE:
            await self._members.promote(task.number)
        elif task.work is Work.REMOVE:
            await self._members.remove(task.number)
        else:
            await self._members.disarm()

    # ---- telling ---------------------------------------------------------------------------

    async def _tell(self, look: StoreLook) -> None:
        """Say how full the store is when that has changed; what it cannot take waits."""
        now = fullness(look)
        if now is not self._told:
            (_log.info if now is Fullness.ROOM else _log.error)(now.value)
            detail = "; ".join(self.state.problems) if self.state else ""
            self._untold.append(self._journal.tell("store", now.value, detail=detail))
            self._told = now
        await self._flush(full=look.full)

    async def _tell_gone(self, look: StoreLook, *, first: bool) -> None:
        """Say which members went and came back; who is not the first only follows."""
        gone = gone_members(look, self._past) if look.revision else self._told_gone
        new, back = gone - self._told_gone, self._told_gone - gone
        self._told_gone = gone
        if not first:
            return
        for name in sorted(new):
            detail = f"{name}: {gone_sentence(look, self._past)}"
            self._untold.append(self._journal.tell("store", "member gone", detail=detail))
        for name in sorted(back):
            self._untold.append(self._journal.tell("store", "member back", detail=name))

    async def _tell_defragmented(self, task: Task, before: StoreLook) -> None:
        after = await self._members.look()
        sizes = " -> ".join(
            megabytes(member.file_bytes)
            for look in (before, after)
            for member in look.members
            if member.name == task.member
        )
        detail = f"{task.member}, {sizes}: {task.why}"
        self._untold.append(self._journal.tell("store", "member defragmented", detail=detail))
        await self._flush(full=after.full)

    async def _flush(self, *, full: bool) -> None:
        if self._untold and not full:
            await self._journal.write(tuple(self._untold))
            self._untold.clear()

    def _kinds(self) -> Mapping[str, KindSize]:
        return {**self._view.kind_sizes(), **self._journal.size()}
