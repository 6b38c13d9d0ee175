"""Texts with a unit, addresses, moments and fixed words, as they stand in a spec."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from fractions import Fraction
from functools import partial
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from pltfrms.specfile.findings import nearest

_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]*)\Z")
_PER_SECOND = re.compile(r"([0-9]{1,9})/s\Z")
_TIME_UNITS = {"us": 1, "ms": 1000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_SIZE_UNITS = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_RATE_UNITS = {"kbit": 1, "Mbit": 10**3, "Gbit": 10**6, "Tbit": 10**9}
_AS_SET = re.compile(
    # A source, then names with at least one set among them (RFC 2622).
    r"(?:[A-Za-z][A-Za-z0-9-]{0,30}::)?(?=(?:[A-Za-z0-9_-]+:)*AS-)"
    r"(?:AS[0-9]{1,10}|AS-[A-Za-z0-9_-]{0,60}[A-Za-z0-9])"
    r"(?::(?:AS[0-9]{1,10}|AS-[A-Za-z0-9_-]{0,60}[A-Za-z0-9])){0,5}\Z",
    re.IGNORECASE | re.ASCII,
)
_COMMUNITY = re.compile(r"[0-9]{1,10}(?::[0-9]{1,10}){1,2}\Z")
_MOMENTS = "2030-01-31 or 2030-01-31T18:00:00Z"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")
_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
_ADDRESS_MARKS = frozenset("%;{} \t\r\n")
"""Never part of an address; `%` would smuggle free text into configurations."""

_T = TypeVar("_T")


def wrong(what: str, hint: str = "") -> PydanticCustomError:
    """Return the error that says `what` is wrong and what to do."""
    # Texts of the file may hold braces, so they are never part of the template.
    return PydanticCustomError("spec", "{what}", {"what": what, "hint": hint})


def port_text(value: object) -> object:
    """Refuse the number of a port that does not say its protocol."""
    if isinstance(value, int):
        raise wrong(f"{value} has no protocol", f"write {value}/tcp or {value}/udp")
    return value


def quantity(
    value: object, *, units: Mapping[str, int], result: tuple[str, int], example: str
) -> int:
    """Return the number that a text such as `500ms` says, in the unit `result` (name, size).

    Raises:
        PydanticCustomError: no unit, another unit, or not a whole number of `result`.
    """
    match = _QUANTITY.match(value) if isinstance(value, str) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise wrong(f"{value:g} has no unit", f"write it such as {example}")
    if match is None:
        raise wrong(f"must be a number with a unit, not {value!r}", f"such as {example}")
    number, unit = match.groups()
    if not unit:
        raise wrong(f"{value!r} has no unit", f"write it such as {example}")
    if unit not in units:
        raise wrong(f"unknown unit {unit} in {value!r}", nearest(unit, units))
    name, size = result
    exact = Fraction(number) * units[unit] / size
    if exact.denominator != 1:
        raise wrong(f"{value!r} is not a whole number of {name}", f"such as {example}")
    return int(exact)


def _unit_field(units: Mapping[str, int], result: tuple[str, int], example: str) -> Any:
    return partial(quantity, units=units, result=result, example=example)


def _schema(units: Mapping[str, int], example: str) -> WithJsonSchema:
    pattern = f"^[0-9]+(\\.[0-9]+)? ?({'|'.join(units)})$"
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


_TIMES = "500ms, 2s or 1m"
Microseconds = Annotated[
    int,
    PlainValidator(_unit_field(_TIME_UNITS, ("microseconds", 1), _TIMES)),
    _schema(_TIME_UNITS, "5ms"),
]
Milliseconds = Annotated[
    int,
    PlainValidator(_unit_field(_TIME_UNITS, ("milliseconds", 1000), _TIMES)),
    _schema(_TIME_UNITS, "500ms"),
]
Seconds = Annotated[
    int,
    PlainValidator(_unit_field(_TIME_UNITS, ("seconds", 1_000_000), "2s or 1m")),
    _schema(_TIME_UNITS, "2s"),
]
Bytes = Annotated[
    int,
    PlainValidator(_unit_field(_SIZE_UNITS, ("bytes", 1), "64MiB, 8GiB or 512MB")),
    _schema(_SIZE_UNITS, "64MiB"),
]
Mbps = Annotated[
    int,
    PlainValidator(_unit_field(_RATE_UNITS, ("Mbit", 1000), "10Gbit or 100Mbit")),
    _schema(_RATE_UNITS, "10Gbit"),
]


def _per_second(value: object) -> int:
    match = _PER_SECOND.match(value) if isinstance(value, str) else None
    if match is None:
        raise wrong(f"must be a whole number per second, not {value!r}", "such as 200/s")
    return int(match.group(1))


PerSecond = Annotated[
    int,
    PlainValidator(_per_second),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,9}/s$", "examples": ["200/s"]}),
]


def default(value: int, text: str) -> Any:
    """Return a field with a default; editors are shown the text that means the same."""
    return Field(default=value, json_schema_extra={"default": text})


def some() -> Any:
    """Return a list that may be left out, but not be empty: that would not mean none."""
    return Field(default_factory=list, min_length=1)


def said() -> Any:
    """Return a text that may be left out, but not be empty."""
    return Field(default="", min_length=1)


def _address(value: object, read: Callable[[str], _T], example: str) -> _T:
    if not isinstance(value, str) or _ADDRESS_MARKS & set(value):
        raise wrong(f"must be {example}, not {value!r}")
    try:
        return read(value)
    except ValueError as error:
        raise wrong(f"must be {example}: {error}") from error


def prefix(value: object) -> IPv4Network | IPv6Network:
    """Return the prefix that a text says.

    Raises:
        PydanticCustomError: it says none, or has bits set after its length.
    """
    interface = _interface(value)
    if interface.ip != interface.network.network_address:
        raise wrong(f"{value} has bits set after its length", f"write {interface.network}")
    return _address(value, ip_network, "a prefix such as 198.51.100.0/24")


def _interface(value: object) -> IPv4Interface | IPv6Interface:
    example = "an address with its length such as 203.0.113.1/31"
    interface = _address(value, ip_interface, example)
    if "/" not in str(value):
        raise wrong(f"{value} has no length", f"write it such as {value}/24")
    return interface


def _plain_address(value: object) -> IPv4Address | IPv6Address:
    return _address(value, ip_address, "an address such as 203.0.113.1")


PrefixText = Annotated[
    IPv4Network | IPv6Network,
    PlainValidator(prefix),
    WithJsonSchema({"type": "string", "examples": ["198.51.100.0/24"]}),
]
NO_IPV4 = "no-ipv4"


def _prefix_or_none(value: object) -> IPv4Network | IPv6Network | None:
    return None if value == NO_IPV4 else prefix(value)


InfrastructureText = Annotated[
    IPv4Network | IPv6Network | None,
    PlainValidator(_prefix_or_none),
    WithJsonSchema({"type": "string", "examples": ["172.16.0.0/12", NO_IPV4]}),
]
"""A prefix, or None for the word that says that there shall be no IPv4."""
InterfaceText = Annotated[
    IPv4Interface | IPv6Interface,
    PlainValidator(_interface),
    WithJsonSchema({"type": "string", "examples": ["203.0.113.1/31"]}),
]
AddressText = Annotated[
    IPv4Address | IPv6Address,
    PlainValidator(_plain_address),
    WithJsonSchema({"type": "string", "examples": ["203.0.113.0"]}),
]


def _choose(value: object, words: tuple[str, ...], later: tuple[str, ...]) -> str:
    if value in later:
        raise wrong(f"{value} is not supported yet", f"known: {', '.join(words)}")
    if not isinstance(value, str) or value not in words:
        raise wrong(f"{value!r} is not a known word", nearest(str(value), words))
    return value


def one_of(*words: str, later: tuple[str, ...] = ()) -> tuple[PlainValidator, WithJsonSchema]:
    """Return validator and schema of one of some words; `later` are not supported yet."""
    return (
        PlainValidator(partial(_choose, words=words, later=later)),
        WithJsonSchema({"type": "string", "enum": list(words)}),
    )


# ---- other texts ---------------------------------------------------------------------------


def _file(value: object) -> object:
    if value == "":
        raise wrong("is empty", "the name of a file")
    return value


def _secret(value: object) -> str:
    # What is wrong with a secret is said without it.
    if not isinstance(value, str) or not value:
        raise wrong("must be text that is not empty", "write it in quotes")
    return value


def _as_set(value: object) -> str:
    if not isinstance(value, str) or not _AS_SET.match(value):
        hint = "such as AS-EXAMPLE, AS64511:AS-CUSTOMERS or RIPE::AS-EXAMPLE"
        raise wrong(f"{value!r} is not the name of an as-set", hint)
    return value


def _community(value: object) -> tuple[int, ...]:
    if not isinstance(value, str) or not _COMMUNITY.match(value):
        hint = 'two or three numbers in quotes, such as "64511:100" or "64511:1:2"'
        raise wrong(f"{value!r} is not a community", hint)
    return tuple(int(part) for part in value.split(":"))


def _community_word(value: object) -> tuple[int, ...] | str:
    if isinstance(value, str) and _NAME.match(value):
        return value
    return _community(value)


def _moment(value: object) -> int:
    if not isinstance(value, str):
        raise wrong(f"must be a date or a time, not {value!r}", f"such as {_MOMENTS}")
    try:
        moment = _instant(value)
    except ValueError as error:
        what = f"{value!r} is not a date or a time"
        raise wrong(what, f"such as {_MOMENTS}") from error
    if moment.tzinfo is None:
        raise wrong(f"{value} has no time zone", f"write {value}Z if it is UTC")
    if moment < _EARLIEST:
        raise wrong(f"{value} was before this software", f"such as {_MOMENTS}")
    return int(moment.timestamp() * 1000)


def _instant(text: str) -> datetime:
    if len(text) == len("2030-01-31"):
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    return datetime.fromisoformat(text)


FileText = Annotated[str, BeforeValidator(_file)]
SecretText = Annotated[str, PlainValidator(_secret), WithJsonSchema({"type": "string"})]
AsSetText = Annotated[
    str,
    PlainValidator(_as_set),
    WithJsonSchema({"type": "string", "examples": ["RIPE::AS-EXAMPLE"]}),
]
CommunityText = Annotated[
    tuple[int, ...],
    PlainValidator(_community),
    WithJsonSchema({"type": "string", "examples": ["64511:100", "64511:1:2"]}),
]
CommunityWord = Annotated[
    tuple[int, ...] | str,
    PlainValidator(_community_word),
    WithJsonSchema({"type": "string", "examples": ["64511:100", "64511:1:2", "no-us"]}),
]
Moment = Annotated[
    int,
    PlainValidator(_moment),
    WithJsonSchema({"type": "string", "examples": ["2030-01-31", "2030-01-31T18:00:00Z"]}),
]
"""Unix time in milliseconds. A date alone is its first moment, in UTC."""
