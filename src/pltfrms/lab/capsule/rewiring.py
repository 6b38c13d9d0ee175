"""Decide what of a running lab changes when it is to have other machines and wires. Pure."""

from collections.abc import Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from pltfrms.lab.parts import LabParts, MachineParts, Port, PortKey, Refit, Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewiring:
    """What to do. A machine that got another name is one that goes and one that comes."""

    gone: tuple[str, ...]
    new: tuple[str, ...]
    pulled: frozenset[PortKey]
    """Ports that end, of machines that stay."""
    plugged: tuple[tuple[Segment, Port], ...]
    """Ports that begin, of machines that stay."""
    refits: dict[str, Refit]
    """By machine, of those that stay and change."""

    @property
    def sentence(self) -> str:
        """It in words."""
        parts = [
            *(f"{name} is gone" for name in self.gone),
            *(f"{name} is new" for name in self.new),
            *(f"{machine}: {port} is pulled" for machine, port in sorted(self.pulled)),
            *(f"{port.machine}: {port.interface} is plugged in" for _, port in self.plugged),
        ]
        return ", ".join(parts) or "no machine and no wire changes"


def decide_rewiring(old: LabParts, new: LabParts) -> Rewiring:
    """Return how a lab of `old` becomes one of `new`."""
    before = {machine.name: machine for machine in old.machines}
    after = {machine.name: machine for machine in new.machines}
    staying = before.keys() & after.keys()
    had = {port.key: segment.mtu for segment, port in _ports(old)}
    has = {port.key: segment.mtu for segment, port in _ports(new)}
    kept = {key for key in had.keys() & has.keys() if had[key] == has[key]}
    plugged = tuple(
        (segment, port)
        for segment, port in _ports(new)
        if port.machine in staying and port.key not in kept
    )
    ports: dict[str, set[str]] = {name: set() for name in after if name in staying}
    for _, port in plugged:
        ports[port.machine].add(port.interface)
    refits = {name: _refit(before[name], after[name], ports[name]) for name in ports}
    return Rewiring(
        gone=tuple(name for name in before if name not in after),
        new=tuple(name for name in after if name not in before),
        pulled=frozenset(key for key in had if key[0] in staying and key not in kept),
        plugged=plugged,
        refits={name: refit for name, refit in refits.items() if refit is not None},
    )


def as_far_as_done(old: LabParts, new: LabParts, failed: Collection[str]) -> LabParts:
    """Return how a lab of `old` is that became one of `new`, but for some of its machines.

    Those are as before, without the ports that they were to get; one that is new is not there.
    So what is left to do is decided by `decide_rewiring` again.
    """
    left = {port.key for _, port in decide_rewiring(old, new).plugged if port.machine in failed}
    before = {machine.name: machine for machine in old.machines if machine.name in failed}
    segments = (
        replace(each, ports=tuple(port for port in each.ports if port.key not in left))
        for each in new.wiring.segments
    )
    return LabParts(
        wiring=replace(new.wiring, segments=tuple(segments)),
        machines=tuple(
            before.get(machine.name, machine)
            for machine in new.machines
            if machine.name not in failed or machine.name in before
        ),
    )


def _ports(parts: LabParts) -> list[tuple[Segment, Port]]:
    return [(segment, port) for segment in parts.wiring.segments for port in segment.ports]


def _refit(before: MachineParts, after: MachineParts, new: AbstractSet[str]) -> Refit | None:
    """Return what changes in a machine with these new ports; None: nothing."""
    files = tuple(file for file in after.files if file not in before.files)
    network = tuple(
        line
        for line in after.network
        if line not in before.network or not new.isdisjoint(line.split())
    )
    refit = Refit(
        units=after.units,
        files=files,
        sysctls=tuple(each for each in after.sysctls if each not in before.sysctls),
        ports=tuple(sorted(new)),
        network=network,
        commands=(after.reload,) if files and after.reload else (),
    )
    return None if refit == Refit(units=before.units) else refit
