"""Which machines are in contact, judged by one controller over time.

A contact key lives as long as its lease; a lease ends one TTL after the machine's last
heartbeat, and so does the contact. Absence alone is no proof, though: a controller that
has just begun to look, or has just found the store again, sees keys missing of machines that
had nobody to tell that they live. So LOST takes two things: the controller has watched
without a gap for 2 x TTL + 1 s, and has seen the key absent twice, 0.5 s or more apart.
Until then a machine that was not LOST already is UNKNOWN. Time in which the store failed, or
kept a heartbeat waiting, or in which the controller itself was late, is not watched time: who
could not be heard then is given as long again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pltfrms.model.state import Contact, MachineView

CONFIRM_SECONDS = 0.5
"""Time between first seeing a key absent and calling the machine lost."""


@dataclass(slots=True)
class _Track:
    contact: Contact
    since: float
    lease: int = 0
    absent_since: float | None = None


class Contacts:
    """Judges contact from observations; all times are monotonic seconds."""

    def __init__(self) -> None:
        """Know nothing."""
        self._tracks: dict[str, _Track] = {}
        self._watching_since: float | None = None
        self._last_at = 0.0

    def doubt(self, at: float) -> None:
        """Begin to watch anew: until time `at` heartbeats may not have come through."""
        if self._watching_since is not None:
            self._watching_since = max(self._watching_since, at)

    def observe(
        self, at: float, ttl_seconds: int, machines: Iterable[str], leases: Mapping[str, int]
    ) -> None:
        """Take what the store said at time `at`: the leases of the machines in contact."""
        if at < self._last_at:
            return
        if self._watching_since is None or at - self._last_at > ttl_seconds:
            self._watching_since = at
        self._last_at = at
        sure = at - self._watching_since >= 2 * ttl_seconds + 1
        wanted = set(machines)
        self._tracks = {name: t for name, t in self._tracks.items() if name in wanted}
        for name in wanted:
            track = self._tracks.setdefault(name, _Track(Contact.UNKNOWN, at))
            if name in leases:
                _see(track, at, leases[name])
            else:
                _miss(track, at, sure=sure)

    def views(self, at: float) -> dict[str, MachineView]:
        """Return the contact of every machine at time `at`."""
        return {
            name: MachineView(contact=track.contact, since_seconds=max(at - track.since, 0.0))
            for name, track in self._tracks.items()
        }

    @property
    def undecided(self) -> bool:
        """Whether a machine is UNKNOWN: another observation soon may settle it."""
        return any(track.contact is Contact.UNKNOWN for track in self._tracks.values())


def _see(track: _Track, at: float, lease: int) -> None:
    """Note a contact; a new lease means that it was lost in between, seen by us or not."""
    if track.contact is not Contact.PRESENT or track.lease != lease:
        track.contact, track.since, track.lease = Contact.PRESENT, at, lease
    track.absent_since = None


def _miss(track: _Track, at: float, *, sure: bool) -> None:
    if track.contact is Contact.LOST:
        return
    if track.absent_since is None:
        track.absent_since = at
    if sure and at - track.absent_since >= CONFIRM_SECONDS:
        track.contact, track.since = Contact.LOST, at
    elif track.contact is Contact.PRESENT:
        track.contact, track.since = Contact.UNKNOWN, at
