"""What a fault's words mean: targets, kinds, and their effect on ports and units. Pure.

Faults are state: the daemon keeps the list of those that act, and makes ports and units as
the sum of the list says. Undoing one is removing it from the list.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum

from pltfrms.errors import NotFoundError, UsageError
from pltfrms.lab.network.impairment import Impairment, PortCondition, PortShape
from pltfrms.lab.parts import (
    LabParts,
    Port,
    PortKey,
    Segment,
    SegmentKind,
    UnitGrip,
    Wiring,
)

CONTROL_PLANE_UNITS = ("controller", "etcd")


class FaultWord(StrEnum):
    """What happens to the target."""

    KILL = "kill"
    HANG = "hang"
    CUT = "cut"
    SILENT = "silent"
    LOSS = "loss"
    DELAY = "delay"


class TargetKind(StrEnum):
    """What a target is."""

    INSTANCE = "instance"
    MACHINE = "machine"
    DATACENTER = "datacenter"
    SEGMENT = "segment"
    UNITS = "units"


POWERED_KINDS = frozenset({TargetKind.MACHINE, TargetKind.DATACENTER})
_EVERY_WORD = tuple(FaultWord)
_WORDS: Mapping[TargetKind, tuple[FaultWord, ...]] = {
    TargetKind.INSTANCE: (FaultWord.KILL, FaultWord.HANG),
    TargetKind.MACHINE: _EVERY_WORD,
    TargetKind.DATACENTER: _EVERY_WORD,
    TargetKind.SEGMENT: (FaultWord.CUT, FaultWord.SILENT, FaultWord.LOSS, FaultWord.DELAY),
    TargetKind.UNITS: (FaultWord.KILL, FaultWord.HANG),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A parsed kind of fault."""

    word: FaultWord
    impairment: Impairment = field(default_factory=Impairment)

    def __str__(self) -> str:
        """Return it as it is written: `cut`, `loss=5%`, `delay=50ms`."""
        match self.word:
            case FaultWord.LOSS:
                return f"loss={self.impairment.loss_ppm / 10_000:g}%"
            case FaultWord.DELAY:
                return f"delay={self.impairment.delay_us / 1000:g}ms"
            case word:
                return word.value


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultTarget:
    """What a fault acts on."""

    name: str
    """The one way to write it, such as `node/fra-n1` or `link/fra-e1--ams-e2`."""
    kind: TargetKind
    machines: tuple[str, ...] = ()
    """Machines it consists of; for an instance: those it may run on."""
    units: tuple[tuple[str, str], ...] = ()
    """(machine, unit)."""
    segment: str = ""
    allocation: str = ""
    """How the allocation ids of the instance begin."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that acts."""

    target: FaultTarget
    kind: Kind


def parse_kind(text: str) -> Kind:
    """Return the kind of fault that `text` says.

    Raises:
        UsageError: no such kind, or an amount that makes no sense.
    """
    word, _, amount = text.partition("=")
    match word:
        case "kill" | "hang" | "cut" | "silent" if not amount:
            return Kind(FaultWord(word))
        case "loss":
            return Kind(FaultWord.LOSS, Impairment(loss_ppm=_loss_ppm(amount)))
        case "delay":
            return Kind(FaultWord.DELAY, Impairment(delay_us=_delay_us(amount)))
        case _:
            raise UsageError(
                f"{text!r} is no kind of fault; say kill, hang, cut, silent, loss=5% or"
                " delay=50ms"
            )


def check_kind(target: FaultTarget, kind: Kind) -> None:
    """Refuse what cannot happen to such a target.

    Raises:
        UsageError: says what can.
    """
    words = _WORDS[target.kind]
    if kind.word not in words:
        raise UsageError(f"{target.name} cannot {kind.word}; it can: {', '.join(words)}")


def find_target(parts: LabParts, text: str) -> FaultTarget:
    """Return the target that `text` names.

    Raises:
        NotFoundError: there is none; names those that are spelled alike.
    """
    targets = _targets(parts)
    found = targets.get(text) or _instance(parts, text)
    if found is None:
        near = get_close_matches(text, targets, n=3, cutoff=0.5)
        raise NotFoundError(
            f"the lab has no {text!r}; "
            + (f"did you mean {' or '.join(near)}?" if near else _usage(targets))
        )
    return found


def decide_conditions(
    wiring: Wiring, faults: Iterable[Fault], off: Collection[str]
) -> dict[PortKey, PortCondition]:
    """Return how every port is to be, given the acting faults and the machines without power.

    Loss and delay of a cable act once per direction, at its first port; those of a switch on
    frames that enter it; those of a machine or datacenter on each of its ports, both ways.
    """
    acting = tuple(fault for fault in faults if fault.kind.word in _PORT_WORDS)
    return {
        port.key: _condition(wiring, segment, port, acting, off)
        for segment in wiring.segments
        for port in segment.ports
    }


def decide_grips(parts: LabParts, faults: Iterable[Fault]) -> dict[tuple[str, str], UnitGrip]:
    """Return what faults do to every (machine, unit); killed is stronger than hung."""
    grips = {
        (machine.name, unit.name): UnitGrip.FREE
        for machine in parts.machines
        for unit in machine.units
    }
    for fault in faults:
        held = fault.kind.word is FaultWord.KILL
        for key in fault.target.units if fault.target.kind is TargetKind.UNITS else ():
            if grips[key] is not UnitGrip.HELD:
                grips[key] = UnitGrip.HELD if held else UnitGrip.HUNG
    return grips


def decide_hung(faults: Iterable[Fault]) -> frozenset[str]:
    """Return the machines of which everything is to be stopped."""
    return frozenset(
        machine
        for fault in faults
        if fault.kind.word is FaultWord.HANG
        and fault.target.kind in {TargetKind.MACHINE, TargetKind.DATACENTER}
        for machine in fault.target.machines
    )


_PORT_WORDS = frozenset({FaultWord.CUT, FaultWord.SILENT, FaultWord.LOSS, FaultWord.DELAY})


def _condition(
    wiring: Wiring,
    segment: Segment,
    port: Port,
    faults: tuple[Fault, ...],
    off: Collection[str],
) -> PortCondition:
    own_delay = Impairment(delay_us=port.delay_us)
    cut = segment.point_to_point and any(other.machine in off for other in segment.ports)
    silent, shape = False, PortShape(outward=own_delay, inward=own_delay)
    for fault in faults:
        touched = _touches(wiring, fault.target, segment, port)
        match fault.kind.word:
            case FaultWord.CUT:
                cut = cut or touched or _far_end_cut(wiring, fault.target, segment)
            case FaultWord.SILENT:
                silent = silent or touched
            case _:
                if touched:
                    shape = shape.plus(_extra(fault, segment, port))
    return PortCondition(cut=cut, silent=silent, shape=shape)


def _touches(wiring: Wiring, target: FaultTarget, segment: Segment, port: Port) -> bool:
    match target.kind:
        case TargetKind.SEGMENT:
            return target.segment == segment.name
        case TargetKind.MACHINE:
            return port.machine in target.machines
        case TargetKind.DATACENTER:
            # Only what leaves the datacenter: inside, life goes on.
            inside = {wiring.machine(other.machine).datacenter for other in segment.ports}
            return port.machine in target.machines and len(inside) > 1
        case _:
            return False


def _far_end_cut(wiring: Wiring, target: FaultTarget, segment: Segment) -> bool:
    return segment.point_to_point and any(
        _touches(wiring, target, segment, other) for other in segment.ports
    )


def _extra(fault: Fault, segment: Segment, port: Port) -> PortShape:
    impairment = fault.kind.impairment
    if fault.target.kind is not TargetKind.SEGMENT:
        return PortShape(outward=impairment, inward=impairment)
    if not segment.point_to_point:
        return PortShape(outward=impairment)
    if port == segment.ports[0]:
        return PortShape(outward=impairment, inward=impairment)
    return PortShape()


def _targets(parts: LabParts) -> dict[str, FaultTarget]:
    """Return every target but instances, by every way to write it."""
    targets = {target.name: target for target in _plain_targets(parts)}
    wiring = parts.wiring
    for machine in wiring.machines:
        for kind in ("machine", *machine.further):
            other_way = f"{kind}/{machine.name}"
            targets[other_way] = targets[_machine_name(wiring, machine.name)]
    for segment in wiring.segments:
        if segment.kind is SegmentKind.LINK:
            first, second = segment.ports
            _, mark, label = segment.name.partition(":")
            ends = f"{second.machine}--{first.machine}{mark}{label}"
            other_way = f"{SegmentKind.LINK}/{ends}"
            targets[other_way] = targets[segment.name]
    return targets


def _plain_targets(parts: LabParts) -> Iterable[FaultTarget]:
    wiring = parts.wiring
    for machine in wiring.machines:
        name = _machine_name(wiring, machine.name)
        yield FaultTarget(name=name, kind=TargetKind.MACHINE, machines=(machine.name,))
    for name in dict.fromkeys(one.datacenter for one in wiring.machines if one.datacenter):
        inside = tuple(one.name for one in wiring.machines if one.datacenter == name)
        yield FaultTarget(
            name=f"datacenter/{name}", kind=TargetKind.DATACENTER, machines=inside
        )
    for segment in wiring.segments:
        yield FaultTarget(name=segment.name, kind=TargetKind.SEGMENT, segment=segment.name)
    units = tuple((one.name, unit.name) for one in parts.machines for unit in one.units)
    for key in units:
        yield FaultTarget(name=f"daemon/{key[0]}/{key[1]}", kind=TargetKind.UNITS, units=(key,))
    yield FaultTarget(
        name="controllers",
        kind=TargetKind.UNITS,
        units=tuple(key for key in units if key[1] in CONTROL_PLANE_UNITS),
    )


def _machine_name(wiring: Wiring, name: str) -> str:
    machine = wiring.machine(name)
    return f"{machine.role if machine.datacenter else 'machine'}/{name}"


def _instance(parts: LabParts, text: str) -> FaultTarget | None:
    match = re.fullmatch(r"instance/([^/]+)/([^/]+)/(\d+)", text)
    if match is None:
        return None
    service, datacenter, replica = match.groups()
    nodes = tuple(
        machine.name
        for machine in parts.wiring.machines
        if machine.datacenter == datacenter and "node" in machine.roles
    )
    if not nodes:
        return None
    return FaultTarget(
        name=text,
        kind=TargetKind.INSTANCE,
        machines=nodes,
        allocation=f"{service}.{datacenter}.{replica}-",
    )


def _usage(targets: Mapping[str, FaultTarget]) -> str:
    words = dict.fromkeys(name.partition("/")[0] for name in targets)
    return f"a target begins with one of: {', '.join(words)}, instance"


def _loss_ppm(amount: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)%", amount)
    if match is None or not 0 < float(match[1]) <= 100:  # noqa: PLR2004 - per cent
        raise UsageError(f"loss={amount!r} makes no sense; say for example loss=5%")
    return round(float(match[1]) * 10_000)


def _delay_us(amount: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s)", amount)
    if match is None:
        raise UsageError(f"delay={amount!r} makes no sense; say for example delay=50ms")
    return round(float(match[1]) * {"us": 1, "ms": 1_000, "s": 1_000_000}[match[2]])


def sentence_of(fault: Fault) -> str:
    """Return what has happened when a fault begins to act, in words."""
    match fault.kind.word:
        case FaultWord.KILL if fault.target.kind in POWERED_KINDS:
            return f"power cut: {', '.join(fault.target.machines)}"
        case FaultWord.KILL:
            return "killed, and kept down"
        case FaultWord.HANG:
            return "hung"
        case FaultWord.CUT:
            return "no carrier"
        case FaultWord.SILENT:
            return "carrier stays, nothing passes"
        case _:
            return f"{_plus(fault.kind)}"


def _plus(kind: Kind) -> str:
    return f"now has {kind} more"
