"""Values that options take: durations, times, faults, addresses with ports."""

import datetime as dt
import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import click

from pltfrms.errors import UsageError
from pltfrms.model.addresses import Address
from pltfrms.model.durations import short_duration

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_DAY_MS = 86_400_000
_TEN_YEARS_MS = 10 * 366 * _DAY_MS
_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}


def duration_ms(text: str) -> int:
    """Return a duration such as `500ms`, `10s`, `1.5s` or `1m` in milliseconds.

    Raises:
        ValueError: it is none, not a whole number of milliseconds, or more than ten years.
    """
    return _within(0, _TEN_YEARS_MS, text)


def lasting_ms(text: str) -> int:
    """Return a duration that is more than nothing; otherwise as `duration_ms`."""
    return _within(1, _TEN_YEARS_MS, text)


def timeout_ms(text: str) -> int:
    """Return a duration from a millisecond to a day; otherwise as `duration_ms`."""
    return _within(1, _DAY_MS, text)


def _within(least: int, most: int, text: str) -> int:
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write it such as 500ms, 10s or 1m")
    value = float(match[1]) * _MILLISECONDS[match[2]]
    if not least <= value <= most:
        longest = short_duration(most / 1000)
        raise ValueError(f"{text!r} is not a duration of {least} ms to {longest}")
    if value != int(value):
        raise ValueError(f"{text!r} is finer than a millisecond")
    return int(value)


def moment_ms(text: str) -> int:
    """Return a time such as `2030-01-31T22:00Z` or `…T22:00+01:00` in Unix milliseconds.

    Raises:
        ValueError: it is none, or does not say its zone.
    """
    example = "write it with its zone, such as 2030-01-31T22:00Z"
    try:
        moment = dt.datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is not a time; {example}") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} does not say in which zone; {example}")
    return int(moment.timestamp() * 1000)


class Milliseconds(click.ParamType[int]):
    """An option that takes a text which stands for milliseconds."""

    def __init__(self, name: str, read: Callable[[str], int]) -> None:
        """Call it `name` in help; `read` raises ValueError for what it does not understand."""
        self.name = name
        self._read = read

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read the text; a number is milliseconds already."""
        if isinstance(value, int):
            return value
        try:
            return self._read(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Label(click.ParamType[tuple[str, str]]):
    """An option that takes a label and what it says, such as `group=shop`."""

    name = "label"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Part the text at its first `=`."""
        name, _, text = str(value).partition("=")
        if not name or not text:
            self.fail(f"{value!r} is not a label; write it such as group=shop", param, ctx)
        return name, text


LABEL = Label()
DURATION = Milliseconds("duration", duration_ms)
LASTING = Milliseconds("duration", lasting_ms)
TIMEOUT = Milliseconds("duration", timeout_ms)
MOMENT = Milliseconds("time", moment_ms)


def split_fault(text: str) -> tuple[str, str]:
    """Return target and kind of `TARGET[:KIND]`; the kind is `kill` if it is not said."""
    target, _, kind = text.partition(":")
    return target, kind or "kill"


def read_port(text: str) -> int:
    """Return the port that a text says; UsageError if it says none."""
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise UsageError(f"{text!r} is not a port: a number in 1..65535")
    return int(text)


def read_endpoint(text: str) -> tuple[Address, int]:
    """Return address and port of `192.0.2.1:443` or `[2001:db8::1]:443`.

    Raises:
        UsageError: the text says something else.
    """
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        address = None
    if address is None or bracketed != (address.version == 6):  # noqa: PLR2004 - IPv6
        raise UsageError(
            f"{text!r} is not an address with a port; "
            "write it such as 203.0.113.7:40001 or [2001:db8::7]:40001"
        )
    return address, read_port(port)
