"""Guards of what is taken out of use on purpose: one failure domain at a time. Pure.

The lock is nothing but a look at the drains that are recorded. A drain is committed only if
nobody committed since the look, so that of two at the same time one sees the other.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pltfrms.model.messages.guards import Guard, Verdict
from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.network.topology import Machine, Role
from pltfrms.model.running.state import Contact, MachineView, Snapshot
from pltfrms.model.services.replicas import counted
from pltfrms.planner.placement.drafting.draft import Draft
from pltfrms.planner.placement.steps.filling import fill_replicas
from pltfrms.planner.routing.visibility import present_statuses, visibility


def judge_maintenance(before: Snapshot, after: Snapshot, now_ms: int) -> tuple[Verdict, ...]:
    """Return what speaks against the drains that `after` has and `before` has not.

    A drain that is only shortened or hurried up is not new. `now_ms` is Unix time.
    """
    standing = before.interventions.drains
    new = [
        each
        for each in after.interventions.drains
        if not any(_covers(o, each) for o in standing)
    ]
    return tuple(
        verdict
        for drain in new
        for verdict in (
            *_datacenter_verdicts(after, drain, now_ms),
            *_node_verdicts(after, drain, now_ms),
        )
    )


def _covers(old: Drain, new: Drain) -> bool:
    """Return whether all of a drain was asked for before."""
    ends_later = old.until_ms and not 0 < new.until_ms <= old.until_ms
    return old.place == new.place and old.since_ms <= new.since_ms and not ends_later


def _datacenter_verdicts(after: Snapshot, drain: Drain, now_ms: int) -> Iterator[Verdict]:
    if not drain.datacenter:
        return
    others = [
        other
        for other in _at_the_same_time(after.interventions, drain)
        if other.datacenter not in {"", drain.datacenter}
    ]
    if others:
        yield Verdict(
            guard=Guard.MAINTENANCE_LOCK, about=drain.about, sentence=_who(others, now_ms)
        )
    if drain.holds(now_ms):
        yield from _silent_elsewhere(after, drain, now_ms)


def _silent_elsewhere(after: Snapshot, drain: Drain, now_ms: int) -> Iterator[Verdict]:
    """Forbid to drain the only datacenter that announces, as far as edges have told."""
    without = replace(
        after.interventions,
        drains=tuple(each for each in after.interventions.drains if each != drain),
    )
    for seen in visibility(after.platform, without, present_statuses(after), now_ms):
        if seen.datacenters == {drain.datacenter}:
            unknown = f"; of {seen.unknown} sessions it is not known" if seen.unknown else ""
            sentence = f"no other datacenter than {drain.datacenter} announces it now{unknown}"
            yield Verdict(guard=Guard.LAST_ANNOUNCER, about=str(seen.prefix), sentence=sentence)


# ---- nodes ---------------------------------------------------------------------------------


def _node_verdicts(after: Snapshot, drain: Drain, now_ms: int) -> Iterator[Verdict]:
    node = next((each for each in after.platform.machines if each.name == drain.node), None)
    if not drain.node or node is None:
        return
    nodes = after.platform.machines_of(Role.NODE, node.datacenter)
    names = {each.name for each in nodes}
    others = [
        other
        for other in _at_the_same_time(after.interventions, drain)
        if other.node in names - {drain.node} or other.datacenter not in {"", node.datacenter}
    ]
    # A node that nothing is known of is needed perhaps, and cannot be relied on.
    needed_on = [each for each in nodes if after.contact(each.name) is not Contact.LOST]
    needed = _room(after, node.datacenter, needed_on)
    away = {drain.node, *(other.node for other in others)}
    left = [
        each
        for each in nodes
        if each.name not in away and after.contact(each.name) is Contact.PRESENT
    ]
    room = _room(after, node.datacenter, left)
    if room < needed:
        yield Verdict(
            guard=Guard.HEADROOM,
            about=drain.about,
            sentence=f"{_left(left)} in contact, with room for {room} of the {needed} "
            f"replicas of {node.datacenter}",
        )
    room = min((_room(after, node.datacenter, some) for some in _one_less(left)), default=0)
    if others and room < needed:
        yield Verdict(
            guard=Guard.MAINTENANCE_LOCK,
            about=drain.about,
            sentence=f"{_who(others, now_ms)}; {_left(left)} in contact, and if one of them "
            f"fails, there is room for {room} of the {needed} replicas of {node.datacenter}",
        )


def _left(nodes: list[Machine]) -> str:
    return f"{len(nodes)} node{'' if len(nodes) == 1 else 's'} would be left"


def _one_less(nodes: list[Machine]) -> Iterator[list[Machine]]:
    """Yield the nodes without one of them, for those whose loss is the worst."""
    worst = {
        max(nodes, key=lambda node: node.cpu, default=None),
        max(nodes, key=lambda node: node.memory_bytes, default=None),
    }
    for lost in worst - {None}:
        yield [node for node in nodes if node is not lost]


def _room(snapshot: Snapshot, datacenter: str, nodes: Iterable[Machine]) -> int:
    """Return how many of a datacenter's wanted replicas its `nodes` hold, placed anew."""
    machines = tuple(nodes)
    view = MachineView(contact=Contact.PRESENT, since_seconds=0)
    empty = replace(
        snapshot,
        platform=replace(snapshot.platform, machines=machines),
        interventions=Interventions(),
        allocations={},
        statuses={},
        machines={machine.name: view for machine in machines},
        services={
            name: replace(service, spec=counted(snapshot.platform, service.spec))
            for name, service in snapshot.services.items()
        },
    )
    draft = Draft(empty)
    fill_replicas(draft)
    return sum(step.allocation.datacenter == datacenter for step in draft.steps)


# ---- who and when --------------------------------------------------------------------------


def _at_the_same_time(interventions: Interventions, drain: Drain) -> list[Drain]:
    return [
        other
        for other in interventions.drains
        if other.place != drain.place and other.overlaps(drain)
    ]


def _who(drains: Iterable[Drain], now_ms: int) -> str:
    return ", ".join(_told(drain, now_ms) for drain in drains)


def _told(drain: Drain, now_ms: int) -> str:
    begun = drain.holds(now_ms)
    by = f" by {drain.by}" if drain.by else ""
    end = f" until {_moment(drain.until_ms)}" if drain.until_ms else ""
    why = f" ({drain.why})" if drain.why else ""
    verb, since = ("is", "since") if begun else ("is to be", "from")
    return f"{drain.about} {verb} drained{by} {since} {_moment(drain.since_ms)}{end}{why}"


def _moment(at_ms: int) -> str:
    return f"{dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
