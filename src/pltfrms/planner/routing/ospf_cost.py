"""Decide the OSPF cost of a backbone link from its measured round trip time.

Pure: the state goes in and comes out; `now` is in monotonic seconds. The least RTT of a window
is taken, because queues only ever add to it.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

from pltfrms.model.running.state import LinkStatus

WINDOW_SECONDS: Final = 30.0
MIN_SAMPLES: Final = 3
MIN_PAUSE_SECONDS: Final = 30.0
"""Between two changes: each one makes every edge compute its paths again."""
MIN_CHANGE: Final = 0.2
"""A smaller relative change is noise."""
COST_PER_MS: Final = 10
MIN_COST: Final = 2
"""A fabric costs 1: no link, however short, is as good."""
MAX_COST: Final = 60_000
DOWN_AFTER: Final = 2
"""One lost packet is no dead link."""
LOSS_OF: Final = 30
"""Questions of which the loss is told together: what changes is told to controllers."""
_STEP: Final = 1.1
"""Costs are rounded to powers of this, so that both ends of a link say the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkCost:
    """What is remembered about one end of a link."""

    cost: int | None = None
    """None until it was measured: the default of the configuration holds."""
    changed_at: float | None = None
    samples: tuple[tuple[float, float], ...] = ()
    """(time, RTT in milliseconds), oldest first, not older than the window."""
    unanswered: int = 0
    """Measurements in a row without an answer."""
    up: bool | None = None
    """Whether it carries packets, as far as answers say; None: not known yet."""
    counted: int = 0
    lost: int = 0
    """Questions since a loss was told last, and those of them without an answer."""
    loss_percent: int | None = None
    """Of the LOSS_OF questions before; None: so many were not asked yet."""


def measured(
    state: LinkCost, rtt_ms: float | None, now: float, *, silent: bool = False
) -> LinkCost:
    """Return the state after one measurement; `rtt_ms` is None if no answer came.

    A line is `silent` while BFD hears nothing over it any more.

    A link that does not answer keeps its cost: whether it carries traffic is BFD's to say.
    """
    samples = tuple((at, rtt) for at, rtt in state.samples if now - at < WINDOW_SECONDS)
    if rtt_ms is not None:
        samples = (*samples, (now, rtt_ms))
    state = asked(state, answered=rtt_ms is not None, silent=silent)
    state = replace(state, samples=samples)
    if len(samples) < MIN_SAMPLES:
        return state
    rtt_ms = min(rtt for _, rtt in samples)
    if not _worth_a_change(state, rtt_ms, now):
        return state
    return replace(state, cost=cost_of(rtt_ms), changed_at=now)


def asked(state: LinkCost, *, answered: bool, silent: bool = False) -> LinkCost:
    """Return the state after one question, which changes no cost.

    Over a line on which BFD has fallen silent, too, one without an answer is enough.
    """
    unanswered = 0 if answered else state.unanswered + 1
    in_doubt = 0 < unanswered < DOWN_AFTER and not silent
    up = state.up if in_doubt else not unanswered
    counted, lost, loss = state.counted + 1, state.lost + (not answered), state.loss_percent
    if counted == LOSS_OF:
        counted, lost, loss = 0, 0, round(100 * lost / LOSS_OF)
    return replace(
        state, unanswered=unanswered, up=up, counted=counted, lost=lost, loss_percent=loss
    )


def link_status(state: LinkCost) -> LinkStatus | None:
    """Return what an edge says of a link; None: it cannot say yet.

    The RTT is that of the cost, which changes seldom.
    """
    if state.up is None:
        return None
    rtt_us = round(1000 * (state.cost or 0) / COST_PER_MS)
    return LinkStatus(up=state.up, rtt_us=rtt_us, loss_percent=state.loss_percent)


def cost_of(rtt_ms: float) -> int:
    """Return ten times the RTT in milliseconds, rounded to steps of 10 %, 2..60000."""
    stepped = _STEP ** round(math.log(_raw(rtt_ms), _STEP))
    return min(MAX_COST, max(MIN_COST, round(stepped)))


def _raw(rtt_ms: float) -> float:
    return max(float(MIN_COST), COST_PER_MS * rtt_ms)


def _worth_a_change(state: LinkCost, rtt_ms: float, now: float) -> bool:
    if state.cost is None or state.changed_at is None:
        return True
    if now - state.changed_at < MIN_PAUSE_SECONDS:
        return False
    return abs(_raw(rtt_ms) - state.cost) > MIN_CHANGE * state.cost
