"""What one controller knows now: the store's documents and the contact of the machines."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from random import Random

from pltfrms.controller.contact.bakes import Bakes, RunsSeen
from pltfrms.controller.contact.contacts import Contacts, why_nobody_is_judged
from pltfrms.controller.contact.measured import SLOW_SECONDS, Trouble
from pltfrms.controller.contact.signs import Signs
from pltfrms.controller.contact.suspicions import Suspicions
from pltfrms.controller.records.state import (
    PREFIX,
    Reader,
    Stored,
    kind_sizes,
)
from pltfrms.drivers.clock import wait_event
from pltfrms.drivers.ports import Clock
from pltfrms.drivers.store.ports import Listing, Store
from pltfrms.drivers.store.watching import Mirror
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.store import KindSize
from pltfrms.model.network.topology import Machine, Platform, Role
from pltfrms.model.running.state import Contact, MachineStatus, MachineView, Snapshot
from pltfrms.model.services.secrets import StoredSecret
from pltfrms.planner.placement.evidence import judge
from pltfrms.planner.placement.target import Makings

STALE_SECONDS = 5.0
"""A store that answered no list for so long counts as not answering. It is listed every 2 s."""
_RESYNC_SECONDS = 2.0
_TICK_SECONDS = 0.25
_LATE_SECONDS = 0.7
"""Who wakes up so much later than asked for had no processor, nor time for heartbeats."""
_GIVEN_UP = 3
"""Machines that gave up on us within a TTL; one or two may have been ended just then."""


class View:
    """Turns what the mirror holds into snapshots; decides nothing."""

    def __init__(
        self, lease_store: Store, clock: Clock, mirror: Mirror, trouble: Trouble
    ) -> None:
        """Look through `mirror`, which looks at the store itself where that is needed.

        Of leases `lease_store` is asked, which answers them at once.
        """
        self._clock = clock
        self._mirror = mirror
        self._trouble = trouble
        self._reader = Reader()
        self._contacts = Contacts()
        self._bakes = Bakes(clock)
        self._begun = RunsSeen(clock)
        self.suspicions = Suspicions(lease_store, clock, self._contacts)
        self._listing: Listing | None = None
        self._stored: Stored | None = None
        self._readable: Stored | None = None
        """The newest of which all intent could be read."""
        self._observed_at: float | None = None
        self._makings: Makings | None = None
        self._measured: tuple[object, Mapping[str, KindSize]] = ((), {})
        self._committed = asyncio.Event()
        """Set, and replaced by the next one, when there is another last commit."""
        self._given_up, self._kept_waiting = Signs(), Signs()
        """Machines that did not wait for our answers to their heartbeats; that waited long."""
        self._indexed: Platform | None = None
        self._managed: Mapping[str, Machine] = {}
        self._homes: Mapping[str, str] = {}
        """The datacenter of each machine with an agent of ours."""
        self._edges: tuple[str, ...] = ()
        self._controllers: tuple[str, ...] = ()

    @property
    def fresh(self) -> bool:
        """Whether the store has answered lately."""
        return self._mirror.answered_within(STALE_SECONDS)

    @property
    def revision(self) -> int:
        """The revision of the store in the mirror; 0: it has never answered."""
        listing = self._mirror.listing
        return listing.revision if listing else 0

    @property
    def commit(self) -> int:
        """The last commit that is known; 0: there is none."""
        return self._stored.commit if self._stored else 0

    @property
    def platform(self) -> Platform | None:
        """The platform as it was known last."""
        return self._stored.platform if self._stored else None

    @property
    def controllers(self) -> tuple[str, ...]:
        """The controllers that lived when the store answered last."""
        return tuple(sorted(self._stored.controllers)) if self._stored else ()

    @property
    def slowness(self) -> str:
        """Why nobody, or no edge and controller, is called lost now; empty: each may be.

        We or the store were slow, or it looks as if the way to many machines is.
        """
        platform, slow_at, now = self.platform, self._trouble.at, self._clock.monotonic()
        if platform is None:
            return ""
        ttl_seconds = platform.timers.contact_ttl_seconds
        slow = ""
        if slow_at is not None:
            slow = why_nobody_is_judged(now, slow_at, self._trouble.what, ttl_seconds)
        return slow or self._contacts.crowd(now)

    @property
    def secrets_key(self) -> str:
        """The public key that values of secrets were sealed to when the store answered last."""
        return self._stored.secrets_key if self._stored else ""

    @property
    def secrets(self) -> tuple[StoredSecret, ...]:
        """The secrets as they were when the store answered last."""
        return tuple(self._stored.secrets.values()) if self._stored else ()

    @property
    def controller_problems(self) -> Mapping[str, str]:
        """What keeps controllers from deciding, as each has said of itself."""
        return self._stored.controller_problems if self._stored else {}

    def stored(self) -> Stored:
        """Return what the mirror holds, decoded.

        Raises:
            UnavailableError: the store has not answered lately.
        """
        self._update()
        if self._stored is None or not self.fresh:
            raise UnavailableError(
                "the store does not answer; try another controller, or later"
            )
        return self._stored

    def last_stored(self) -> Stored:
        """Return what the mirror held last, however long ago: enough to hear machines.

        Raises:
            UnavailableError: the store has never answered.
        """
        self._update()
        return self._stored or self.stored()

    def machine(self, name: str) -> Machine | None:
        """Return a machine with an agent of ours, as the platform was known last."""
        self._index()
        return self._managed.get(name)

    def _index(self) -> None:
        """Sort the platform's machines, once for each platform."""
        platform = self.platform
        if platform is self._indexed:
            return
        self._indexed = platform
        managed = platform.managed if platform else ()
        self._managed = {machine.name: machine for machine in managed}
        self._homes = {machine.name: machine.datacenter for machine in managed}
        edges = platform.machines_of(Role.EDGE) if platform else ()
        self._edges = tuple(edge.name for edge in edges)
        controllers = platform.machines_of(Role.CONTROLLER) if platform else ()
        self._controllers = tuple(controller.name for controller in controllers)

    def snapshot(self) -> Snapshot:
        """Return the present snapshot.

        Raises:
            UnavailableError: the store has not answered lately, is empty, or holds intent
                that cannot be read.
        """
        return self._snapshot(self.stored())

    def makings(self) -> Makings:
        """Return what targets are made of: while intent cannot be read, the last that could.

        Made once for each commit.

        Raises:
            UnavailableError: see `snapshot`; or intent could never be read.
        """
        stored = self.stored()
        served, made = self._readable or stored, self._makings
        if made is None or made.revision != served.commit:
            snapshot = self._snapshot(served)
            made = self._makings = Makings(snapshot, served.platform_revision, made)
        return made

    def require_readable(self) -> None:
        """Raise UnavailableError while there is intent that cannot be read here."""
        stored = self.stored()
        if stored.unreadable:
            raise _unreadable(stored)

    @property
    def divergences(self) -> int:
        """How many entries of the mirror a whole list has found to be wrong."""
        return self._mirror.divergences

    def last_known(self) -> tuple[Snapshot, float]:
        """Return what was known last, and for how many seconds the store has been away.

        While it is away every machine's contact is UNKNOWN: nobody can have told us of it.
        `last_contacts` says what it was.

        Raises:
            UnavailableError: nothing was ever known.
        """
        self._update()
        last = self._mirror.last_success_at
        if self._readable is None or last is None:
            return self.snapshot(), 0.0
        if self.fresh:
            return self._snapshot(self._readable), 0.0
        snapshot = self._readable.snapshot({}, self._clock.unix_ms())
        if snapshot is None:
            raise UnavailableError("the store held no platform when it answered last")
        return snapshot, self._clock.monotonic() - last

    def last_contacts(self) -> Mapping[str, MachineView]:
        """Return the contact of every machine when the store answered last."""
        return self._contacts.views(self._mirror.last_success_at or 0.0)

    def contacts(self) -> Mapping[str, Contact]:
        """Return of every machine whether it is in contact now."""
        return self._contacts.words()

    def _views(self) -> Mapping[str, MachineView]:
        return self._contacts.views(self._clock.monotonic())

    async def linearized(self) -> Snapshot:
        """Return a snapshot that contains every write finished before this call.

        Raises:
            UnavailableError: see `snapshot`.
        """
        return (await self.linearized_stored())[0]

    async def linearized_stored(self) -> tuple[Snapshot, Stored]:
        """Return the same, and what it was made of.

        Raises:
            UnavailableError: see `snapshot`.
        """
        self._update()
        stored = self._reader.read(await self._mirror.newest())
        return self._snapshot(stored), stored

    async def confirm_contacts(self) -> None:
        """Look at the store itself if the contact of a machine is not settled.

        Raises:
            UnavailableError: the store does not answer.
        """
        self._update()
        if self._contacts.undecided and self._stored and self._stored.platform:
            stored = self._reader.read(await self._mirror.newest())
            self._observe(self._clock.monotonic(), stored.leases, stored.statuses)

    async def wait(self, seconds: float, seen: int | None = None) -> None:
        """Return when the store has changed, or after some time.

        Since revision `seen`, or else since it was read last.
        """
        read = self._listing.revision if self._listing else 0
        await self._mirror.wait(read if seen is None else seen, seconds)

    async def wait_commit(self, commit: int, seconds: float) -> None:
        """Return when the last commit is another one than `commit`, or after some time."""
        self._update()
        if self._stored is None or self._stored.commit == commit:
            await wait_event(self._committed, self._clock, seconds)

    async def follow(self) -> None:
        """Decode what the mirror holds at once, for ever: who waits for a commit hears of it.

        One task looks at each listing, so that those who wait are woken by commits alone.
        """
        while True:
            await self._mirror.wait_newer(self._listing.revision if self._listing else 0)
            self._update()

    async def feel_lateness(self) -> None:
        """Notice, for ever, when we had no processor."""
        while True:
            due = self._clock.monotonic() + _TICK_SECONDS
            await self._clock.sleep(_TICK_SECONDS)
            now = self._clock.monotonic()
            if now - due > _LATE_SECONDS:
                self._doubt(now, f"this controller had no processor for {now - due:.1f} s")

    def now(self) -> float:
        """Return the time (monotonic) by which contact is judged."""
        return self._clock.monotonic()

    def sent_away(self, until: float) -> None:
        """Note that a machine was told to come again later, and is silent until then."""
        self._doubt(until, "machines come faster than they can be let in")

    def answered(self, machine: str, seconds: float) -> None:
        """Note how long a heartbeat waited for our answer, perhaps longer than it should."""
        if seconds > SLOW_SECONDS and self._signs_of(self._kept_waiting, machine):
            self._doubt(self.now(), f"a heartbeat waited {seconds:.1f} s for our answer")

    def given_up(self, machine: str) -> None:
        """Note that a machine did not wait for our answer to its heartbeat.

        When several do so we are too slow for all, in whichever part of us: others may not
        even have been let in.
        """
        count = self._signs_of(self._given_up, machine)
        if count >= _GIVEN_UP:
            self._doubt(self.now(), f"{count} machines gave up waiting for an answer")

    def _signs_of(self, signs: Signs, machine: str) -> int:
        ttl_seconds = self.platform.timers.contact_ttl_seconds if self.platform else 0
        every = len(self.platform.managed) if self.platform else 0
        return signs.note(machine, self.now(), ttl_seconds, every)

    def _doubt(self, now: float, what: str) -> None:
        self._trouble.at, self._trouble.what = now, what
        self._contacts.doubt(now)

    def _snapshot(self, stored: Stored) -> Snapshot:
        snapshot = stored.snapshot(self._views(), self._clock.unix_ms())
        if stored.unreadable:
            raise _unreadable(stored)
        if snapshot is None:
            raise UnavailableError("the store holds no platform yet; try again soon")
        return replace(
            snapshot,
            bakes_ms=self._bakes.seen_ms(snapshot.services),
            runs_seen_ms=self._begun.seen_ms(snapshot.runs),
        )

    def _update(self) -> None:
        listing, at = self._mirror.listing, self._mirror.last_success_at
        if listing is None or at is None or at == self._observed_at:
            return
        if self._listing and self._stored and listing.entries is self._listing.entries:
            self._stored = replace(self._stored, revision=listing.revision)
            self._listing = listing
        elif listing is not self._listing:
            before, self._stored = self._stored, self._reader.read(listing)
            if before is None or before.commit != self._stored.commit:
                self._committed.set()
                self._committed = asyncio.Event()
            if not self._stored.unreadable:
                self._readable = self._stored
            self._listing = listing
        self._observed_at = at
        if self._stored:
            self._observe(at, self._stored.leases, self._stored.statuses)

    def _observe(
        self, at: float, leases: Mapping[str, int], statuses: Mapping[str, MachineStatus]
    ) -> None:
        platform = self._stored.platform if self._stored else None
        if platform is None:
            return
        if self._trouble.at is not None:
            self._contacts.doubt(self._trouble.at)
        self._index()
        edges = (statuses.get(edge) for edge in self._edges)
        vanished = {node for edge in edges if edge for node in edge.vanished}
        asked = vanished.union(self._homes.keys() - leases.keys())
        evidence = judge(platform, statuses, leases.keys(), asked) if asked else {}
        ttl_seconds = platform.timers.contact_ttl_seconds
        self._contacts.observe(at, ttl_seconds, self._homes, leases, evidence)
        self.suspicions.follow(platform.timers, at)

    def kind_sizes(self) -> Mapping[str, KindSize]:
        """Return how much there is of each kind that is decided by; measured once."""
        entries = self._listing.entries if self._listing else ()
        if self._measured[0] is not entries:
            self._measured = (entries, kind_sizes(entries))
        return self._measured[1]

    def is_first(self, name: str) -> bool:
        """Return whether no controller before `name` lives.

        It decides who does what any controller could do, and nobody needs to do twice.
        """
        stored = self._stored
        if stored is None or stored.platform is None:
            return False
        self._index()
        if name not in self._controllers:
            return False
        before = self._controllers[: self._controllers.index(name)]
        return stored.controllers.isdisjoint(before)


def _unreadable(stored: Stored) -> UnavailableError:
    newer = ", for it cannot read what is wanted; ask one of a newer version"
    why = "" if stored.recovering else newer
    return UnavailableError(
        f"this controller decides nothing{why}: {'; '.join(stored.problems)}"
    )


def make_mirror(store: Store, clock: Clock, random: Random) -> Mirror:
    """Return a mirror of everything that is decided by."""
    return Mirror(store, PREFIX, clock, random=random, resync_seconds=_RESYNC_SECONDS)
