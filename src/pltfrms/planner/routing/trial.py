"""Judge a routing configuration that is on trial. Pure.

What was seen before says what must be seen again (`expect`); then one observation after the
other is judged (`judge`). Whoever drives it confirms or reverts. Instants are monotonic
seconds.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.announcements import announcements_of
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.peering import PeerKind
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.machine import BgpState

GOOD_SECONDS: Final = 2.0
"""All must be well this long in a row."""
MARGIN_SECONDS: Final = 1.0
"""We revert so long before the routing daemon would do it by itself."""
SETTLE_SECONDS: Final = 1.0
"""An answer from a controller this early may have come the old way."""
_SHOWN = 3


class TrialAction(StrEnum):
    """What is to be done about a trial now."""

    GOOD = "good"
    """Confirm."""
    WAITING = "waiting"
    """Look again."""
    BAD = "bad"
    """Revert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What was seen just before the trial."""

    sessions: tuple[BgpState, ...]
    announced: AbstractSet[Prefix] = frozenset()
    """Aggregates that the machine meant to announce."""
    controller: bool = False
    """Whether a controller had answered lately."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Sessions that get another name with the same neighbour: the new name by the old one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What must be seen for the new configuration to stay."""

    up: frozenset[str] = frozenset()
    """Names of sessions."""
    exported: Mapping[str, int] = field(default_factory=dict)
    """Fewest routes that a session must announce."""
    imported: frozenset[str] = frozenset()
    """Sessions that must bring at least one route."""
    controller: bool = False
    """A controller must answer. Not asked if none did before: that is no fault of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What is seen during the trial."""

    at: float
    sessions: tuple[BgpState, ...] | None
    """None: the routing daemon did not answer."""
    controller_at: float | None = None
    """When the last question was asked that a controller has answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A configuration on trial."""

    expectation: Expectation
    begun_at: float
    deadline_at: float
    """When the routing daemon reverts by itself."""
    good_since: float | None = None
    lack: str = "nothing was seen yet"
    """What was missing when it was looked at last, one sentence; empty: nothing."""


def expect(
    machine: str,
    platforms: tuple[Platform, Platform],
    before: Before,
    configured: AbstractSet[str],
    situation: tuple[Interventions, int],
) -> Expectation:
    """Return what must be seen after a change from the first platform to the second.

    `configured` has the names of the sessions in the new configuration; `situation` is the
    interventions and the Unix time in ms, the same on both sides of the change.

    Sessions that were up and stay, if by another name, must be up. Of our aggregates each
    must announce what it announced, less what the change takes away; of routes of others at
    least half, if the same peers are there, for those come and go. A session that brought
    routes must bring some, unless it is a customer's: what we take from customers is theirs
    to spoil.
    """
    names = {new: old for old, new in before.renamed.items()}
    ups = [
        replace(each, name=before.renamed.get(each.name, each.name))
        for each in before.sessions
        if each.up and (each.name in before.renamed or each.name in configured - names.keys())
    ]
    old, new = (_visible(each, machine, situation) for each in platforms)
    same_peers = set(platforms[0].peers) <= set(platforms[1].peers)
    exported = {}
    for state in ups:
        ours = old.get(names.get(state.name, state.name), frozenset()) & before.announced
        least = len(ours & new.get(state.name, frozenset()))
        others = max(0, state.exported - len(ours))
        exported[state.name] = min(least, state.exported) + (others // 2 if same_peers else 0)
    customers = {
        before.renamed.get(name, name) for name in _customer_sessions(platforms[0], machine)
    }
    return Expectation(
        up=frozenset(state.name for state in ups),
        exported={name: count for name, count in exported.items() if count},
        imported=frozenset(s.name for s in ups if s.imported and s.name not in customers),
        controller=before.controller,
    )


def judge(trial: Trial, seen: Observation) -> tuple[Trial, TrialAction]:
    """Return the trial after an observation, and what is to be done; `lack` says why."""
    lack = _lack(trial, seen)
    since = None if lack else trial.good_since if trial.good_since is not None else seen.at
    trial = replace(trial, good_since=since, lack=lack)
    if since is not None and seen.at - since >= GOOD_SECONDS:
        return trial, TrialAction.GOOD
    if seen.at < trial.deadline_at - MARGIN_SECONDS:
        return trial, TrialAction.WAITING
    return replace(trial, lack=lack or "it was not good for long enough"), TrialAction.BAD


def _lack(trial: Trial, seen: Observation) -> str:
    if seen.sessions is None:
        return "the routing daemon does not answer"
    states = {state.name: state for state in seen.sessions}
    expected = trial.expectation
    down = {name for name in expected.up if not (name in states and states[name].up)}
    lacks = [f"{name} is not up" for name in sorted(down)]
    for name, least in sorted(expected.exported.items()):
        if name not in down and states[name].exported < least:
            lacks.append(f"{name} announces {states[name].exported} routes, not {least}")
    lacks += [
        f"{name} brings no routes"
        for name in sorted(expected.imported - down)
        if not states[name].imported
    ]
    if expected.controller and not _answered(trial, seen):
        lacks.append("no controller has answered since")
    more = [f"and {len(lacks) - _SHOWN} more"] if len(lacks) > _SHOWN else []
    return "; ".join(lacks[:_SHOWN] + more)


def _answered(trial: Trial, seen: Observation) -> bool:
    at = seen.controller_at
    return at is not None and at >= trial.begun_at + SETTLE_SECONDS


def _visible(
    platform: Platform, machine: str, situation: tuple[Interventions, int]
) -> Mapping[str, frozenset[Prefix]]:
    """Return the aggregates that each session with the outside announces if all is healthy."""
    visible: dict[str, frozenset[Prefix]] = {}
    for each in announcements_of(platform, machine, *situation):
        if each.visible:
            name = each.session.removesuffix(f"@{machine}")
            session = f"peer.{name}.ipv{each.prefix.version}"
            visible[session] = visible.get(session, frozenset()) | {each.prefix}
    return visible


def _customer_sessions(platform: Platform, machine: str) -> frozenset[str]:
    peers = zip(platform.session_names(machine), platform.sessions_of(machine), strict=True)
    return frozenset(
        f"peer.{name}.ipv{ours.version}"
        for name, (peer, session) in peers
        if peer.kind is PeerKind.CUSTOMER
        for ours in session.ours
    )
