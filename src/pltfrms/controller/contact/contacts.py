"""Which machines are in contact, judged by one controller over time.

A contact key lives as long as its lease; a lease ends one TTL after the machine's last
heartbeat, and so does the contact. Absence alone is no proof, though: a controller that
has just begun to look, or has just found the store again, sees keys missing of machines that
had nobody to tell that they live. So LOST takes three things: the controller has watched
without a gap for 2 x TTL + 1 s, it has seen the key absent twice, 0.5 s or more apart (a TTL,
if nothing is moved for the machine), and the edges do not say otherwise
(`planner.placement.evidence`). Until then a machine that was not LOST already is UNKNOWN. Time
in which the store failed, or kept a heartbeat waiting, or in which the controller itself was
late, is not watched time: who could not be heard then is given as long again. So it is with who
was lost before: until then it counts as lost for no longer than it was watched since, for what
is decided after a long time is not decided before it could have been heard.

Machines of which nobody but themselves can tell (edges, controllers) are not judged while
machines of several datacenters fall silent at once: datacenters fail apart, so more likely they
live, and something is slow (`why_rather_unheard`). Nor are they while most of all machines are
silent, in each datacenter. That holds off their judgement for a minute at most.

A node that all edges have heard fall silent need not wait for the end of its lease: its next
heartbeat must only be late for sure. When it was heard last, the rest of its lease tells.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pltfrms.drivers.store.ports import LeaseTime
from pltfrms.model.running.state import Contact, MachineView
from pltfrms.planner.placement.evidence import Evidence

CONFIRM_SECONDS = 0.5
"""Time between first seeing a key absent and calling the machine lost."""
CROWD_MIN = 3
"""Machines that fall silent at once, of several datacenters: one or two may be repaired just
then, or die one after the other."""
CROWD_SECONDS_MAX = 60
"""However many fall silent, who is silent for so long is lost: one who goes on and off may not
keep others from being judged for ever."""
_STEPS_SECONDS = (1, 2, 5, 10, 30, 60, 300, 900, 3600, 86_400)
"""In which a silence is told: what is said of it is a part of plans, which time alone should
not change each second."""
_NO_EVIDENCE = Evidence()
_IN_A_CROWD = "machines of several datacenters fell silent at once, and nobody else hears it"


def why_nobody_is_judged(at: float, slow_at: float, what: str, ttl_seconds: int) -> str:
    """Return why a controller that was slow itself calls no machine lost at time `at`.

    `slow_at` is when it was slow last, and `what` how. Who could not be heard by then has as
    long to be heard as after a start. Empty: it judges.
    """
    left = slow_at + _sure_after(ttl_seconds) - at
    return f"no machine is called lost for {left:.0f} s more: {what}" if left > 0 else ""


def why_rather_unheard(datacenters: Sequence[str], seconds: int) -> str:
    """Return why machines without a witness are not judged; empty: they are.

    `datacenters` has one for each machine that fell silent within the last `seconds`.
    """
    sites = len(set(datacenters))
    if sites < 2 or len(datacenters) < CROWD_MIN:  # noqa: PLR2004 - several
        return ""
    return (
        f"no edge or controller is called lost: {len(datacenters)} machines of {sites} "
        f"datacenters fell silent within {seconds} s, which are rather not heard than dead"
    )


def why_most_rather_unheard(silent: Counter[str], heard: Counter[str]) -> str:
    """Return why machines without a witness are not judged; empty: they are.

    By datacenter: how many machines have fallen silent within the last minute and are still,
    and how many are in contact.
    """
    several = len(silent) > 1
    if not several or any(silent[each] <= heard[each] for each in silent.keys() | heard.keys()):
        return ""
    return (
        f"no edge or controller is called lost: {silent.total()} machines are silent, most of "
        f"each of {len(silent)} datacenters, which are rather not heard than dead"
    )


def _sure_after(ttl_seconds: int) -> int:
    """Return for how many seconds contacts are watched before anybody is called lost."""
    return 2 * ttl_seconds + 1


@dataclass(slots=True)
class _Track:
    contact: Contact
    since: float
    lease: int = 0
    datacenter: str = ""
    absent_since: float | None = None
    silent_at: float | None = None
    """When it fell silent last, also if it was heard again since."""
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
        self._calm: tuple[Mapping[str, str], Mapping[str, int]] | None = None
        """All machines were in contact, by these leases, and nobody said otherwise."""

    def doubt(self, at: float) -> None:
        """Begin to watch anew: until time `at` heartbeats may not have come through."""
        if self._watching_since is not None:
            self._watching_since = max(self._watching_since, at)

    def observe(
        self,
        at: float,
        ttl_seconds: int,
        machines: Mapping[str, str],
        leases: Mapping[str, int],
        evidence: Mapping[str, Evidence],
    ) -> None:
        """Take what the store said at time `at`: the leases of the machines in contact.

        `machines` are the datacenters of all, by name. `evidence` is on those that are not in
        contact, and that edges miss.
        """
        if at < self._last_at:
            return
        if self._watching_since is None or at - self._last_at > ttl_seconds:
            self._watching_since = at
        self._last_at, self._ttl_seconds = at, ttl_seconds
        calm = self._calm
        if calm and calm[0] is machines and calm[1] is leases and not evidence:
            return
        known = self._tracks
        self._tracks = {
            name: known.get(name) or _Track(Contact.UNKNOWN, at) for name in machines
        }
        for name, track in self._tracks.items():
            track.datacenter = machines[name]
            if name not in leases:
                _note_absence(track, at)
        crowded = bool(self.crowd(at))
        for name, track in self._tracks.items():
            said = evidence.get(name, _NO_EVIDENCE)
            if name in leases:
                _see(track, at, leases[name], said)
            else:
                self._miss(track, at, said, crowded=crowded)
        present = all(each.contact is Contact.PRESENT for each in self._tracks.values())
        self._calm = (machines, leases) if present and not evidence else None

    def crowd(self, at: float) -> str:
        """Return why at time `at` machines are not judged of which nobody else can tell."""
        seconds = _sure_after(self._ttl_seconds)
        fallen = [
            (track, at - track.silent_at)
            for track in self._tracks.values()
            if track.silent_at is not None
        ]
        lately = [track.datacenter for track, since in fallen if since < seconds]
        silent = Counter(
            track.datacenter
            for track, since in fallen
            if track.contact is Contact.UNKNOWN and since < CROWD_SECONDS_MAX
        )
        said = why_rather_unheard(lately, seconds)
        if said or not silent:
            return said
        present = (t for t in self._tracks.values() if t.contact is Contact.PRESENT)
        return why_most_rather_unheard(silent, Counter(each.datacenter for each in present))

    def views(self, at: float) -> dict[str, MachineView]:
        """Return the contact of every machine at time `at`."""
        return {name: self._view(track, at) for name, track in self._tracks.items()}

    def words(self) -> dict[str, Contact]:
        """Return of every machine whether it is in contact, without since when."""
        return {name: track.contact for name, track in self._tracks.items()}

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
        if self._calm or not self._is_sure(at):
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
        track, self._calm = self._tracks.get(name), None
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
        track, self._calm = self._tracks.get(name), None
        if track:
            track.ended = track.lease
            _lose(track, at)

    # ---- parts -----------------------------------------------------------------------------

    def _is_sure(self, at: float) -> bool:
        began = self._watching_since
        return began is not None and at - began >= _sure_after(self._ttl_seconds)

    def _miss(self, track: _Track, at: float, said: Evidence, *, crowded: bool) -> None:
        if track.contact is Contact.LOST:
            if said.lives:  # whatever made us think otherwise
                track.contact, track.since, track.why = Contact.UNKNOWN, at, said.lives
            return
        seconds = at - (at if track.absent_since is None else track.absent_since)
        confirm_seconds = self._ttl_seconds if said.idle else CONFIRM_SECONDS
        confirmed = self._is_sure(at) and seconds >= confirm_seconds
        unheard = _IN_A_CROWD if crowded and said.alone and seconds < CROWD_SECONDS_MAX else ""
        track.why = (said.why_not_lost or unheard) if confirmed else ""
        if confirmed and not track.why:
            _lose(track, at)
        elif track.contact is Contact.PRESENT:
            track.contact, track.since = Contact.UNKNOWN, at

    def _view(self, track: _Track, at: float) -> MachineView:
        why = ""
        if track.contact is Contact.UNKNOWN and track.why and track.absent_since is not None:
            seconds = at - track.absent_since + self._ttl_seconds
            passed = max((step for step in _STEPS_SECONDS if step <= seconds), default=0)
            why = f"no heartbeat for {passed} s or more; {track.why}"
        since = track.since
        if track.contact is Contact.LOST and not self._is_sure(at):
            since = max(since, self._watching_since or at)
        since_seconds = max(at - since, 0.0)
        return MachineView(contact=track.contact, since_seconds=since_seconds, why=why)


def _note_absence(track: _Track, at: float) -> None:
    if track.absent_since is None:
        track.absent_since = at
        if track.contact is Contact.PRESENT:
            track.silent_at = at


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
