"""Decide which aggregates an edge announces outside.

Pure: the state per aggregate goes in and comes out; `now` is in monotonic seconds. The outside
must not see us flap, so a condition has to last before it is acted on, and each withdrawal
makes the next announcement wait longer.

Nobody withdraws the last announcement for health. Edges of different datacenters decide at the
same time, each by what it hears of the others, late. So who wants to withdraw first *leaves*:
it goes on announcing outside, but does not tell the other datacenters any more. It withdraws
only if it still hears another after `LEAVE_SECONDS`, which is longer than news travels. Who it
hears then has not begun to leave before it did, so of all that leave the last one stays.
"""

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from math import exp2
from typing import Final

from pltfrms.model.addresses import Prefix, contains
from pltfrms.model.network.topology import Aggregate, AnnouncePolicy, Platform, Role, Timers
from pltfrms.model.running.machine import AGGREGATE_TABLE, PROTO_ACTIVE, Route
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import AggregateStatus
from pltfrms.model.services.service import Service
from pltfrms.planner.routing.way_back import WaysBack

MAX_HOLD_SECONDS: Final = 300.0
APART_SECONDS: Final = 60.0
"""At least so long is between two announcements after withdrawals: the outside sees at most
three changes (withdrawn, announced, withdrawn) in that time."""
WAY_BACK_SECONDS: Final = 5.0
"""An edge that has no way back for so long withdraws even the last announcement: nobody who
follows it is answered."""
UNHEARD_SECONDS: Final = 60.0
"""When nobody heard us for so long, what was before says nothing of the neighbours of now."""
STAGGER_SECONDS: Final = 0.5
"""By so much datacenters act one after the other, in the order of their rank."""
LEAVE_SECONDS: Final = 1.0
"""Longer than it takes until other datacenters have heard of a change and acted on it."""
ISOLATED_SECONDS: Final = 10.0
"""An edge that reaches nobody for so long may withdraw even the last announcement."""
TOLD_METRIC: Final = 1
"""Of routes that BIRD tells other datacenters of."""
UNTOLD_METRIC: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateState:
    """What is remembered about one aggregate between two decisions."""

    announced: bool = False
    differs_since: float | None = None
    """Since when the condition says otherwise than `announced`; None while it does not."""
    leaving_since: float | None = None
    """Since when it is announced outside, but other datacenters are not told."""
    leave_after: float | None = None
    """An attempt to leave found that nobody else stays; the next is not before this."""
    isolated_since: float | None = None
    no_way_back_since: float | None = None
    """Later by all the time in which nobody heard us."""
    way_back_since: float | None = None
    unheard_since: float | None = None
    """Since when nobody hears us, if there was no way back before."""
    judged: bool = False
    """Whether a way back that is not seen counts as none. Who announced before we looked may
    have one that we do not see: there a way back must have been seen once."""
    answered: bool = False
    """Whether a way back to everybody was seen once: only then a part of it is a loss."""
    alone_since: float | None = None
    """Since when it is withdrawn here and no other datacenter announces it."""
    penalty: float = 0.0
    """Withdrawals that were not forgotten at the last one, which is among them."""
    withdrawn_at: float | None = None
    """The last withdrawal; None if there never was one."""
    unanswered: bool = False
    """Whether the last withdrawal was for want of a way back."""
    returned_at: float | None = None
    """The last announcement after a withdrawal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reachable:
    """What an edge knows now; None = not known."""

    services: tuple[Service, ...] | None = None
    """All services of the platform."""
    parts: Collection[Prefix] = ()
    """Aggregates that services have addresses of, also those that only others announce."""
    local: AbstractSet[Prefix] | None = None
    """Service prefixes served in this datacenter."""
    remote: AbstractSet[Prefix] | None = None
    """Service prefixes served in other datacenters."""
    elsewhere: AbstractSet[Prefix] | None = None
    """Aggregates that other datacenters announce outside (kernel table 104)."""
    inside: bool | None = None
    """Whether this edge reaches any other machine of ours: any internal session is up."""
    backbone: bool | None = None
    """Whether it hears an edge of another datacenter; unless it does, that `elsewhere` is
    empty proves nothing."""
    ways_back: Mapping[int, WaysBack] = field(default_factory=dict)
    """By address family; what is not there is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateDecision:
    """The next states and what to say about them."""

    states: Mapping[Prefix, AggregateState] = field(default_factory=dict)
    statuses: tuple[AggregateStatus, ...] = ()

    @property
    def waiting(self) -> bool:
        """Whether time alone may change the decision soon."""
        return any(status.reason is Reason.WAITING for status in self.statuses)


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """What one decision about one aggregate looks at."""

    wanted: bool | None
    """What its policy says; None: not known."""
    reason: Reason
    """Why."""
    elsewhere: bool | None
    """Whether another datacenter announces it."""
    inside: bool | None
    backbone: bool | None
    way_back: WaysBack
    timers: Timers
    rank: int
    now: float


def as_seen_by(platform: Platform, machine: str) -> Platform:
    """Return the platform with the aggregates that an edge may announce, as it judges them.

    A datacenter without nodes only brings traffic in, and no service is ever local there: what
    is `healthy-local` elsewhere is `any-healthy` for its edges.
    """
    home = platform.machine(machine).datacenter
    mine = platform.aggregates_of(home)
    if not platform.machines_of(Role.NODE, home):
        mine = tuple(_brought_in(each) for each in mine)
    return replace(platform, aggregates=mine) if mine != platform.aggregates else platform


def _brought_in(aggregate: Aggregate) -> Aggregate:
    if aggregate.announce is not AnnouncePolicy.HEALTHY_LOCAL:
        return aggregate
    return replace(aggregate, announce=AnnouncePolicy.ANY_HEALTHY)


def decide_aggregates(
    platform: Platform,
    reachable: Reachable,
    previous: Mapping[Prefix, AggregateState],
    now: float,
    *,
    rank: int = 0,
    frozen: bool = False,
) -> AggregateDecision:
    """Return the state and status of each aggregate of the platform, in spec order.

    `healthy-local` wants at least half of the aggregate's services served in this
    datacenter; of a prefix over others, half of those of one of its parts, or of what is in
    none of them: regions do not outvote each other, nor what is in none, wherever they are
    announced. `any-healthy` wants one service served anywhere, `always` nothing. An aggregate
    without services is not announced unless `always`. A unicast prefix wants a machine of ours
    that the edge reaches. What is not known changes nothing, and neither does anything while
    `frozen`. `rank` is that of the edge's datacenter.
    """
    if frozen:
        return _decide_frozen(platform, previous)
    states: dict[Prefix, AggregateState] = {}
    statuses: list[AggregateStatus] = []
    parts = {*reachable.parts, *(each.prefix for each in platform.service_aggregates)}
    for aggregate in platform.aggregates:
        prefix = aggregate.prefix
        wanted, why = _condition(aggregate, reachable, _parts(parts, prefix))
        elsewhere = None if reachable.elsewhere is None else prefix in reachable.elsewhere
        view = _View(
            wanted=wanted,
            reason=why,
            elsewhere=elsewhere,
            inside=reachable.inside,
            backbone=reachable.backbone,
            way_back=reachable.ways_back.get(prefix.version, WaysBack.UNKNOWN),
            timers=platform.timers,
            rank=rank,
            now=now,
        )
        state, reason = _step(previous.get(prefix) or _first(prefix, previous), view)
        lacks = view.way_back in {WaysBack.PART, WaysBack.LOADING, WaysBack.NONE}
        answers = not lacks or not state.judged
        free = answers and not state.unanswered
        if aggregate.announce is AnnouncePolicy.ALWAYS and free:
            state, reason = _kept(state, announced=True), why
        states[prefix] = state
        statuses.append(_status(prefix, state, reason))
    return AggregateDecision(states=states, statuses=tuple(statuses))


def aggregate_routes(
    states: Mapping[Prefix, AggregateState], *, outside: bool = True
) -> tuple[Route, ...]:
    """Return the routes of table 101: one `unreachable` per announced aggregate.

    BIRD learns it and announces it; it is also the null route for unused addresses. BIRD
    tells other datacenters only of those with `TOLD_METRIC`. The others must not count on those
    that we are about to withdraw, nor on any while no session with the `outside` is up.
    """
    return tuple(
        Route(
            prefix=prefix,
            table=AGGREGATE_TABLE,
            proto=PROTO_ACTIVE,
            metric=TOLD_METRIC if outside and state.leaving_since is None else UNTOLD_METRIC,
        )
        for prefix, state in states.items()
        if state.announced
    )


def datacenter_rank(platform: Platform, datacenter: str) -> int:
    """Return the place of a datacenter, from 0, in an order that all edges agree on."""
    mine = platform.datacenter(datacenter).id
    return sum(other.id < mine for other in platform.datacenters)


def hold_seconds(timers: Timers, penalty: float) -> float:
    """Return how long after its last withdrawal an aggregate stays withdrawn at least."""
    if penalty == 0:
        return 0.0
    doublings = min(penalty - 1, 16)  # far beyond the maximum; keeps the power small
    return min(MAX_HOLD_SECONDS, timers.flap_hold_seconds * exp2(doublings))


def _status(prefix: Prefix, state: AggregateState, reason: Reason) -> AggregateStatus:
    return AggregateStatus(prefix=str(prefix), announced=state.announced, reason=reason)


def _first(prefix: Prefix, previous: Mapping[Prefix, AggregateState]) -> AggregateState:
    """Return the state of a new aggregate: it has the way back that its family has."""
    family = (state for each, state in previous.items() if each.version == prefix.version)
    return AggregateState(judged=all(state.judged for state in family))


def _decide_frozen(
    platform: Platform, previous: Mapping[Prefix, AggregateState]
) -> AggregateDecision:
    """Keep every route as it is, even of aggregates that have left the platform.

    Only what waited for its time waits anew afterwards: what it was like in between is not
    known.
    """
    mine = {each.prefix: _first(each.prefix, previous) for each in platform.aggregates}
    states = {
        prefix: replace(state, differs_since=None, isolated_since=None, alone_since=None)
        for prefix, state in {**mine, **previous}.items()
    }
    return AggregateDecision(
        states=states,
        statuses=tuple(
            _status(prefix, state, Reason.FROZEN) for prefix, state in states.items()
        ),
    )


# ---- the condition -------------------------------------------------------------------------


def _parts(parts: Iterable[Prefix], prefix: Prefix) -> tuple[Prefix, ...]:
    """Return those that are inside an aggregate, and not all of it."""
    return tuple(each for each in parts if each != prefix and contains(prefix, each))


def _condition(
    aggregate: Aggregate, reachable: Reachable, parts: Collection[Prefix]
) -> tuple[bool | None, Reason]:
    if aggregate.announce is AnnouncePolicy.ALWAYS:
        return True, Reason.POLICY_ALWAYS
    if aggregate.unicast:
        # Who reaches nobody inside, and runs nothing, could not bring answers home.
        home = True if reachable.local else reachable.inside
        return home, Reason.UNKNOWN_KEEP if home is None else Reason.UNICAST
    if reachable.services is None:
        return None, Reason.UNKNOWN_KEEP
    services = _inside(aggregate.prefix, reachable.services)
    if not services:
        return False, Reason.NO_SERVICE
    if aggregate.announce is AnnouncePolicy.HEALTHY_LOCAL:
        rest = [each for each in services if not any(_has(part, each) for part in parts)]
        groups = [_inside(part, reachable.services) for part in parts]
        return _healthy_local([each for each in (*groups, rest) if each], reachable.local)
    return _any_healthy(frozenset[Prefix]().union(*services), reachable)


def _healthy_local(
    groups: Iterable[Collection[frozenset[Prefix]]], local: AbstractSet[Prefix] | None
) -> tuple[bool | None, Reason]:
    """Judge by services, not by their addresses: one has several while it moves."""
    if local is None:
        return None, Reason.UNKNOWN_KEEP
    for services in groups:
        served = sum(not prefixes.isdisjoint(local) for prefixes in services)
        if 2 * served >= len(services):
            return True, Reason.LOCAL_SERVICE
    return False, Reason.NO_LOCAL_SERVICE


def _has(aggregate: Prefix, prefixes: Iterable[Prefix]) -> bool:
    return any(contains(aggregate, prefix) for prefix in prefixes)


def _any_healthy(inside: frozenset[Prefix], reachable: Reachable) -> tuple[bool | None, Reason]:
    if reachable.local is not None and inside & reachable.local:
        return True, Reason.LOCAL_SERVICE
    if reachable.remote is not None and inside & reachable.remote:
        return True, Reason.REMOTE_SERVICE
    if reachable.local is None or reachable.remote is None:
        return None, Reason.UNKNOWN_KEEP
    return False, Reason.NO_SERVICE


def _inside(aggregate: Prefix, services: Collection[Service]) -> tuple[frozenset[Prefix], ...]:
    """Return what each service has in an aggregate, of those that have something there."""
    found = (
        frozenset(prefix for prefix in service.prefixes if contains(aggregate, prefix))
        for service in services
    )
    return tuple(prefixes for prefixes in found if prefixes)


# ---- one step of one aggregate -------------------------------------------------------------


def _step(state: AggregateState, view: _View) -> tuple[AggregateState, Reason]:
    alone = not state.announced and view.elsewhere is False and view.backbone is True
    state = _without_way_back(state, view)
    state = replace(
        state,
        isolated_since=_since(state.isolated_since, view.now, holds=view.inside is False),
        alone_since=_since(state.alone_since, view.now, holds=alone),
    )
    view = _with_little_way_back(state, view)
    return _step_announced(state, view) if state.announced else _step_withdrawn(state, view)


def _without_way_back(state: AggregateState, view: _View) -> AggregateState:
    """Return the state with the time that the edge has had no way back.

    While that is not known the time goes on: something must say that there is one again.
    """
    way, since, unheard = view.way_back, state.no_way_back_since, state.unheard_since
    if way is WaysBack.FULL:
        state = replace(state, judged=True, answered=True)
    if way is WaysBack.UNHEARD and since is not None:
        return replace(state, unheard_since=view.now if unheard is None else unheard)
    if since is not None and unheard is not None:
        pause = view.now - unheard
        since = None if pause >= UNHEARD_SECONDS else since + pause
    # What loads may be lost again at once. The last announcer stays by it nevertheless.
    one_of_many = state.announced and view.elsewhere is True
    loads = way is WaysBack.LOADING and not one_of_many
    found = way in {WaysBack.FULL, WaysBack.PART} or loads or not state.judged
    back = _since(state.way_back_since, view.now, holds=found)
    # What comes and goes is none while others announce.
    if found and not (one_of_many and not _lasts(back, view.now, WAY_BACK_SECONDS)):
        since = None
    elif way is WaysBack.NONE and since is None:
        since = view.now
    return replace(state, no_way_back_since=since, way_back_since=back, unheard_since=None)


def _with_little_way_back(state: AggregateState, view: _View) -> _View:
    """Return what an edge wants that can answer a part of the outside alone.

    Another datacenter that announces may answer more than one that has lost a part, or waits
    for more. The last one stays: it answers some. Who never had more has all there is.
    """
    if not view.wanted or view.way_back in {WaysBack.FULL, WaysBack.UNKNOWN, WaysBack.UNHEARD}:
        return view
    if view.way_back is WaysBack.NONE and state.judged:
        return view
    lost = view.way_back is WaysBack.PART and state.answered
    early = view.way_back is WaysBack.LOADING and not state.announced
    if view.elsewhere is True and (lost or early):
        return replace(view, wanted=False, reason=Reason.NO_WAY_BACK)
    return replace(view, reason=Reason.LITTLE_WAY_BACK)


def _since(since: float | None, now: float, *, holds: bool) -> float | None:
    if not holds:
        return None
    return now if since is None else since


def _kept(state: AggregateState, *, announced: bool) -> AggregateState:
    """Return the state with nothing under way."""
    return replace(
        state, announced=announced, differs_since=None, leaving_since=None, leave_after=None
    )


def _step_announced(state: AggregateState, view: _View) -> tuple[AggregateState, Reason]:
    without = view.way_back is WaysBack.NONE
    if without and _lasts(state.no_way_back_since, view.now, WAY_BACK_SECONDS):
        return _withdrawn(state, view, Reason.NO_WAY_BACK)
    if view.wanted is not False:
        waits = without and state.no_way_back_since is not None
        return _kept(state, announced=True), Reason.WAITING if waits else view.reason
    since = view.now if state.differs_since is None else state.differs_since
    state = replace(state, differs_since=since)
    due = since + view.timers.withdraw_after_ms / 1000 + view.rank * STAGGER_SECONDS
    if view.now >= due and _isolated(state, view.now):
        return _withdrawn(state, view, Reason.ISOLATED)
    if view.now < due - LEAVE_SECONDS:
        return state, Reason.WAITING
    if view.elsewhere is not True:
        return _stay(state, view)
    return _leave(state, view, due)


def _isolated(state: AggregateState, now: float) -> bool:
    return _lasts(state.isolated_since, now, ISOLATED_SECONDS)


def _lasts(since: float | None, now: float, seconds: float) -> bool:
    return since is not None and now - since >= seconds


def _stay(state: AggregateState, view: _View) -> tuple[AggregateState, Reason]:
    """Go on announcing, because nobody else does, or because we do not know."""
    if state.leaving_since is not None:
        # Two that leave together stop together; by rank one tries again before the other.
        pause = 1.5 * LEAVE_SECONDS * (view.rank + 1)
        state = replace(state, leaving_since=None, leave_after=view.now + pause)
    if state.isolated_since is not None:
        return state, Reason.WAITING
    known = view.elsewhere is not None
    return state, Reason.LAST_ANNOUNCER if known else Reason.UNKNOWN_KEEP


def _leave(state: AggregateState, view: _View, due: float) -> tuple[AggregateState, Reason]:
    if state.leaving_since is None:
        paused = state.leave_after is not None and view.now < state.leave_after
        return state if paused else replace(state, leaving_since=view.now), Reason.WAITING
    if view.now < max(due, state.leaving_since + LEAVE_SECONDS):
        return state, Reason.WAITING
    return _withdrawn(state, view, view.reason)


def _withdrawn(
    state: AggregateState, view: _View, reason: Reason
) -> tuple[AggregateState, Reason]:
    penalty = 1.0
    if state.withdrawn_at is not None:
        half_lives = (view.now - state.withdrawn_at) / view.timers.flap_half_life_seconds
        penalty += state.penalty * exp2(-half_lives)
    state = replace(
        _kept(state, announced=False),
        penalty=penalty,
        withdrawn_at=view.now,
        unanswered=reason is Reason.NO_WAY_BACK,
        alone_since=None,
    )
    return state, reason


def _step_withdrawn(state: AggregateState, view: _View) -> tuple[AggregateState, Reason]:
    if state.no_way_back_since is not None:
        return replace(state, differs_since=None), Reason.NO_WAY_BACK
    if _missed(state, view):
        reason = view.reason if view.wanted else Reason.LAST_ANNOUNCER
        return _returned(state, view.now), reason
    if not view.wanted:
        isolated = _isolated(state, view.now)
        reason = Reason.ISOLATED if isolated else view.reason
        return replace(state, differs_since=None), reason
    since = view.now if state.differs_since is None else state.differs_since
    state = replace(state, differs_since=since)
    if view.now - since < view.timers.announce_after_ms / 1000:
        return state, Reason.WAITING
    if _held(state, view):
        return state, Reason.FLAPPING
    return _returned(state, view.now), view.reason


def _missed(state: AggregateState, view: _View) -> bool:
    """Return whether we withdrew what now nobody announces, and it is ours to repair that."""
    if state.withdrawn_at is None or state.alone_since is None:
        return False
    return view.now - state.alone_since >= view.rank * STAGGER_SECONDS


def _held(state: AggregateState, view: _View) -> bool:
    if state.withdrawn_at is None:
        return False
    if view.now - state.withdrawn_at < hold_seconds(view.timers, state.penalty):
        return True
    return state.returned_at is not None and view.now - state.returned_at < APART_SECONDS


def _returned(state: AggregateState, now: float) -> AggregateState:
    first = state.withdrawn_at is None
    return replace(
        _kept(state, announced=True),
        alone_since=None,
        returned_at=None if first else now,
    )
