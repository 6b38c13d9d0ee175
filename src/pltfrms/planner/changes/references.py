"""What specs say of other services is looked up when they are applied, and stays."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from pltfrms.errors import UsageError
from pltfrms.model.services.references import named_by, references_of, value_of
from pltfrms.model.services.service import CLIENT_SERVICE, Service, ServiceSpec


def in_order(
    specs: Sequence[ServiceSpec], services: Mapping[str, Service]
) -> tuple[ServiceSpec, ...]:
    """Return specs with those that others name first, whose addresses are not known before.

    Raises:
        UsageError: services name each other, or one itself, perhaps by way of `services`.
    """
    changed = {spec.name: spec for spec in specs}
    if not any(references_of(spec.run) for spec in specs):
        return tuple(specs)
    known = {name: each.spec for name, each in services.items()} | changed
    graph = {name: named_by(spec.run) for name, spec in known.items()}
    try:
        order = tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise UsageError(_circle(error.args[1], changed)) from error
    return tuple(changed[name] for name in order if name in changed)


def with_found(services: Mapping[str, Service], spec: ServiceSpec) -> ServiceSpec:
    """Return a spec with what its variables of other services stand for now.

    Raises:
        UsageError: some of them stand for nothing.
    """
    values = {each: value_of(each, services) for each in sorted(references_of(spec.run))}
    wrong = [
        f"service {spec.name}: run: ${{pltfrms.{variable}}} has no value: {why}"
        for variable, (_, why) in values.items()
        if why
    ]
    if wrong:
        raise UsageError("\n".join(wrong))
    found = tuple((variable, value) for variable, (value, _) in values.items())
    return replace(spec, run=replace(spec.run, found=found))


def check_clients(services: Mapping[str, Service], specs: Sequence[ServiceSpec]) -> None:
    """Refuse specs that name a service as a client which there is not, or nobody can tell.

    Raises:
        UsageError: all of them. Services may be each other's clients.
    """
    wrong = [
        f"service {spec.name}: ports: {client} is no client: {why}"
        for spec in specs
        for each in spec.clients
        for client in each.clients
        if client.startswith(CLIENT_SERVICE)
        and (why := _no_client(services.get(client.removeprefix(CLIENT_SERVICE))))
    ]
    if wrong:
        raise UsageError("\n".join(wrong))


def _no_client(service: Service | None) -> str:
    if service is None:
        return "there is no such service"
    if service.spec.run.adopted is not None:
        return "others start it, and it asks from addresses of its machines: say those"
    return ""


def _circle(names: Sequence[str], changed: Mapping[str, ServiceSpec]) -> str:
    """Say who names whom, beginning with a spec that is being applied."""
    circle = [*names[:-1]][::-1]
    start = circle.index(min(name for name in circle if name in changed))
    circle = [*circle[start:], *circle[:start]]
    words = " names ".join((*circle, circle[0]))
    return f"service {circle[0]}: run: {words}: of these, one must do without the other"
