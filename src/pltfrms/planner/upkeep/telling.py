"""What people are told of the store: one sentence where there is something to be done."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final

from pltfrms.model.messages.store import NO_SPACE, KindSize, StoreLook, StoreMember, megabytes
from pltfrms.planner.upkeep.upkeep import (
    URGENT_SHARE,
    WARN_SHARE,
    Past,
    Task,
    why_untouchable,
)

KEYS_WARN: Final = 200_000
"""Ten times what is tried: whole lists become long."""
STUCK_SECONDS: Final = 180.0
"""What should make room has done so by then, or cannot."""
_LARGEST: Final = 2


class Fullness(StrEnum):
    """How full the store is, as events say it."""

    ROOM = "store has room again"
    FILLING = "store fills up"
    NEARLY_FULL = "store nearly full"
    FULL = "store is full"


def fullness(look: StoreLook) -> Fullness:
    """Return how full the fullest member is."""
    share = max((member.share for member in look.members), default=0.0)
    if look.full:
        return Fullness.FULL
    if share >= URGENT_SHARE:
        return Fullness.NEARLY_FULL
    return Fullness.FILLING if share >= WARN_SHARE else Fullness.ROOM


def store_problems(
    look: StoreLook,
    kinds: Mapping[str, KindSize],
    past: Past,
    task: Task | None,
    now: float,
) -> tuple[str, ...]:
    """Return what is wrong with the store at time `now`, the worst first.

    `task` is what is done now; None: nothing, or others do it.
    """
    return tuple(_problems(look, kinds, past, task, now))


def _problems(
    look: StoreLook,
    kinds: Mapping[str, KindSize],
    past: Past,
    task: Task | None,
    now: float,
) -> Iterator[str]:
    if look.full:
        yield (
            "it is full and takes no writes: nothing is decided or changed, and no news of "
            f"machines are kept; what runs goes on. {_way_out(look, kinds, past, task, now)}"
        )
    else:
        yield from _filling(look, kinds)
    for alarm in look.alarms:
        if alarm.what != NO_SPACE:
            yield (
                f"{alarm.member} says {alarm.what}: its data may be wrong; stop its etcd, "
                "remove its data and have it join anew"
            )
    if look.revision:  # else nothing answers, which is said elsewhere
        for member in look.members:
            if member.name in past.long_troubled:
                yield f"member {member.name} does not answer: {member.trouble}"
    count = sum(kind.keys for kind in kinds.values())
    if count >= KEYS_WARN:
        yield f"it has {count} keys, which makes all slow: {_largest(kinds)}"


def _way_out(
    look: StoreLook,
    kinds: Mapping[str, KindSize],
    past: Past,
    task: Task | None,
    now: float,
) -> str:
    untouchable = why_untouchable(look)
    if untouchable:
        return f"No room can be made while {untouchable}; repair that first"
    if past.full_since is not None and now - past.full_since >= STUCK_SECONDS:
        return (
            f"What was done made too little room; most of it takes {_largest(kinds)}. Delete "
            "what is not needed, or give every etcd a larger --quota-backend-bytes"
        )
    if task:
        return f"Room is being made: {task.sentence}"
    return "The first controller that lives makes room"


def _filling(look: StoreLook, kinds: Mapping[str, KindSize]) -> Iterator[str]:
    fullest = max(look.members, key=lambda member: member.share, default=None)
    if fullest is None or fullest.share < WARN_SHARE:
        return
    urgent = fullest.share >= URGENT_SHARE
    yield (
        f"it {'is nearly full' if urgent else 'fills up'}: {_sizes(fullest)}; most of what is "
        f"kept takes {_largest(kinds)}. At its quota it takes no writes"
    )


def _sizes(member: StoreMember) -> str:
    return (
        f"{member.name} has {megabytes(member.file_bytes)} of {megabytes(member.quota_bytes)} "
        f"({100 * member.share:.0f} %), of which {megabytes(member.used_bytes)} are in use"
    )


def _largest(kinds: Mapping[str, KindSize]) -> str:
    by_size = sorted(kinds.items(), key=lambda each: (-(each[1].bytes or 0), -each[1].keys))
    words = [
        f"{name} ({kind.keys} keys{'' if kind.bytes is None else f', {megabytes(kind.bytes)}'})"
        for name, kind in by_size[:_LARGEST]
    ]
    return " and ".join(words) or "what is not known"
