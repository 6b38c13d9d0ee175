"""Keep the director's tables what the routes of ready instances say.

Nothing but the kernel's table 105 is asked, so neither the store nor a controller takes part in
a reaction. While this does not run the program in the kernel goes on with the tables it has; if
that lasts, the missing heartbeat makes it leave all packets to the kernel's routes.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

import structlog

from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.drivers.clock import wait_event
from pltfrms.errors import UnavailableError
from pltfrms.model.balancer import (
    BalancedService,
    BalancerMode,
    BalancerTable,
    BalancerView,
    Candidate,
    InstanceCounts,
    ServiceCounts,
    TableView,
)
from pltfrms.model.machine import INSTANCE_TABLE, LOCAL_TABLE, REMOTE_TABLE
from pltfrms.model.plan import Target
from pltfrms.model.topology import Role
from pltfrms.planner.balancing.balancing import (
    candidates_of,
    hooks_of,
    service_id_of,
    settings_of,
    with_kept,
)
from pltfrms.planner.balancing.rendezvous import Ranking, make_table, shares, with_guests

BEAT_SECONDS: Final = 1.0
"""Longest time between two looks, each of which ends in a heartbeat."""
COALESCE_SECONDS: Final = 0.003
"""After a hint: one change rarely comes alone."""
SLICE_SECONDS: Final = 0.25
"""A table takes 20 ms and more to let somebody new in, and there may be hundreds of them. After
so long, or a hint, look who has gone meanwhile: that cannot wait."""
GONE_SECONDS: Final = 0.005
"""BIRD changes an IPv6 route by deleting and adding it: only what stays away is gone."""
ALONE_SECONDS: Final = 0.2
"""Sessions that are lost together are not lost at the same instant."""
RECENT_SECONDS: Final = 5.0
"""Who was seen so long before we were cut off is remembered."""
REUNION_SECONDS: Final = 3.0
"""After we are not cut off any more, until all that is there has been told to us."""
RETRY_SECONDS: Final = 30.0
GUESTS_SECONDS: Final = 60.0
"""After the end of a drain, connections that come back are still brought to where they were."""
_MAIN_TABLE: Final = 254
_PROBLEM: Final = "director"
_DEVICES: Final = "director devices"
_SERVICES: Final = "director services"
_NAMED: Final = 3
"""Services in one sentence; of more it says how many."""

_log = structlog.get_logger()
_Candidates = Mapping[int, tuple[Candidate, ...]]
_Wanted = tuple[BalancedService, tuple[Candidate, ...], tuple[IPv6Address, ...]]
"""Whose table, who of this datacenter is in it, and who of others may be asked after them."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A table that could not be made; its service is left to the kernel's routes."""

    wanted: _Wanted
    why: str
    again_at: float


class Director:
    """The balancer of one edge or node."""

    def __init__(self, world: World, journal: Journal, problems: Problems) -> None:
        """Do nothing before a target says for which services."""
        self._world = world
        self._journal = journal
        self._problems = problems
        self._target: Target | None = None
        self._services: Mapping[int, BalancedService] = {}
        self._instances: Mapping[str, IPv6Address] | None = None
        """Addresses by device; None until somebody has looked what runs here."""
        self._mode = BalancerMode.STARTING
        self._detail = ""
        self._attached: frozenset[str] | None = None
        self._rankings: dict[int, Ranking] = {}
        self._known: dict[int, _Wanted] = {}
        self._refused: dict[int, _Refusal] = {}
        self._tables: dict[int, BalancerTable] = {}
        self._seen: dict[IPv6Address, tuple[Candidate, float]] = {}
        """Candidates, and when they were there last."""
        self._kept: frozenset[Candidate] = frozenset()
        """Those that are believed in because we cannot know: see `_fill_in`."""
        self._reunited_at: float | None = None
        self._guests: tuple[IPv6Address, ...] = ()
        self._guests_until = 0.0
        """Monotonic seconds."""
        self._hint = asyncio.Event()
        self._busy = asyncio.Lock()

    @property
    def complaint(self) -> str:
        """Why the kernel spreads the load although the director is wanted, for the status."""
        wanted = self._target is not None and self._target.platform.director
        return self._detail if wanted and self._mode is BalancerMode.KERNEL else ""

    @property
    def reachable(self) -> frozenset[str] | None:
        """The devices of instances that take packets of directors; None: not known yet."""
        return frozenset() if self._mode is BalancerMode.KERNEL else self._attached

    def want(self, target: Target) -> None:
        """Balance the services of a target from now on."""
        self._target = target
        self._services = {service.id: service for service in target.balanced}
        self._hint.set()

    async def attach(self, instances: Mapping[str, IPv6Address]) -> None:
        """See the packets of these instances (addresses by device) when this returns.

        What fails is a problem, and `reachable` says what has come of it.
        """
        self.see(instances)
        if self._mode is BalancerMode.DIRECTOR:
            with self._problems.watch(_DEVICES):
                await self._attach()

    def see(self, instances: Mapping[str, IPv6Address]) -> None:
        """See the packets of these instances from the next pass on."""
        self._instances = dict(instances)

    async def begin(self) -> None:
        """Start the program if it is wanted and can be, before anything else happens."""
        target = self._target
        if target is not None and target.platform.director:
            await self._start(target)

    async def run(self) -> None:
        """Start the program, then follow the routes, for ever."""
        listening = asyncio.ensure_future(self._listen())
        try:
            while True:
                self._hint.clear()
                seconds = await self._pass()
                if await wait_event(self._hint, self._world.clock, seconds):
                    await self._world.clock.sleep(COALESCE_SECONDS)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _pass(self) -> float:
        target = self._target
        if target is None:
            return BEAT_SECONDS
        if not target.platform.director:
            await self._leave_to_kernel()
            return BEAT_SECONDS
        if self._mode is not BalancerMode.DIRECTOR and not await self._start(target):
            return RETRY_SECONDS
        with self._problems.watch(_PROBLEM):
            await self._follow()
            with self._problems.watch(_DEVICES):
                await self._attach()
            # Tables are right, or are there no more: only then may this be said.
            self._world.balancer.beat()
        return BEAT_SECONDS

    # ---- starting and stopping -------------------------------------------------------------

    async def _start(self, target: Target) -> bool:
        try:
            settings = settings_of(target.platform, target.machine)
            how = await self._world.balancer.start(settings)
        except UnavailableError as error:
            if str(error) != self._detail:
                self._say("director not possible", str(error))
            self._mode, self._detail = BalancerMode.KERNEL, str(error)
            return False
        self._mode, self._detail = BalancerMode.DIRECTOR, how
        self._forget_all()
        self._say("director started", how)
        return True

    async def _leave_to_kernel(self) -> None:
        if self._mode is BalancerMode.KERNEL:
            return
        with self._problems.watch(_PROBLEM):
            await self._world.balancer.stop()
            self._mode, self._detail = BalancerMode.KERNEL, "the platform says director: false"
            self._forget_all()
            self._say("director stopped", self._detail)

    def _forget_all(self) -> None:
        self._known, self._tables, self._refused = {}, {}, {}
        self._problems.set(_SERVICES, "")

    async def _attach(self) -> None:
        async with self._busy:
            target, instances = self._target, self._instances
            if target is None or instances is None:
                return
            hooks = hooks_of(target.platform, target.machine, instances)
            sentences = await self._world.balancer.attach(hooks)
            not_done = [word for word in sentences if word.startswith(("missing ", "refused "))]
            absent = {word.split()[1].removesuffix(":") for word in not_done}
            self._attached = frozenset(instances) - absent
            refused = [word for word in not_done if word.startswith("refused ")]
            if refused:
                raise UnavailableError("; ".join(refused[:_NAMED]))

    # ---- following -------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            with self._problems.watch("director listening"):
                async for _ in self._world.network.table_changes(INSTANCE_TABLE):
                    self._hint.set()
            await self._world.clock.sleep(BEAT_SECONDS)

    async def _look(self) -> _Candidates:
        return candidates_of(await self._world.network.host_routes(INSTANCE_TABLE))

    async def _follow(self) -> None:
        found = await self._look()
        if self._misses(found):
            await self._world.clock.sleep(GONE_SECONDS)
            found = await self._look()
        believed = await self._fill_in(found)
        if believed is not None:
            await self._make(believed)

    async def _fill_in(self, found: _Candidates) -> _Candidates | None:
        """Return the candidates to believe in; None: what the kernel has is the best we know.

        A machine that is cut off from all others loses their routes, which says nothing of
        their instances. When it is back it must not lead old flows astray, so it goes on with
        whom it knew, until it has had the time to hear of everybody.
        """
        now = self._world.clock.monotonic()
        if self._is_alone(found) and await self._is_cut_off():
            await self._world.clock.sleep(ALONE_SECONDS)
            found = await self._look()
            still_alone = self._is_alone(found) and await self._is_cut_off()
            if still_alone and not await self._hears_a_node():
                self._remember(now)
                if not self._kept:
                    return None
        if self._kept and self._reunited_at is not None:
            if now - self._reunited_at >= REUNION_SECONDS:
                self._kept, self._reunited_at = frozenset(), None
                _log.info("candidates known again")
        elif self._kept and not await self._is_cut_off():
            self._reunited_at = now
        self._seen |= {each.address: (each, now) for some in found.values() for each in some}
        return with_kept(found, self._kept)

    def _remember(self, now: float) -> None:
        self._reunited_at = None
        if self._kept:
            return
        recent = now - RECENT_SECONDS
        self._kept = frozenset(one for one, at in self._seen.values() if at >= recent)
        self._seen = {}
        if self._kept:
            _log.warning("cut off from all others", candidates_kept=len(self._kept))

    def _is_alone(self, found: _Candidates) -> bool:
        own = frozenset((self._instances or {}).values())
        return all(each.address in own for some in found.values() for each in some)

    async def _is_cut_off(self) -> bool:
        """Whether no other machine of ours tells us anything.

        Nodes have default routes from edges; edges hear of services from anywhere.
        """
        network, target = self._world.network, self._target
        if target is None:
            return False
        if target.platform.machine(target.machine).role is Role.NODE:
            routes = await network.routes(_MAIN_TABLE)
            return not any(route.prefix.prefixlen == 0 and route.nexthops for route in routes)
        return not (await network.routes(LOCAL_TABLE) or await network.routes(REMOTE_TABLE))

    async def _hears_a_node(self) -> bool:
        """Whether a node has a session with this edge: by that it says that nobody is ready."""
        try:
            sessions = await self._world.bird.sessions()
        except UnavailableError:
            return False
        return any(each.up and each.name.startswith("node.") for each in sessions)

    def _guests_now(self) -> Mapping[int, tuple[IPv6Address, ...]]:
        """Return the guests of each service: now wanted, or until lately.

        No new target says that a drain has ended by itself.
        """
        now, target = self._world.clock.monotonic(), self._target
        moving = target and target.interventions.moves_clients(self._world.clock.unix_ms())
        if target and target.guests and moving:
            self._guests, self._guests_until = target.guests, now + GUESTS_SECONDS
        elif now >= self._guests_until:
            self._guests = ()
        found: dict[int, tuple[IPv6Address, ...]] = {}
        for address in self._guests:
            number = service_id_of(address)
            found[number] = (*found.get(number, ()), address)
        return found

    async def _make(self, found: _Candidates) -> None:
        guests = self._guests_now()
        wanted = {
            number: (self._services[number], some, guests.get(number, ()))
            for number, some in found.items()
            if number in self._services
        }
        gone = self._world.balancer.installed() - wanted.keys()
        for number in gone:
            self._forget(number)
        self._refused = {n: each for n, each in self._refused.items() if n in wanted}
        changed = self._changed(wanted, has_room=bool(gone))
        try:
            await self._put_all(wanted, changed)
        finally:
            self._problems.set(_SERVICES, self._refusals)

    def _changed(self, wanted: Mapping[int, _Wanted], *, has_room: bool) -> list[int]:
        """Return whose table is to be made; of the refused ones, if it may go well now."""
        now = self._world.clock.monotonic()
        return [
            number
            for number in wanted
            if wanted[number] != self._known.get(number)
            and (
                (refusal := self._refused.get(number)) is None
                or has_room
                or refusal.wanted != wanted[number]
                or now >= refusal.again_at
            )
        ]

    async def _put_all(self, wanted: Mapping[int, _Wanted], changed: list[int]) -> None:
        new = [number for number in changed if self._is_new(number, wanted[number])]
        # What only takes somebody away is done at once, and it is what is urgent.
        for number in sorted(set(changed) - set(new)):
            self._try_to_put(number, wanted[number])
            await self._world.clock.sleep(0)
        started = self._world.clock.monotonic()
        for number in sorted(new):
            self._try_to_put(number, wanted[number])
            await self._world.clock.sleep(0)
            if self._hint.is_set() or self._world.clock.monotonic() > started + SLICE_SECONDS:
                self._hint.set()
                return

    def _misses(self, found: _Candidates) -> bool:
        return any(
            {each.address for each in some} - {each.address for each in found.get(number, ())}
            for number, (_, some, _) in self._known.items()
        )

    def _is_new(self, number: int, wanted: _Wanted) -> bool:
        _, some, guests = wanted
        if guests and guests != self._known.get(number, wanted)[2]:
            return True
        ranking = self._rankings.get(number)
        members = {(each.address, each.weight) for each in some}
        return ranking is None or not members <= set(ranking.members)

    def _try_to_put(self, number: int, wanted: _Wanted) -> None:
        """Make a table; a service that cannot have one is left to the kernel's routes.

        It must not take the others along, which go stale if this does not come to its end.
        """
        try:
            self._put(number, wanted)
        except Exception as error:  # noqa: BLE001 - as in Problems.watch: also a bug of ours
            if not isinstance(error, UnavailableError):
                _log.error("table not made", service=wanted[0].name, exc_info=True)
            self._forget(number)  # rather no table than one that is not right any more
            again_at = self._world.clock.monotonic() + RETRY_SECONDS
            why = str(error) or type(error).__name__
            self._refused[number] = _Refusal(wanted, why, again_at)
        else:
            self._refused.pop(number, None)

    @property
    def _refusals(self) -> str:
        """Say which services have no table, and why; `` if all have theirs."""
        if not self._refused:
            return ""
        every = [self._refused[number] for number in sorted(self._refused)]
        names = ", ".join(each.wanted[0].name for each in every[:_NAMED])
        more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
        return f"{names}{more}: left to the kernel's routes, as {every[0].why}"

    def _put(self, number: int, wanted: _Wanted) -> None:
        service, some, guests = wanted
        table, ranking = make_table(service, some, self._rankings.get(number))
        self._world.balancer.put(with_guests(table, guests))
        before = self._known.get(number, (service, (), ()))[1]
        self._rankings[number] = ranking
        self._known[number] = wanted
        self._tables[number] = table
        # Said in the log alone: every machine does the same, and routes are the news.
        _log.info("table changed", service=service.name, change=_difference(before, some))

    def _forget(self, number: int) -> None:
        self._world.balancer.remove(number)
        self._rankings.pop(number, None)
        self._tables.pop(number, None)
        before = self._known.pop(number, None)
        if before is not None:
            _log.info("table removed", service=before[0].name)

    def _say(self, what: str, detail: str) -> None:
        target = self._target
        self._journal.say(f"machine/{target.machine if target else ''}", what, detail)

    # ---- looking ---------------------------------------------------------------------------

    def view(self) -> BalancerView:
        """Return all there is to see; UnavailableError if the kernel does not tell."""
        target = self._target
        if target is None or self._mode is not BalancerMode.DIRECTOR:
            machine = target.machine if target else ""
            return BalancerView(machine=machine, mode=self._mode, detail=self._detail)
        counts = self._world.balancer.counts()
        return BalancerView(
            machine=target.machine,
            mode=self._mode,
            detail="; ".join(filter(None, (self._detail, self._refusals))),
            heartbeat_age_ms=self._world.balancer.beat_age_ms(),
            devices=hooks_of(target.platform, target.machine, self._instances or {}),
            tables=tuple(
                TableView(
                    service=table.service,
                    candidates=self._known[number][1],
                    shares=shares(table),
                    counts=counts.services.get(number, ServiceCounts()),
                    instance_counts=tuple(
                        counts.instances.get(str(address), InstanceCounts())
                        for address in table.addresses
                    ),
                )
                for number, table in sorted(self._tables.items())
            ),
            totals=counts.totals,
        )

    def row(self, service_id: int, row: int) -> tuple[IPv6Address, ...]:
        """Return what the kernel has in a row, without guests.

        Raises:
            UnavailableError: it does not tell.
        """
        if self._mode is not BalancerMode.DIRECTOR:
            return ()
        kernel = self._world.balancer.row(service_id, row)
        guests = frozenset(self._guests)
        return tuple(address for address in kernel if address not in guests)


def _difference(before: tuple[Candidate, ...], after: tuple[Candidate, ...]) -> str:
    old, new = ({each.address: each for each in some} for some in (before, after))
    words = [f"+{address}" for address in sorted(new.keys() - old.keys())]
    words += [f"-{address}" for address in sorted(old.keys() - new.keys())]
    words += [
        f"{address} {new[address].state.name.lower()} weight {new[address].weight}"
        for address in sorted(old.keys() & new.keys())
        if old[address] != new[address]
    ]
    return ", ".join(words)
