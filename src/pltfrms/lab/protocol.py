"""What the lab's daemon and its clients say to each other: one JSON line each way.

-> {"do": "fault", "target": "node/fra-n1", "kind": "kill", "for_ms": null}
<- {"value": ["node/fra-n1: power cut (0.4 ms)"]}
<- {"error": "NotFoundError", "message": "..."}
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pltfrms.codec import encode, read
from pltfrms.errors import (
    ConflictError,
    InvariantError,
    NotFoundError,
    PltfrmsError,
    UnavailableError,
    UsageError,
)
from pltfrms.lab.parts import UnitState

SOCKET = "lab.sock"
"""In the lab's run directory."""
LINE_BYTES = 4 << 20

_ERRORS: dict[str, type[PltfrmsError]] = {
    kind.__name__: kind
    for kind in (ConflictError, InvariantError, NotFoundError, UnavailableError, UsageError)
}
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineInfo:
    """A machine of the lab."""

    name: str
    role: str
    """`edge`, `node`, `controller`; in the emulated internet `transit`, `ixp`, `eyeball`."""
    datacenter: str
    """Empty in the emulated internet."""
    roles: tuple[str, ...]
    """All that it is, `role` first."""
    running: bool
    """Whether it has power."""
    pid: int
    """Of its first process, as the capsule counts; 0 without power."""
    units: Mapping[str, UnitState]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultInfo:
    """A fault that acts."""

    target: str
    kind: str
    since: float
    """Unix time, seconds."""
    remaining_ms: int | None
    """Until it undoes itself; None: when healed or booted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkReport:
    """One path between two ports of a segment, as asked and as measured."""

    segment: str
    ends: tuple[str, str]
    asked_us: int
    """One way, faults included."""
    rtt_us: int | None
    """Measured; None if no answer came."""
    verdict: str
    """`ok`, `off` (not what was asked) or `unknown` (not measurable now)."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Substitute:
    """Something that this machine's kernel made us do in another way, or not at all."""

    what: str
    uses: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabReport:
    """How far the lab is from what was asked of it."""

    links: tuple[LinkReport, ...]
    substitutes: tuple[Substitute, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """How to enter a machine or instance: a process at each level of namespaces."""

    pids: tuple[int, ...]
    """First the machine's, as the capsule counts; then the instance's, as the machine does."""


def request_line(verb: str, arguments: Mapping[str, object]) -> bytes:
    """Return a request as one line."""
    return json.dumps({"do": verb, **arguments}).encode() + b"\n"


def value_line(value: object) -> bytes:
    """Return the reply that carries a value."""
    return b'{"value":' + encode(value) + b"}\n"


def error_line(error: PltfrmsError) -> bytes:
    """Return the reply that carries an error."""
    kind = next((name for name, one in _ERRORS.items() if isinstance(error, one)), "")
    return json.dumps({"error": kind, "message": str(error)}).encode() + b"\n"


def read_reply(kind: type[_T], line: bytes) -> _T:
    """Return the value of a reply.

    Raises:
        PltfrmsError: the one that the reply carries.
        UnavailableError: the line is no whole reply: the daemon went away.
    """
    try:
        reply: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise UnavailableError("the lab's daemon went away; see its lab.log") from error
    if "error" in reply:
        raise_error(reply["error"], reply["message"])
    return read(kind, json.dumps(reply["value"]))


def raise_error(kind: str, message: str) -> None:
    """Raise the error of that name; InvariantError if there is none.

    Raises:
        PltfrmsError: always.
    """
    raise _ERRORS.get(kind, InvariantError)(message)
