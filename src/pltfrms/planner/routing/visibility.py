"""On how many sessions the outside hears each aggregate, as far as edges have told. Pure.

We cannot look into the tables of others. What we can know is on which sessions that are up an
edge announces something while it means to announce the aggregate. What it is worth to somebody
far away, only a looking glass of somebody else can say.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.announcements import Announcement, announcements
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.state import Contact, MachineStatus, SessionStatus, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Visibility:
    """Where the outside hears an aggregate."""

    prefix: Prefix
    sessions: int
    """That it is announced on for sure."""
    datacenters: frozenset[str]
    """That have one of them."""
    unknown: int
    """Sessions of edges that are out of contact or have not told."""
    possible: int
    """Sessions of its address family in the spec, where it may be announced."""
    places: int
    """Datacenters that have one of these."""

    def shortfalls(self, platform: Platform) -> tuple[str, ...]:
        """Return what is less than the platform's floors, whatever the unknown ones do."""
        guards = platform.guards
        floor = min(guards.vantage_floor, self.possible)
        unknown = f" ({self.unknown} more not known)" if self.unknown else ""
        found = []
        if self.sessions + self.unknown < floor:
            heard = f"{self.sessions} of {self.possible} sessions{unknown}"
            found.append(f"announced on {heard}; vantage_floor is {floor}")
        places = min(guards.announce_floor, max(self.places, 1))
        if not self.unknown and len(self.datacenters) < places:
            count = len(self.datacenters)
            found.append(f"announced from {count} datacenters; announce_floor is {places}")
        return tuple(found)


def visibility(
    platform: Platform,
    interventions: Interventions,
    statuses: Mapping[str, MachineStatus],
    now_ms: int,
) -> tuple[Visibility, ...]:
    """Return it for every aggregate; `statuses` are those of edges in contact."""
    everything = announcements(platform, interventions, now_ms)
    return tuple(
        _visibility(
            aggregate.prefix,
            [each for each in everything if each.prefix == aggregate.prefix],
            statuses,
        )
        for aggregate in platform.aggregates
    )


def present_statuses(snapshot: Snapshot) -> dict[str, MachineStatus]:
    """Return the statuses of the machines in contact."""
    return {
        name: status
        for name, status in snapshot.statuses.items()
        if snapshot.contact(name) is Contact.PRESENT
    }


def _visibility(
    prefix: Prefix, wanted: Iterable[Announcement], statuses: Mapping[str, MachineStatus]
) -> Visibility:
    heard = [(each, is_heard(each, statuses.get(each.edge))) for each in wanted]
    return Visibility(
        prefix=prefix,
        sessions=sum(known is True for _, known in heard),
        datacenters=frozenset(each.datacenter for each, known in heard if known),
        unknown=sum(known is None for _, known in heard),
        possible=len(heard),
        places=len({each.datacenter for each, _ in heard}),
    )


def is_heard(each: Announcement, status: MachineStatus | None) -> bool | None:
    """Return whether a peer is told of an aggregate, by what its edge says; None: not known."""
    if not each.visible:
        return False
    if status is None:
        return None
    name = f"peer.{each.session.partition('@')[0]}.ipv{each.prefix.version}"
    session = _named(status.sessions, name)
    said = next((a for a in status.aggregates if a.prefix == str(each.prefix)), None)
    if session is None or said is None or (said.announced and not session.counted):
        return None
    return said.announced and session.up and session.exported > 0


def _named(sessions: Iterable[SessionStatus], name: str) -> SessionStatus | None:
    return next((session for session in sessions if session.name == name), None)
