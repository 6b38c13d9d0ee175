"""Which machine gets a newer package next, and whether the releases that run go together. Pure.

A release is MAJOR.MINOR, and works with the one before it and the one after it: patches and
what Debian appends make no difference. An upgrade restarts agent and controller of one machine,
and nothing that carries traffic; should it go wrong, that machine is lost, so no other may be.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pltfrms.model.network.topology import Machine, Platform, Role
from pltfrms.model.running.redundancy import ESSENTIAL, Redundancy, Survival, Weakness
from pltfrms.model.running.state import Contact, Snapshot

_RELEASE: Final = re.compile(r"([0-9]+)\.([0-9]+)(?![0-9])")
_TOGETHER: Final = 1
_NAMED: Final = 3
_MUTE: Final = "nobody says its version: the agent, or the controllers, are of an older release"


class UpgradeState(StrEnum):
    """How far a machine is on the way to a version."""

    DONE = "done"
    NEXT = "next"
    WAITS = "waits"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeStep:
    """One machine, in its place in the order."""

    machine: str
    datacenter: str
    version: str
    """That it runs, as it says itself; empty: not known."""
    state: UpgradeState
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSkew:
    """Why the versions that run do not go together, or that nobody knows whether they do."""

    machines: tuple[str, ...]
    why: str


def upgrade_steps(
    snapshot: Snapshot,
    redundancy: Redundancy | None,
    controllers: Collection[str] | None,
    version: str,
) -> tuple[UpgradeStep, ...]:
    """Return all machines in the order in which they get a version, and which one is next.

    One datacenter after the other, and controllers last: agents then understand what newer
    ones want. Nobody is next while one more failure would not be survived, by more than what
    was measured, or a controller does not run: `controllers` are those that do; None: nobody
    knows.
    """
    hold, before = _why_wait(snapshot, redundancy, controllers), ""
    steps: list[UpgradeStep] = []
    for machine in _in_order(snapshot.platform):
        known = version_of(snapshot, machine.name)
        if known == version:
            state, why = UpgradeState.DONE, "it runs it"
        elif before:
            state, why = UpgradeState.WAITS, f"first {before}"
        elif hold:
            state, why = UpgradeState.WAITS, hold
        else:
            state, why = UpgradeState.NEXT, _place(machine) if known else _MUTE
        before = before or (machine.name if state is not UpgradeState.DONE else "")
        steps.append(
            UpgradeStep(
                machine=machine.name,
                datacenter=machine.datacenter,
                version=known,
                state=state,
                why=why,
            )
        )
    return tuple(steps)


def version_skews(snapshot: Snapshot) -> tuple[VersionSkew, ...]:
    """Return what is wrong with the versions that run; nothing: they go together."""
    known = {each.name: version_of(snapshot, each.name) for each in snapshot.platform.managed}
    return (*_unknown(snapshot, known), *_apart(known))


def version_of(snapshot: Snapshot, machine: str) -> str:
    """Return which version a machine runs; empty: it is out of contact, or does not say it."""
    status = snapshot.statuses.get(machine)
    present = snapshot.contact(machine) is Contact.PRESENT
    return status.version if status and present else ""


def releases_apart(one: str, other: str) -> int | None:
    """Return how many releases lie between two versions; None: that cannot be said.

    The first of a new major number counts as the next after any of the one before.
    """
    numbers = [
        (int(found[1]), int(found[2]))
        for found in (_RELEASE.match(one), _RELEASE.match(other))
        if found
    ]
    if len(numbers) != len((one, other)):
        return None
    (low_major, low), (major, minor) = sorted(numbers)
    if major == low_major:
        return minor - low
    return 1 + minor if major == low_major + 1 else None


def _unknown(snapshot: Snapshot, known: Mapping[str, str]) -> Iterator[VersionSkew]:
    silent = {name for name in known if snapshot.contact(name) is not Contact.PRESENT}
    if silent:
        yield VersionSkew(machines=tuple(sorted(silent)), why="not in contact")
    mute = {name for name, version in known.items() if not version} - silent
    if mute:
        yield VersionSkew(machines=tuple(sorted(mute)), why=_MUTE)


def _apart(known: Mapping[str, str]) -> Iterator[VersionSkew]:
    versions = {version for version in known.values() if version}
    newest = max(versions, key=_numbers, default="")
    for version in sorted(versions, key=_numbers):
        apart = releases_apart(version, newest)
        if apart is not None and apart <= _TOGETHER:
            continue
        names = tuple(sorted(name for name, its in known.items() if its == version))
        much = f"{apart} releases" if apart is not None else "an unknown number of releases"
        yield VersionSkew(
            machines=names,
            why=f"{version} is {much} before {newest}; a release works with the next one only",
        )


def _why_wait(
    snapshot: Snapshot, redundancy: Redundancy | None, controllers: Collection[str] | None
) -> str:
    lost = [
        each.name
        for each in snapshot.platform.managed
        if snapshot.contact(each.name) is not Contact.PRESENT
    ]
    if lost:
        return f"not in contact: {', '.join(lost[:_NAMED])}"
    if controllers is None:
        return "this controller does not say which controllers run"
    ended = [
        each.name
        for each in snapshot.platform.machines_of(Role.CONTROLLER)
        if each.name not in controllers
    ]
    if ended:
        return f"no controller runs on: {', '.join(ended[:_NAMED])}"
    if redundancy is None:
        return "this controller does not say whether one more failure is survived"
    held = [each for each in redundancy.weaknesses if _holds(each)]
    if redundancy.survival is Survival.SURVIVED or not held:
        return ""
    worst = [each for each in held if each.survival is held[0].survival]
    words = "; ".join(f"{each.about}: {each.why}" for each in worst[:_NAMED])
    return f"whether one more failure is survived: {held[0].survival}: {words}"


def _holds(weakness: Weakness) -> bool:
    """Return whether nobody is next because of it: nothing is held up by a peak alone.

    Who uses all of the cpu that it may, once a day or always, would hold it for ever.
    """
    return weakness.about.startswith(ESSENTIAL) and not weakness.measured


def _in_order(platform: Platform) -> list[Machine]:
    places = {each.name: number for number, each in enumerate(platform.datacenters)}
    return sorted(
        platform.managed,
        key=lambda each: (
            each.has(Role.CONTROLLER),
            places[each.datacenter],
            each.has(Role.EDGE),
            each.name,
        ),
    )


def _place(machine: Machine) -> str:
    if machine.has(Role.CONTROLLER):
        return "controllers come last: agents then understand what newer ones want"
    return f"one datacenter at a time, nodes before edges: {machine.datacenter}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"[0-9]+", version)))
