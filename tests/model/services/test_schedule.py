"""When a schedule is due: by its five fields, and by clocks that are put forward and back."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.errors import UsageError
from pltfrms.model.services.schedule import last_due_ms, next_due_ms, read_schedule

BERLIN = "Europe/Berlin"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def said(instant: int | None) -> str:
    return "" if instant is None else f"{datetime.fromtimestamp(instant / 1000, UTC):%F %H:%M}"


@pytest.mark.parametrize(
    ("text", "zone", "after", "due"),
    [
        ("0 3 * * *", "UTC", "2026-11-30 02:59:59", "2026-11-30 03:00"),
        ("0 3 * * *", "UTC", "2026-11-30 03:00:00", "2026-12-01 03:00"),
        ("*/15 * * * *", "UTC", "2026-11-30 03:01", "2026-11-30 03:15"),
        ("5,50 8-10/2 * * *", "UTC", "2026-11-30 08:50", "2026-11-30 10:05"),
        ("30/20 * * * *", "UTC", "2026-11-30 08:30", "2026-11-30 08:50"),
        ("0 0 29 2 *", "UTC", "2026-11-30 00:00", "2028-02-29 00:00"),
        ("0 0 29 2 *", "UTC", "2097-01-01 00:00", "2104-02-29 00:00"),
        ("0 0 30 2 *", "UTC", "2026-11-30 00:00", ""),
        # A day of the month or of the week, as in cron, if both are said.
        ("0 0 13 * 5", "UTC", "2026-11-30 00:00", "2026-12-04 00:00"),
        ("0 0 13 * 5", "UTC", "2026-12-12 00:00", "2026-12-13 00:00"),
        ("0 0 * * 7", "UTC", "2026-11-30 00:00", "2026-12-06 00:00"),
        ("0 0 * * 0", "UTC", "2026-11-30 00:00", "2026-12-06 00:00"),
        ("0 3 * * *", BERLIN, "2026-11-30 00:00", "2026-11-30 02:00"),
        # Put forward: 02:30 is not there, and comes as 03:30; an hour does not.
        ("30 2 * * *", BERLIN, "2026-03-29 00:00", "2026-03-29 01:30"),
        ("0 * * * *", BERLIN, "2026-03-29 00:30", "2026-03-29 01:00"),
        ("30 */2 * * *", BERLIN, "2026-03-29 00:00", "2026-03-29 02:30"),
        # Put back: 02:30 comes once; an hour that is there twice comes twice.
        ("30 2 * * *", BERLIN, "2026-10-25 00:00", "2026-10-25 00:30"),
        ("30 2 * * *", BERLIN, "2026-10-25 00:30", "2026-10-26 01:30"),
        ("0 * * * *", BERLIN, "2026-10-25 00:00", "2026-10-25 01:00"),
    ],
)
def test_the_next_time_is_what_cron_would_say(
    text: str, zone: str, after: str, due: str
) -> None:
    assert said(next_due_ms(read_schedule(text, zone), ms(after))) == due


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 3 * *", "has 4 fields, not 5"),
        ("60 3 * * *", "60 is no minute, which are 0-59"),
        ("0 5-3 * * *", "5-3 is no hour"),
        ("*/0 * * * *", "is no minute"),
        ("0 3 * * mon", "'mon' is no day of the week"),
        ("0 3 0 * *", "0 is no day of the month"),
        ("-1 3 * * *", "is no minute"),
        (", 3 * * *", "is no minute"),
        ("٣ 3 * * *", "is no minute"),
    ],
)
def test_what_says_no_time_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_schedule(text, "UTC")


@pytest.mark.parametrize(
    "zone", ["", "Mars/Base", "../etc/passwd", "/etc/passwd", "a\0b", "UTC\n"]
)
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(UsageError, match="time zone"):
        read_schedule("0 3 * * *", zone)


@given(
    st.sampled_from(
        ("*/7 * * * *", "0 3 * * *", "30 2 * * 1-5", "59 23 31 12 *", "0 */6 1 * 3")
    ),
    st.sampled_from(("UTC", BERLIN, "America/New_York", "Australia/Lord_Howe")),
    st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1)),  # noqa: DTZ001 - below
    st.integers(0, 3000),
)
def test_the_last_time_is_the_last_of_the_next_ones(
    text: str, zone: str, begin: datetime, hours: int
) -> None:
    schedule = read_schedule(text, zone)
    after = int(begin.replace(tzinfo=UTC).timestamp() * 1000)
    until = after + hours * 3_600_000
    expected, due = None, next_due_ms(schedule, after)
    for _ in range(60):
        if due is None or due > until:
            assert last_due_ms(schedule, after, until) == expected
            return
        assert expected is None or due > expected
        expected, due = due, next_due_ms(schedule, due)
    assert (last_due_ms(schedule, after, until) or 0) >= (expected or 0)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)))  # noqa: DTZ001 - below
def test_each_day_has_its_time_once_whatever_clocks_do(begin: datetime) -> None:
    zone = ZoneInfo(BERLIN)
    schedule = read_schedule("30 2 * * *", BERLIN)
    first = next_due_ms(schedule, int(begin.replace(tzinfo=UTC).timestamp() * 1000))
    second = next_due_ms(schedule, first or 0)
    assert first
    assert second
    days = [datetime.fromtimestamp(each / 1000, zone).date() for each in (first, second)]
    assert days[1] - days[0] == timedelta(days=1)
