"""Both ways to decode say the same of everything that controllers and labs answer."""

import dataclasses
import json
import typing
from collections.abc import Callable, Hashable, Iterator
from ipaddress import IPv6Address
from typing import Any, cast

import pytest

from pltfrms.codec import decode, decode_fully, encode, read
from pltfrms.errors import UsageError
from pltfrms.lab.protocol import Entrance, FaultInfo, LabReport, MachineInfo
from pltfrms.lab.rundir import LabInfo
from pltfrms.model.messages.api import (
    ErrorBody,
    Event,
    InterventionReply,
    PlanPreview,
    SnapshotView,
)
from pltfrms.model.messages.glass import BalancerAnswers, RouteAnswers, SessionText
from pltfrms.model.messages.guards import Guard, Verdict
from pltfrms.model.messages.requests import ChangeRequest, RequestReply
from pltfrms.model.running.balancer import BalancerView
from pltfrms.model.running.plan import Place, Plan, Reason, Stop
from pltfrms.model.running.state import Load, MachineStatus
from pltfrms.model.services.service import Run
from tests.cli.world import ALLOCATIONS, HEALTHY

ANSWERED: tuple[Any, ...] = (
    SnapshotView,
    PlanPreview,
    InterventionReply,
    RequestReply,
    list[ChangeRequest],
    list[Event],
    RouteAnswers,
    SessionText,
    BalancerAnswers,
    BalancerView,
    tuple[IPv6Address, ...],
    ErrorBody,
    tuple[MachineInfo, ...],
    tuple[FaultInfo, ...],
    tuple[str, ...],
    LabReport,
    LabInfo,
    Entrance,
)

FIRST = next(iter(ALLOCATIONS.values()))
EVENT = Event(sequence=9, at_ms=1, source="fra-n1", about="web", what="instance ready: ä")
STATUS = MachineStatus(machine="fra-e1", loads={"ext0": Load(received_bps=1, sent_bps=2)})
VIEW = SnapshotView(controller="fra-c1", snapshot=HEALTHY, stale_seconds=3)
PREVIEW = PlanPreview(
    revision=5,
    changes=(),
    plan=Plan(
        revision=5,
        steps=(
            Place(allocation=FIRST, reason=Reason.SPREAD),
            Stop(allocation=FIRST, reason=Reason.SPREAD),
        ),
    ),
    verdicts=(Verdict(guard=Guard.HEADROOM, about="x", sentence="too little"),),
)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        (VIEW, SnapshotView),
        (PREVIEW, PlanPreview),
        ([EVENT], list[Event]),
        (STATUS, MachineStatus),
        ((IPv6Address("fd00::1"),), tuple[IPv6Address, ...]),
    ],
)
def test_what_is_read_is_what_was_encoded(word: object, kind: Any) -> None:
    text = encode(word, kind)
    assert read(kind, text) == decode(kind, text) == word


@pytest.mark.parametrize("kind", ANSWERED)
def test_everything_that_is_answered_can_be_read(kind: Any) -> None:
    """A sample of each kind, made of its own types, survives."""
    word = _sample(kind)
    text = encode(word, cast("Hashable", kind))
    assert read(kind, text) == decode(kind, text) == word


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"sequence": "9"}',
        encode(EVENT).replace(b'"at_ms":1', b'"at_ms":"x"'),
        encode(EVENT).replace(b'"source":"fra-n1"', b'"source":7'),
        encode(EVENT).replace(b'"source":"fra-n1",', b""),
    ],
)
def test_what_is_no_such_document_is_refused(text: bytes | str) -> None:
    with pytest.raises(UsageError, match="not a valid"):
        read(Event, text)


def test_a_word_that_a_newer_version_has_is_refused_and_its_new_fields_are_not() -> None:
    document = {**json.loads(encode(EVENT)), "new": 1}
    assert read(Event, json.dumps(document)) == EVENT
    body = encode(PREVIEW).replace(b'"spread"', b'"brand-new"')
    with pytest.raises(UsageError, match="right types"):
        read(PlanPreview, body)


def _sample(kind: Any) -> Any:
    """Return a word of that type, with one element in everything that holds many."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        wanted = typing.get_type_hints(kind)
        names = [each.name for each in dataclasses.fields(kind)]
        return kind(**{name: _sample(wanted[name]) for name in names})
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {tuple, list}:
        return origin(_sample(each) for each in arguments if each is not ...)
    if origin is typing.Literal or (arguments and origin not in _MAPPINGS):
        return arguments[0] if origin is typing.Literal else _sample(arguments[0])
    if origin in _MAPPINGS:
        return {_sample(arguments[0]): _sample(arguments[1])}
    return next(_leaves(kind))


_MAPPINGS = {dict, typing.get_origin(typing.Mapping[str, str])}


def _leaves(kind: Any) -> Iterator[Any]:
    for argument in ("192.0.2.1", "2001:db8::1"):
        if kind in {str, int, float, bool}:
            yield kind(1)
        elif kind is bytes:
            yield b"1"
        elif hasattr(kind, "__members__"):
            yield next(iter(kind))
        else:
            try:
                yield kind(argument)
            except ValueError:
                continue


def test_a_fingerprint_is_not_looked_at_as_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(process=("7e012", "91e4007e0129"), cpu=0.5, memory_bytes=1 << 20)
    text = encode(run)
    monkeypatch.setattr(json, "loads", None)  # it costs as much as all else of a heartbeat
    assert decode(Run, text) == run


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e400", "-1E+999", "9" * 400]
)
@pytest.mark.parametrize("take", [decode, decode_fully])
def test_a_number_without_an_end_is_refused(
    take: Callable[[type[Run], bytes], Run], number: str
) -> None:
    good = encode(Run(process=("a NaN of 1e400",), cpu=0.5, memory_bytes=1 << 20))
    assert take(Run, good).cpu == 0.5
    with pytest.raises(UsageError, match="not a finite number"):
        take(Run, good.replace(b"0.5", number.encode()))
