"""Which machines are in contact, judged by one controller over time.

A contact key lives as long as its lease; a lease ends one TTL after the machine's last
heartbeat, and so does the contact. Absence alone is no proof, though: a controller that
has just begun to look, or has just found the store again, sees keys missing of machines that
had nobody to tell that they live. So LOST takes three things: the controller has watched
without a gap for 2 x TTL + 1 s, it has seen the key absent twice, 0.5 s or more apart, and the
edges do not say otherwise (`planner.placement.evidence`). Until then a machine that was not
LOST already is UNKNOWN. Time in which the store failed, or kept a heartbeat waiting, or in
which the controller itself was late, is not watched time: who could not be heard then is given
as long again.

A node that all edges have heard fall silent need not wait for the end of its lease: its next
heartbeat must only be late for sure. When it was heard last, the rest of its lease tells.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pltfrms.drivers.store.ports import LeaseTime
from pltfrms.model.running.state import Contact, MachineView
from pltfrms.planner.placement.evidence import Evidence

CONFIRM_SECONDS = 0.5
"""Time between first seeing a key absent and calling the machine lost."""
_STEPS_SECONDS = (1, 2, 5, 10, 30, 60, 300, 900, 3600, 86_400)
"""In which a silence is told: what is said of it is a part of plans, which time alone should
not change each second."""
_NO_EVIDENCE = Evidence()


def why_nobody_is_judged(at: float, slow_at: float, what: str, ttl_seconds: int) -> str:
    """Return why a controller that was slow itself calls no machine lost at time `at`.

    `slow_at` is when it was slow last, and `what` how. Who could not be heard by then has as
    long to be heard as after a start. Empty: it judges.
    """
    left = slow_at + _sure_after(ttl_seconds) - at
    return f"no machine is called lost for {left:.0f} s more: {what}" if left > 0 else ""


def _sure_after(ttl_seconds: int) -> int:
    """Return for how many seconds contacts are watched before anybody is called lost."""
    return 2 * ttl_seconds + 1


@dataclass(slots=True)
class _Track:
    contact: Contact
    since: float
    lease: int = 0
    absent_since: float | None = None
    why: str = ""
    """Why it is not LOST although it should be by its heartbeats."""
    vanished_at: float | None = None
    """When all edges were first known to have heard it fall silent."""
    unheard: "_Unheard | None" = None
    ended: int = 0
    """The lease that was ended because it is lost; a listing from before may still have it."""


@dataclass(frozen=True, slots=True)
class _Unheard:
    """What the rest of a lease says: since when there was no heartbeat, at the latest."""

    since: float
    at: float
    """When the lease was looked at."""
    time: LeaseTime


class Contacts:
    """Judges contact from observations; all times are monotonic seconds."""

    def __init__(self) -> None:
        """Know nothing."""
        self._tracks: dict[str, _Track] = {}
        self._watching_since: float | None = None
        self._last_at = 0.0
        self._ttl_seconds = 0

    def doubt(self, at: float) -> None:
        """Begin to watch anew: until time `at` heartbeats may not have come through."""
        if self._watching_since is not None:
            self._watching_since = max(self._watching_since, at)

    def observe(
        self,
        at: float,
        ttl_seconds: int,
        machines: Iterable[str],
        leases: Mapping[str, int],
        evidence: Mapping[str, Evidence],
    ) -> None:
        """Take what the store said at time `at`: the leases of the machines in contact.

        `evidence` is on those that are not in contact, and that edges miss.
        """
        if at < self._last_at:
            return
        if self._watching_since is None or at - self._last_at > ttl_seconds:
            self._watching_since = at
        self._last_at, self._ttl_seconds = at, ttl_seconds
        sure = self._is_sure(at)
        wanted = set(machines)
        self._tracks = {name: t for name, t in self._tracks.items() if name in wanted}
        for name in wanted:
            track = self._tracks.setdefault(name, _Track(Contact.UNKNOWN, at))
            said = evidence.get(name, _NO_EVIDENCE)
            if name in leases:
                _see(track, at, leases[name], said)
            else:
                _miss(track, at, said, sure=sure)

    def views(self, at: float) -> dict[str, MachineView]:
        """Return the contact of every machine at time `at`."""
        return {name: self._view(track, at) for name, track in self._tracks.items()}

    @property
    def undecided(self) -> bool:
        """Whether a machine is UNKNOWN: another observation soon may settle it."""
        return any(
            track.contact is Contact.UNKNOWN and not track.why
            for track in self._tracks.values()
        )

    # ---- before a lease ends ---------------------------------------------------------------

    def suspects(self, at: float) -> dict[str, int]:
        """Return the leases of machines that edges have just heard fall silent, by name."""
        if not self._is_sure(at):
            return {}
        return {
            name: track.lease
            for name, track in sorted(self._tracks.items())
            if track.contact is Contact.PRESENT
            and track.vanished_at is not None
            and at - track.vanished_at <= self._ttl_seconds
        }

    def hear(self, name: str, at: float, time: LeaseTime) -> None:
        """Take what the rest of a machine's lease was at time `at`."""
        track = self._tracks.get(name)
        if track:
            track.unheard = _unheard(track.unheard, at, time)

    def is_overdue(self, name: str, at: float, seconds: float) -> bool:
        """Return whether a suspect was surely not heard for so long.

        What edges said before it was heard last says nothing of what came then.
        """
        track = self._tracks.get(name)
        if track is None or track.unheard is None or track.vanished_at is None:
            return False
        since = track.unheard.since
        return since < track.vanished_at and at - since >= seconds and self._is_sure(at)

    def lose(self, name: str, at: float) -> None:
        """Call a machine lost whose lease has just been ended."""
        track = self._tracks.get(name)
        if track:
            track.ended = track.lease
            _lose(track, at)

    # ---- parts -----------------------------------------------------------------------------

    def _is_sure(self, at: float) -> bool:
        began = self._watching_since
        return began is not None and at - began >= _sure_after(self._ttl_seconds)

    def _view(self, track: _Track, at: float) -> MachineView:
        why = ""
        if track.contact is Contact.UNKNOWN and track.why and track.absent_since is not None:
            seconds = at - track.absent_since + self._ttl_seconds
            passed = max((step for step in _STEPS_SECONDS if step <= seconds), default=0)
            why = f"no heartbeat for {passed} s or more; {track.why}"
        since_seconds = max(at - track.since, 0.0)
        return MachineView(contact=track.contact, since_seconds=since_seconds, why=why)


def _see(track: _Track, at: float, lease: int, said: Evidence) -> None:
    """Note a contact; a new lease means that it was lost in between, seen by us or not."""
    if lease == track.ended:
        return
    if track.contact is not Contact.PRESENT or track.lease != lease:
        track.contact, track.since, track.lease = Contact.PRESENT, at, lease
        track.vanished_at = track.unheard = None
    track.absent_since, track.why = None, ""
    if not said.vanished:
        track.vanished_at = track.unheard = None
    elif track.vanished_at is None:
        track.vanished_at = at


def _miss(track: _Track, at: float, said: Evidence, *, sure: bool) -> None:
    if track.absent_since is None:
        track.absent_since = at
    if track.contact is Contact.LOST:
        if said.lives:  # whatever made us think otherwise
            track.contact, track.since, track.why = Contact.UNKNOWN, at, said.lives
        return
    confirmed = sure and at - track.absent_since >= CONFIRM_SECONDS
    track.why = said.why_not_lost if confirmed else ""
    if confirmed and not track.why:
        _lose(track, at)
    elif track.contact is Contact.PRESENT:
        track.contact, track.since = Contact.UNKNOWN, at


def _lose(track: _Track, at: float) -> None:
    track.contact, track.since, track.why = Contact.LOST, at, ""
    track.vanished_at = track.unheard = None


def _unheard(before: _Unheard | None, at: float, time: LeaseTime) -> _Unheard:
    """Return since when there was no heartbeat, at the latest.

    A lease of 3 s of which 1 s is left, rounded down, was renewed more than 1 s ago. If it was
    so at a look less than a second earlier too, it was not renewed in between, for then it
    would have more; a full lease says nothing.
    """
    age = time.granted_seconds - time.remaining_seconds - 1
    since = at - max(age, 0)
    if before and before.time == time and age > 0 and at - before.at < 1:
        since = min(since, before.since)
    return _Unheard(since, at, time)
