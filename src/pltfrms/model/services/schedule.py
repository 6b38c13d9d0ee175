"""When something is due, as the five fields of cron say it, by the clock of a place."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pltfrms.errors import UsageError

_FIELDS: Final = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 7),
)
_PART: Final = re.compile(r"(?:(\*)|([0-9]{1,2})(?:-([0-9]{1,2}))?)(?:/([0-9]{1,2}))?\Z")
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}\Z")
_SUNDAY: Final = 7
"""As 0 is."""
_DAYS: Final = 8 * 366 + 2
"""So far is looked ahead: a 29 February comes again by then, also around 2100."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which minutes; made by `read_schedule`."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    either: bool
    """Both days are said, so one of them suffices, as in cron."""
    hourly: bool
    """Its hours are all, or each so many: it goes by time that passes, not by what a clock
    says, so an hour that comes twice counts twice, and one that is left out not at all."""
    zone: str

    def has(self, day: date) -> bool:
        """Return whether it is due at some time of a day."""
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        suits = in_month or in_week if self.either else in_month and in_week
        return day.month in self.months and suits


def read_schedule(text: str, zone: str) -> Schedule:
    """Return what five fields say: lists, ranges and steps of numbers, such as `0 3 * * 1-5`.

    Raises:
        UsageError: they say none, in one sentence; or the place is not known here.
    """
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise UsageError(f"has {len(fields)} fields, not 5: minute, hour, day, month, weekday")
    minutes, hours, days, months, weekdays = (
        frozenset(_numbers(field, *known)) for field, known in zip(fields, _FIELDS, strict=True)
    )
    _zone(zone)
    return Schedule(
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=frozenset(each % _SUNDAY for each in weekdays),
        either="*" not in (fields[2][0], fields[4][0]),
        hourly=fields[1].startswith("*"),
        zone=zone,
    )


def next_due_ms(schedule: Schedule, after_ms: int) -> int | None:
    """Return the first Unix time after another at which it is due; None: it never is.

    What a clock that is put forward leaves out is due as long after the gap began as it would
    have been; what it says twice is due the first time. See `Schedule.hourly` for the others.
    """
    after = datetime.fromtimestamp(after_ms // 1000, UTC)
    # Clocks are put forward by a day at most, which is why the day before is looked at.
    first = after.astimezone(_zone(schedule.zone)).date() - timedelta(days=1)
    for number in range(_DAYS):
        day = first + timedelta(days=number)
        if schedule.has(day):
            for instant in _instants(schedule, day):
                if instant * 1000 > after_ms:
                    return instant * 1000
    return None


def last_due_ms(schedule: Schedule, after_ms: int, until_ms: int) -> int | None:
    """Return the last time after `after_ms`, and not after `until_ms`; None: there is none.

    No more than the last day is looked at closely: what is missed for long is not counted.
    """
    found = next_due_ms(schedule, after_ms)
    if found is None or found > until_ms:
        return None
    until = datetime.fromtimestamp(until_ms // 1000, UTC)
    day = until.astimezone(_zone(schedule.zone)).date() + timedelta(days=1)
    earliest = datetime.fromtimestamp(found // 1000, UTC).date() - timedelta(days=1)
    while day >= earliest:
        if schedule.has(day):
            instants = (each * 1000 for each in _instants(schedule, day))
            due = max((each for each in instants if after_ms < each <= until_ms), default=None)
            if due is not None:
                return due
        day -= timedelta(days=1)
    return found


def _numbers(field: str, name: str, low: int, high: int) -> Iterator[int]:
    for part in field.split(","):
        match = _PART.match(part)
        if match is None:
            raise UsageError(
                f"{field[:40]!r} is no {name}: such as 5, 1-5, */10 or 1,15, in numbers"
            )
        every, first, last, step = match.groups()
        begin = low if every else int(first)
        end = high if every or (step and not last) else int(last or first)
        if not low <= begin <= end <= high or step in {"0", "00"}:
            raise UsageError(f"{part} is no {name}, which are {low}-{high}")
        yield from range(begin, end + 1, int(step or 1))


@cache
def _zone(name: str) -> ZoneInfo:
    if not _ZONE.match(name):
        raise UsageError(f"{name[:60]!r} is not a time zone, such as Europe/Berlin")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError) as error:
        raise UsageError(f"{name[:60]!r} is not a time zone that is known here") from error


@lru_cache(maxsize=256)
def _instants(schedule: Schedule, day: date) -> tuple[int, ...]:
    """Return the Unix times (seconds) of a day, sorted."""
    zone = _zone(schedule.zone)
    found = set()
    for hour in schedule.hours:
        for minute in schedule.minutes:
            local = datetime.combine(day, time(hour, minute), zone)
            if not schedule.hourly:
                found.add(int(local.timestamp()))
                continue
            for fold in (0, 1):
                instant = int(local.replace(fold=fold).timestamp())
                back = datetime.fromtimestamp(instant, zone)
                if (back.hour, back.minute) == (hour, minute):
                    found.add(instant)
    return tuple(sorted(found))
