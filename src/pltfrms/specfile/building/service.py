"""Shape of `service.yaml` -> words of the model."""

from collections.abc import Iterator
from dataclasses import replace

from pltfrms.model.services.service import (
    Capacity,
    Compare,
    PortClients,
    RolloutSpec,
    Scale,
    ServiceSpec,
    Stage,
)
from pltfrms.model.services.storage import STOP_GRACE_MS
from pltfrms.specfile.building.egress import build_egress
from pltfrms.specfile.building.probe import build_probe, build_role
from pltfrms.specfile.building.run import build_run, nodes_of
from pltfrms.specfile.building.storage import build_hooks, build_storage
from pltfrms.specfile.findings import Finding, nearest
from pltfrms.specfile.shapes.service import (
    CompareShape,
    ReplicasShape,
    RolloutShape,
    ScaleShape,
    ServiceShape,
)


def build_service(shape: ServiceShape) -> tuple[ServiceSpec, list[Finding]]:
    """Return the service, and what is wrong with its text."""
    probe, findings = build_probe(shape.probe, ("probe",))
    liveness = None
    if shape.liveness is not None:
        liveness, wrong = build_probe(shape.liveness, ("liveness",))
        findings += wrong
    roles = [build_role(name, role) for name, role in sorted(shape.roles.items())]
    for _, wrong in roles:
        findings += wrong
    egress, wrong = build_egress(shape.egress)
    findings += wrong
    findings += _replicas(shape.replicas)
    run, wrong = build_run(shape.run)
    findings += wrong
    if shape.volumes and "stop_grace" not in shape.run.model_fields_set:
        run = replace(run, stop_grace_ms=STOP_GRACE_MS)
    spec = ServiceSpec(
        name=shape.service,
        run=run,
        probe=probe,
        liveness=liveness,
        per_datacenter=_everywhere(shape.replicas),
        counts=tuple(_counts(shape.replicas).items()),
        total=shape.replicas.total or 0,
        datacenters=tuple(shape.replicas.datacenters),
        max_per_node=shape.replicas.max_per_node,
        nodes=tuple(shape.replicas.nodes) or nodes_of(run),
        weight=shape.weight,
        drain_ms=shape.drain,
        ports=tuple(each.port for each in shape.ports),
        clients=tuple(
            PortClients(port=each.port, clients=tuple(each.clients))
            for each in shape.ports
            if each.clients
        ),
        egress=egress,
        roles=tuple(role for role, _ in roles),
        group=shape.group,
        labels=tuple(sorted(shape.labels.items())),
        aggregates=tuple(shape.aggregate),
        addresses=tuple(shape.addresses),
        capacity=Capacity(requests=shape.capacity.requests, load=shape.capacity.load)
        if shape.capacity is not None
        else None,
        batch=shape.batch,
        scale=_scale(shape.scale) if shape.scale is not None else None,
        rollout=_rollout(shape.rollout) if shape.rollout is not None else None,
        storage=build_storage(shape),
        hooks=build_hooks(shape),
    )
    return spec, findings


def _scale(shape: ScaleShape) -> Scale:
    return Scale(min=shape.min, max=shape.max, cpu=shape.cpu, connections=shape.connections)


def _rollout(shape: RolloutShape) -> RolloutSpec:
    return RolloutSpec(
        stages=tuple(
            Stage(datacenters=tuple(each.datacenters), replicas=each.replicas or 0)
            for each in shape.stages
        ),
        bake_ms=shape.bake,
        parallel=shape.parallel,
        compare=_compare(shape.compare) if shape.compare is not None else None,
        untried=not shape.trial,
    )


def _compare(shape: CompareShape) -> Compare:
    return Compare(
        path=shape.http,
        port=shape.port or 0,
        interval_ms=shape.interval,
        timeout_ms=shape.timeout,
        samples=shape.samples,
        errors_percent=shape.errors,
        times=shape.times,
        margin_ms=shape.margin,
    )


def _counts(shape: ReplicasShape) -> dict[str, int]:
    """Return the numbers of replicas by datacenter."""
    return shape.__pydantic_extra__ or {}


def _everywhere(shape: ReplicasShape) -> int:
    """Return `per_datacenter`, or what it stands for; 1 if nothing says how many."""
    if shape.per_datacenter is not None:
        return shape.per_datacenter
    return 0 if shape.total or _counts(shape) else 1


def _replicas(shape: ReplicasShape) -> Iterator[Finding]:
    """Yield what is wrong with the text of `replicas`."""
    where, counts = ("replicas",), _counts(shape)
    if "datacenters" in shape.model_fields_set and not shape.datacenters:
        hint = "leave it out: then it runs wherever there are nodes"
        yield Finding((*where, "datacenters"), "there is none in the list", hint, "")
    for name in counts:
        if "_" in name:  # which no datacenter's name has
            hint = nearest(name, ReplicasShape.model_fields)
            yield Finding((*where, name), "unknown field", hint)
    if shape.per_datacenter is None and shape.total is None and not counts:
        yield Finding((*where, "per_datacenter"), "is missing", "add per_datacenter:", "")
    for field, number in (("per_datacenter", shape.per_datacenter), ("total", shape.total)):
        if number == 0:
            hint = "to stop a service, delete it"
            yield Finding((*where, field), "must be at least 1", hint)
