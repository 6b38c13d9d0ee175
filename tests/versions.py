"""Documents as the releases before and after this one write them."""

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pltfrms.codec import encode
from pltfrms.model.network.interventions import Blackhole, Drain, Freeze, Interventions, Release
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.plan import Allocation, LastNumber
from pltfrms.model.running.state import (
    AggregateStatus,
    InstanceStatus,
    Load,
    MachineStatus,
    Phase,
    SessionStatus,
)
from pltfrms.model.services.service import Service
from pltfrms.specfile import load_platform
from tests.strategies import make_allocation, make_service, make_spec

NEXT = "of-the-next-release"
EXAMPLE = Path(__file__).parents[1] / "examples" / "mixed-internet" / "platform.yaml"


def make_rich_platform() -> Platform:
    """Return a platform that uses most of what can be said."""
    return load_platform(EXAMPLE)


def make_rich_interventions() -> Interventions:
    """Return one intervention of each kind."""
    prefix = make_service(make_spec()).prefixes[0]
    return Interventions(
        freeze=Freeze(since_ms=1, why="a storm", by="ann"),
        drains=(Drain(node="fra-n1", since_ms=1, wait_ms=2),),
        blackholes=(Blackhole(prefix=prefix, until_ms=9),),
        releases=(Release(datacenter="fra", until_ms=9),),
    )


def make_rich_status(machine: str = "fra-n1") -> MachineStatus:
    """Return a status that says a bit of everything."""
    reason = make_allocation("web.fra.1-1", machine).reason
    return MachineStatus(
        machine=machine,
        instances=(InstanceStatus(allocation="web.fra.1-1", phase=Phase.READY),),
        sessions=(SessionStatus(name="edge.fra-e1", up=True, rejects={"bogon": 1}),),
        aggregates=(AggregateStatus(prefix="::/0", announced=True, reason=reason),),
        loads={"x-ixp1": Load(received_bps=1, sent_bps=2)},
    )


def intent() -> tuple[Platform, Interventions, Service, Allocation, LastNumber]:
    """Return a word of every kind by which controllers decide what is wanted."""
    return (
        make_rich_platform(),
        make_rich_interventions(),
        make_service(make_spec()),
        make_allocation("web.fra.1-1", "fra-n1"),
        LastNumber(replica="web.fra.1", number=1),
    )


def with_unknown_fields(word: object, said: object = NEXT) -> Iterator[tuple[str, bytes]]:
    """Yield the word with one field more, which says `said`: once for each class in it."""
    document = json.loads(encode(word))
    for name, path, _ in _places(word):
        if "." not in name:
            yield name, _altered(document, (*path, "of_the_next_release"), said)


def with_unknown_values(word: object) -> Iterator[tuple[str, bytes]]:
    """Yield the word with a value that its enum does not have: once for each such field."""
    document = json.loads(encode(word))
    for name, path, value in _places(word):
        if isinstance(value, Enum):
            yield name, _altered(document, path, NEXT)


def without_fields(word: object) -> Iterator[tuple[str, bytes]]:
    """Yield the word as it was before a field was made: once for each that has a default."""
    document = json.loads(encode(word))
    for name, path, value in _places(word):
        if isinstance(value, _Default):
            yield name, _altered(document, path, None, remove=True)


class _Default:
    """Stands for the value of a field that may be left out."""


def _places(
    word: object, path: tuple[str | int, ...] = (), seen: set[str] | None = None
) -> Iterator[tuple[str, tuple[str | int, ...], object]]:
    """Yield (`Class` or `Class.field`, path in the document, value), each name once."""
    seen = set() if seen is None else seen
    if isinstance(word, tuple):
        for number, each in enumerate(word):
            yield from _places(each, (*path, number), seen)
    elif is_dataclass(word) and not isinstance(word, type):
        kind = type(word).__name__
        if kind not in seen:
            seen.add(kind)
            yield kind, path, word
        for field in fields(word):
            name, value = f"{kind}.{field.name}", getattr(word, field.name)
            if name not in seen and isinstance(value, Enum):
                seen.add(name)
                yield name, (*path, field.name), value
            optional = field.default is not MISSING or field.default_factory is not MISSING
            if optional and f"{name}?" not in seen:
                seen.add(f"{name}?")
                yield name, (*path, field.name), _Default()
            yield from _places(value, (*path, field.name), seen)


def _altered(
    document: Any, path: Sequence[str | int], value: object, *, remove: bool = False
) -> bytes:
    altered = inner = copy.deepcopy(document)
    for step in path[:-1]:
        inner = inner[step]
    if remove:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return json.dumps(altered).encode()
