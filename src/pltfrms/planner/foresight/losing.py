"""A snapshot in which something has failed. Pure."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final

from pltfrms.errors import UsageError
from pltfrms.model.network.topology import Machine, Platform, Role
from pltfrms.model.running.state import Contact, MachineStatus, MachineView, Snapshot

KINDS: Final = ("datacenter", "node", "edge", "controller", "machine", "link")
_ROLES: Final = {"node": Role.NODE, "edge": Role.EDGE, "controller": Role.CONTROLLER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """What has failed, by name."""

    machines: frozenset[str]
    links: frozenset[str]


def loss_words(platform: Platform) -> Iterator[str]:
    """Yield all that may be lost, as `lost_of` reads it."""
    yield from (f"datacenter/{each.name}" for each in platform.datacenters)
    for machine in platform.machines:
        yield from (f"{role}/{machine.name}" for role in machine.roles)
    yield from (f"link/{link.name}" for link in platform.links)


def lost_of(platform: Platform, words: Sequence[str]) -> Lost:
    """Return what `datacenter/fra`, `node/fra-n1`, `link/fra-e1--ams-e2` and so on stand for.

    Raises:
        UsageError: there is no such thing.
    """
    known = tuple(loss_words(platform))
    machines: set[str] = set()
    links: set[str] = set()
    for word in words:
        kind, _, name = word.partition("/")
        found = {each.name for each in platform.machines if _is_meant(each, kind, name)}
        link = kind == "link" and word in known
        if not found and not link:
            near = get_close_matches(word, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"say {_SAY}"
            raise UsageError(f"there is no {word} to lose: {hint}")
        machines |= found
        links |= {name} if link else set()
    return Lost(machines=frozenset(machines), links=frozenset(links))


_SAY: Final = ", ".join(f"{kind}/NAME" for kind in KINDS)


def _is_meant(machine: Machine, kind: str, name: str) -> bool:
    if kind == "datacenter":
        return machine.datacenter == name
    of_kind = kind == "machine" or (kind in _ROLES and machine.has(_ROLES[kind]))
    return of_kind and machine.name == name


def without(snapshot: Snapshot, lost: Lost) -> Snapshot:
    """Return the snapshot right after the loss has been noticed.

    Lost machines are out of contact and have no session; other machines say what they said.
    """
    gone = MachineView(contact=Contact.LOST, since_seconds=0.0)
    return replace(
        snapshot,
        platform=_cut(snapshot.platform, lost.links),
        machines={**snapshot.machines, **dict.fromkeys(lost.machines, gone)},
        statuses={
            name: _silent(status) if name in lost.machines else status
            for name, status in snapshot.statuses.items()
        },
    )


def without_ports(platform: Platform, lost: Lost) -> Platform:
    """Return the platform with the sessions and links that are left."""
    peers = tuple(
        replace(
            peer,
            sessions=tuple(each for each in peer.sessions if each.edge not in lost.machines),
        )
        for peer in platform.peers
    )
    ends = (link.name for link in platform.links if {link.a, link.b} & lost.machines)
    return replace(_cut(platform, lost.links | set(ends)), peers=peers)


def _cut(platform: Platform, links: Collection[str]) -> Platform:
    kept = tuple(link for link in platform.links if link.name not in links)
    return replace(platform, links=kept)


def _silent(status: MachineStatus) -> MachineStatus:
    return MachineStatus(
        machine=status.machine,
        sessions=tuple(replace(each, up=False) for each in status.sessions),
        aggregates=tuple(replace(each, announced=False) for each in status.aggregates),
    )
