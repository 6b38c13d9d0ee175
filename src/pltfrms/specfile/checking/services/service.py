"""What makes no sense in a service, alone and on a platform, whoever wrote it."""

from collections.abc import Iterator

from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.services.names import NOT_FOR_SERVICES
from pltfrms.model.services.references import SERVICE_VARIABLES
from pltfrms.model.services.service import ServiceSpec
from pltfrms.specfile.checking.platforms.egress import check_egress, check_egress_here
from pltfrms.specfile.checking.services.adopted import check_adopted, check_adopted_here
from pltfrms.specfile.checking.services.clients import check_clients_here, check_service_ports
from pltfrms.specfile.checking.services.homes import check_homes
from pltfrms.specfile.checking.services.hooks import check_hooks
from pltfrms.specfile.checking.services.labels import check_labels
from pltfrms.specfile.checking.services.probe import check_probe, probe_notes, same_question
from pltfrms.specfile.checking.services.replicas import FIELDS, check_fit, check_replicas
from pltfrms.specfile.checking.services.roles import check_roles
from pltfrms.specfile.checking.services.rollout import check_rollout, check_rollout_here
from pltfrms.specfile.checking.services.run import check_run
from pltfrms.specfile.checking.services.scale import check_scale, check_scale_here
from pltfrms.specfile.checking.services.storage import (
    check_member_names,
    check_storage,
    check_storage_here,
)
from pltfrms.specfile.checking.services.variables import check_variables
from pltfrms.specfile.checking.services.zones import check_zones, check_zones_here
from pltfrms.specfile.findings import (
    Finding,
    Where,
    check_name,
    check_range,
    check_scope,
    nearest,
)

VARIABLES = (
    "instance",
    "service",
    "datacenter",
    "node",
    "replica",
    "prefix4",
    "prefix6",
    "address4",
    "address6",
)
"""What `${pltfrms.X}` may name in command, files and environment."""
_OF_MEMBERS = ("replica.name", "replica.address4", "replica.address6")
"""The same, of a service with volumes."""


def service_findings(spec: ServiceSpec) -> Iterator[Finding]:
    """Yield everything that is wrong with a service by itself."""
    yield from check_name(("service",), spec.name)
    if spec.name in NOT_FOR_SERVICES:
        what = f"{spec.name} is what every machine calls itself"
        yield Finding(("service",), what, "take another name")
    keeps = spec.storage is not None and bool(spec.storage.volumes)
    variables = (*VARIABLES, *(_OF_MEMBERS if keeps else ()))
    yield from check_run(spec.run, variables, SERVICE_VARIABLES)
    yield from check_replicas(spec)
    yield from check_range(("weight",), spec.weight, 1, 64)
    if not 0 <= spec.drain_ms <= 3_600_000:  # noqa: PLR2004 (as the message says)
        yield Finding(("drain",), "is outside 0s..1h")
    yield from check_service_ports(spec)
    yield from check_egress(spec)
    yield from check_probe(("probe",), spec.probe)
    if spec.liveness is not None:
        yield from check_probe(("liveness",), spec.liveness)
    yield from check_roles(spec)
    yield from _check_said(spec)
    yield from check_labels(spec)
    yield from check_rollout(spec)
    yield from check_scale(spec)
    yield from check_storage(spec)
    yield from check_hooks(spec)
    yield from check_adopted(spec)
    yield from check_zones(spec)
    if spec.capacity is not None and spec.capacity.requests < 1:
        yield Finding(("capacity", "requests"), "must be at least 1/s")


def service_notes(spec: ServiceSpec) -> Iterator[Finding]:
    """Yield what is no mistake, but may be one."""
    if spec.liveness is not None and same_question(spec.liveness, spec.probe):
        what = "it asks the same as probe: what they all depend on restarts all of them"
        yield Finding(("liveness",), what, "ask about the instance alone, or leave it out")
    if not spec.ports:
        yield Finding(("ports",), "nothing says what it listens on", "such as ports: [80/tcp]")
        return
    yield from probe_notes(("probe",), spec.probe, spec.ports)


def _check_said(spec: ServiceSpec) -> Iterator[Finding]:
    if spec.aggregates and spec.addresses:
        what = "there are addresses too, which say all of it"
        yield Finding(("aggregate",), what, "keep one of the two")
    for index, address in enumerate(spec.addresses):
        if address in spec.addresses[:index]:
            yield Finding(("addresses", index), f"{address} is in the list twice", "keep one")
        yield from check_scope(("addresses", index), address)


def placement_findings(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    """Yield what is wrong with a service on this platform."""
    here = ("replicas", "datacenters")
    known = [datacenter.name for datacenter in platform.datacenters]
    named: list[tuple[Where, str]] = [
        *(((*here, index), name) for index, name in enumerate(spec.datacenters)),
        *((("replicas", name), name) for name, _ in spec.counts if "_" not in name),
    ]
    for where, name in named:
        if name not in known:
            what = f"there is no datacenter {name!r}"
            words = [*known, *(FIELDS if where[-1] == name else ())]
            yield Finding(where, what, nearest(name, words), name)
        elif not platform.machines_of(Role.NODE, name):
            what = f"{name} has no nodes"
            yield Finding(where, what, "leave it out; its edges bring traffic anyway")
    yield from check_egress_here(spec, platform)
    yield from check_clients_here(spec, platform)
    yield from check_variables(spec, platform)
    yield from check_fit(spec, platform)
    yield from check_homes(spec, platform)
    yield from check_rollout_here(spec, platform)
    yield from check_scale_here(spec, platform)
    yield from check_storage_here(spec, platform)
    yield from check_member_names(spec, platform)
    yield from check_adopted_here(spec, platform)
    yield from check_zones_here(spec, platform)
