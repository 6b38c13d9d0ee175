"""Values that options take: durations, and faults."""

import re
from typing import Any

import click

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}


def duration_ms(text: str) -> int:
    """Return a duration such as `500ms`, `10s`, `1.5s` or `1m` in milliseconds.

    Raises:
        ValueError: it is none, or not a whole number of milliseconds.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write it such as 500ms, 10s or 1m")
    value = float(match[1]) * _MILLISECONDS[match[2]]
    if value != int(value):
        raise ValueError(f"{text!r} is finer than a millisecond")
    return int(value)


class Duration(click.ParamType[int]):
    """An option that takes a duration; its value is in milliseconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read a duration; a number is one already, in milliseconds."""
        if isinstance(value, int):
            return value
        try:
            return duration_ms(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = Duration()


def split_fault(text: str) -> tuple[str, str]:
    """Return target and kind of `TARGET[:KIND]`; the kind is `kill` if it is not said."""
    target, _, kind = text.partition(":")
    return target, kind or "kill"


def short_duration(seconds: float) -> str:
    """Return a duration as people say it: `400 ms`, `12.3 s`, `5 min`, `3 h`, `2 d`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:  # noqa: PLR2004 - up to two minutes, seconds say more
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - same
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 60:.0f} min"
