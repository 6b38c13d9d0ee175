"""What people are told of the store: one sentence where there is something to be done."""

from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum
from typing import Final

from pltfrms.model.messages.store import NO_SPACE, KindSize, StoreLook, StoreMember, megabytes
from pltfrms.planner.upkeep.membership import Seats, why_unchangeable
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
    seats: Seats | None = None,
) -> tuple[str, ...]:
    """Return what is wrong with the store at time `now`, the worst first.

    `task` is what is done now; None: nothing, or others do it. `seats`: who is to be a member;
    None: not known.
    """
    found = [*_problems(look, kinds, past, task, now)]
    if look.revision and seats:  # else nothing answers, which is said elsewhere
        found += _coming_and_going(look, seats)
    return tuple(found)


def gone_members(look: StoreLook, past: Past) -> frozenset[str]:
    """Return who has a vote and does not answer for longer than an election takes."""
    voters = {member.name for member in look.voters} if look.revision else set()
    return past.long_troubled & voters


def gone_sentence(look: StoreLook, past: Past) -> str:
    """Return what the loss of members means, and what to do; empty: none is lost."""
    gone = gone_members(look, past)
    if not gone:
        return ""
    who = "; ".join(f"{m.name}: {m.trouble}" for m in look.voters if m.name in gone)
    spare = look.spare
    if spare > 0:
        means = f"{spare} more may fail before nothing can be changed any more"
    else:
        means = "one more failure stops changes" if spare == 0 else "nothing can be changed"
    return (
        f"{len(gone)} of {len(look.voters)} members of the store {_is(gone)} gone ({who}): "
        f"{means}. Start its machine, or etcd there: a lost disk is filled again by itself. If "
        "the machine is gone for good, take it out of platform.yaml, best with another "
        "controller in its place"
    )


def _is(names: Collection[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _coming_and_going(look: StoreLook, seats: Seats) -> Iterator[str]:
    why = why_unchangeable(look) or "; ".join(
        f"{seats.name_of(each)} is not well" for each in look.members if each.trouble
    )
    waits = f"; it waits, for {why}" if why else ""
    for name in seats.missing(look):
        member = seats.holder(look, name)
        if member and member.started:
            index = max((each.index for each in look.members), default=0)
            left = f"{max(index - member.index, 0)} entries behind"
            yield f"{name} is being added to the store: {member.trouble or left}"
        elif member:
            yield f"{name} is being added to the store: its etcd is to start"
        elif name in seats.asking:
            yield f"{name} asks to be added to the store{waits}"
        else:
            yield (
                f"{name} is a controller of the platform, and its etcd does not ask to be "
                "added to the store: start it, `pltfrms store run`"
            )
    for member in seats.unwanted(look):
        yield f"{member.name} is no controller any more, and is to leave the store{waits}"


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
    if look.strangers:
        yield (
            f"members of another store answer at {', '.join(look.strangers)}: no member comes "
            "or goes until that is over; stop the etcd of what is not the platform's store"
        )
    gone = gone_sentence(look, past)
    if gone:
        yield gone
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
