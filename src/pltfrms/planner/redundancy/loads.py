"""What services have to do: as their specs say, and as their instances were seen to. Pure.

Of requests a replica can do what `capacity` says, or else what `scale` wants of it; of cpu what
it is promised. What is measured is the sum of the peaks of the instances that are ready, of
each its own busiest time. It counts where it is more than what is declared, and stands beside
it where it is not. Where one instance was not measured, nothing is: not known is never little.
What a batch service uses of cpu is told, and never missing: it would use all of any other.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pltfrms.model.running.loads import LoadKind, ServiceLoad
from pltfrms.model.running.state import Contact, Peak, Phase, Snapshot
from pltfrms.model.services.service import Service

Loads = Mapping[str, tuple[ServiceLoad, ...]]
"""By service."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What is known of a ready instance."""

    cpu_milli: int
    """What it is promised."""
    peak: Peak | None


def service_loads(snapshot: Snapshot) -> Loads:
    """Return what each service has to do, as far as anybody knows."""
    told: dict[str, list[_Told]] = {name: [] for name in snapshot.services}
    for machine, status in snapshot.statuses.items():
        if snapshot.contact(machine) is not Contact.PRESENT:
            continue
        for instance in status.instances:
            allocation = snapshot.allocations.get(instance.allocation)
            if instance.phase is not Phase.READY or allocation is None:
                continue
            service = snapshot.services.get(allocation.service)
            if service is not None and allocation.node == machine:
                promised = round(service.run_of(allocation.version).cpu * 1000)
                told[service.name].append(_Told(promised, instance.peak))
    return {
        name: tuple(_loads(service, told[name])) for name, service in snapshot.services.items()
    }


def _loads(service: Service, told: Sequence[_Told]) -> Iterator[ServiceLoad]:
    spec = service.spec
    capacity, scale = spec.capacity, spec.scale
    each = capacity.requests if capacity else scale.connections if scale else None
    if each:
        counts = [one.peak.connections if one.peak else None for one in told]
        yield _load(service, LoadKind.REQUESTS, each, told, counts)
    if spec.run.adopted is None:
        cores = [_used_milli(one) for one in told]
        yield _load(service, LoadKind.CPU, round(spec.run.cpu * 1000), told, cores)


def _used_milli(one: _Told) -> int | None:
    percent = one.peak.cpu_percent if one.peak else None
    return None if percent is None else -(-percent * one.cpu_milli // 100)


def _load(
    service: Service,
    kind: LoadKind,
    each: int,
    told: Sequence[_Told],
    amounts: Sequence[int | None],
) -> ServiceLoad:
    capacity = service.spec.capacity
    declared = capacity.load if capacity and kind is LoadKind.REQUESTS else None
    silent = amounts.count(None)
    known = [amount for amount in amounts if amount is not None]
    why = f"{silent} of {len(told)} instances were not measured" if told else "none is ready"
    is_known = bool(told) and not silent
    return ServiceLoad(
        batch=service.spec.batch and kind is LoadKind.CPU,
        service=service.name,
        kind=kind,
        each=each,
        declared=declared,
        measured=sum(known) if is_known else None,
        hours=min(one.peak.hours for one in told if one.peak) if is_known else 0,
        unknown="" if is_known else why,
    )
