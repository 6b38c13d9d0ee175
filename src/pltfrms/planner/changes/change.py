"""What an operator's change makes of a snapshot. Pure; the controller stores the result."""

from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from pltfrms.errors import NotFoundError, UsageError
from pltfrms.model.api import Change, ChangeLine
from pltfrms.model.service import Service, ServiceSpec
from pltfrms.model.state import Snapshot
from pltfrms.model.topology import Datacenter, Machine, Platform, Role

_ADDRESS4: Final = "${pltfrms.address4}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What differs, in words and as data. Without lines, nothing differs."""

    lines: tuple[ChangeLine, ...]
    snapshot: Snapshot
    """The snapshot as it would be; its revision is that of the snapshot before."""
    services: tuple[Service, ...] = ()
    """To be written."""
    deleted: tuple[str, ...] = ()
    """Names of services to be removed."""
    platform: Platform | None = None
    """To be written, if it differs."""


def apply_change(snapshot: Snapshot, change: Change) -> Outcome:
    """Return what a change makes of a snapshot; the same change twice is no change.

    Raises:
        UsageError: the change alters what must stay for a platform's life, or the aggregates
            have no room for another service.
    """
    lines: list[ChangeLine] = []
    platform = change.platform
    if platform is not None and platform != snapshot.platform:
        _check_platform_change(snapshot, platform)
        lines.append(_platform_line(snapshot.platform, platform))
        snapshot = replace(snapshot, platform=platform)
    else:
        platform = None
    written: list[Service] = []
    for spec in change.services:
        service = _accept(snapshot, spec)
        before = snapshot.services.get(spec.name)
        if service != before:
            lines.append(_service_line(before, service))
            written.append(service)
            services = {**snapshot.services, spec.name: service}
            snapshot = replace(snapshot, services=services)
    return Outcome(
        lines=tuple(lines), snapshot=snapshot, services=tuple(written), platform=platform
    )


def delete_service(snapshot: Snapshot, name: str) -> Outcome:
    """Return what deleting a service makes of a snapshot.

    Raises:
        NotFoundError: there is no such service.
    """
    if name not in snapshot.services:
        known = ", ".join(sorted(snapshot.services)) or "none"
        raise NotFoundError(f"there is no service {name!r}; there are: {known}")
    services = {other: service for other, service in snapshot.services.items() if other != name}
    service = snapshot.services[name]
    detail = f"gives up {service.prefix4} and {service.prefix6}"
    return Outcome(
        lines=(ChangeLine(about=f"service/{name}", action="delete", detail=detail),),
        snapshot=replace(snapshot, services=services),
        deleted=(name,),
    )


def _accept(snapshot: Snapshot, spec: ServiceSpec) -> Service:
    _check_words(snapshot.platform, spec)
    before = snapshot.services.get(spec.name)
    if before:
        same = (before.spec.run, before.spec.probe) == (spec.run, spec.probe)
        if same:
            return replace(before, spec=spec)
        version = before.version + 1
        return replace(before, spec=spec, version=version, changed_ms=snapshot.now_ms)
    taken = {service.id for service in snapshot.services.values()}
    service_id = next(number for number in range(1, len(taken) + 2) if number not in taken)
    prefix4, prefix6 = _prefixes(snapshot.platform, spec.name, service_id)
    # Of a deleted namesake something may still run: it must not pass for the new service.
    namesakes = (a.version for a in snapshot.allocations.values() if a.service == spec.name)
    return Service(
        spec=spec,
        id=service_id,
        version=1 + max(namesakes, default=0),
        prefix4=prefix4,
        prefix6=prefix6,
        changed_ms=snapshot.now_ms,
    )


def _check_words(platform: Platform, spec: ServiceSpec) -> None:
    texts = (*spec.run.process, *(text for _, text in (*spec.run.files, *spec.run.environment)))
    if platform.infrastructure4 is None and any(_ADDRESS4 in text for text in texts):
        raise UsageError(
            f"service {spec.name}: {_ADDRESS4} has no value: the infrastructure has no IPv4; "
            "take ${pltfrms.address6}, or ${pltfrms.prefix4} of the service"
        )


def _prefixes(
    platform: Platform, name: str, service_id: int
) -> tuple[IPv4Network, IPv6Network]:
    prefixes = [aggregate.prefix for aggregate in platform.service_aggregates]
    aggregate4 = next((p for p in prefixes if isinstance(p, IPv4Network)), None)
    aggregate6 = next((p for p in prefixes if isinstance(p, IPv6Network)), None)
    if aggregate4 is None or aggregate6 is None:
        raise UsageError(
            f"service {name}: the platform has no aggregate of each address family to take "
            "its prefixes from; add an IPv4 and an IPv6 prefix to `aggregates`"
        )
    if service_id > aggregate4.num_addresses - 2:
        raise UsageError(
            f"service {name}: {aggregate4} has no address left for service id {service_id}; "
            "delete a service, or use a larger first IPv4 aggregate"
        )
    return (
        IPv4Network(aggregate4.network_address + service_id),
        IPv6Network(aggregate6.network_address + service_id),
    )


def _check_platform_change(snapshot: Snapshot, after: Platform) -> None:
    before = snapshot.platform
    for field in ("name", "asn", "infrastructure4", "infrastructure6", "numbering"):
        old, new = (getattr(each, field) or "no-ipv4" for each in (before, after))
        if old != new:
            raise UsageError(
                f"platform: {field} cannot change from {old} to {new}: every address and "
                "session is made from it; set up a new platform and move services there"
            )
    _check_identities(before, after)
    if _controllers(before) != _controllers(after):
        raise UsageError(
            f"platform: the controllers cannot change from {_names(_controllers(before))} to "
            f"{_names(_controllers(after))}: they are the members of the store; "
            "keep them as they are"
        )
    _check_aggregates(snapshot, after)


def _check_identities(before: Platform, after: Platform) -> None:
    """Refuse to renumber what stays: its addresses and allocations depend on it."""
    for thing, old_things, new_things in (
        ("datacenter", before.datacenters, after.datacenters),
        ("machine", before.machines, after.machines),
    ):
        old = {item.name: _identity(item) for item in old_things}
        for item in new_things:
            if old.get(item.name, _identity(item)) != _identity(item):
                raise UsageError(
                    f"platform: {thing} {item.name} cannot change from {old[item.name]} to "
                    f"{_identity(item)}: its addresses are made from it; "
                    "remove it and add it under another name"
                )


def _identity(item: Machine | Datacenter) -> str:
    if isinstance(item, Machine):
        roles = " and ".join(f"{role} {item.id_as(role)}" for role in item.roles)
        return f"{roles} of {item.datacenter}"
    return f"id {item.id}"


def _check_aggregates(snapshot: Snapshot, after: Platform) -> None:
    kept = [aggregate.prefix for aggregate in after.service_aggregates]
    for name, service in sorted(snapshot.services.items()):
        for prefix in service.prefixes:
            if not any(_contains(aggregate, prefix) for aggregate in kept):
                raise UsageError(
                    f"platform: the aggregate of {prefix} cannot go: service {name} has it "
                    "for life; delete the service first"
                )


def _contains(aggregate: IPv4Network | IPv6Network, prefix: IPv4Network | IPv6Network) -> bool:
    if isinstance(aggregate, IPv4Network):
        return isinstance(prefix, IPv4Network) and prefix.subnet_of(aggregate)
    return isinstance(prefix, IPv6Network) and prefix.subnet_of(aggregate)


def _controllers(platform: Platform) -> dict[str, str]:
    return {m.name: _identity(m) for m in platform.machines_of(Role.CONTROLLER)}


def _names(things: dict[str, str]) -> str:
    return ", ".join(sorted(things)) or "none"


def _platform_line(before: Platform, after: Platform) -> ChangeLine:
    old = {machine.name for machine in before.machines}
    new = {machine.name for machine in after.machines}
    parts = [f"+{name}" for name in sorted(new - old)]
    parts += [f"-{name}" for name in sorted(old - new)]
    parts += _operators_changed(before, after)
    fields = Platform.__dataclass_fields__
    changed = [name for name in fields if getattr(before, name) != getattr(after, name)]
    detail = " ".join([", ".join(changed), *parts])
    return ChangeLine(about="platform", action="update", detail=detail)


def _operators_changed(before: Platform, after: Platform) -> list[str]:
    old = {operator.name: operator.keys for operator in before.operators}
    new = {operator.name: operator.keys for operator in after.operators}
    both = sorted(old.keys() & new.keys())
    return [
        *(f"+operator {name}" for name in sorted(new.keys() - old.keys())),
        *(f"-operator {name}" for name in sorted(old.keys() - new.keys())),
        *(f"other keys of {name}" for name in both if old[name] != new[name]),
    ]


def _service_line(before: Service | None, after: Service) -> ChangeLine:
    if before is None:
        detail = f"id {after.id}, {after.prefix4}, {after.prefix6}"
        return ChangeLine(about=f"service/{after.name}", action="create", detail=detail)
    fields = [
        name
        for name in ServiceSpec.__dataclass_fields__
        if getattr(before.spec, name) != getattr(after.spec, name)
    ]
    restarts = f"; version {before.version} -> {after.version}, rolls out"
    detail = ", ".join(fields) + (restarts if before.version != after.version else "")
    return ChangeLine(about=f"service/{after.name}", action="update", detail=detail)
