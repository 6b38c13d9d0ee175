"""What an operator's change makes of a snapshot. Pure; the controller stores the result."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from pltfrms.errors import UsageError
from pltfrms.model.messages.api import Change, ChangeLine
from pltfrms.model.network.homes import home_of, spoken_for, unfit
from pltfrms.model.network.topology import Datacenter, Machine, Platform, Role
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.egress import egress_mode
from pltfrms.model.services.jobs import Job
from pltfrms.model.services.outgoing import EgressMode
from pltfrms.model.services.references import texts_of
from pltfrms.model.services.replicas import replicas_of
from pltfrms.model.services.roles import RolePrefixes
from pltfrms.model.services.rollouts import USUAL, gone_back, trial_words
from pltfrms.model.services.secrets import OnChange
from pltfrms.model.services.service import RolloutState, Service, ServiceSpec
from pltfrms.planner.changes.generating import GeneratedSecret, generated, with_notes
from pltfrms.planner.changes.giving import (
    first_prefixes,
    made_again,
    moved,
    next_prefixes,
    with_numbers,
    with_prefixes,
    with_roles,
)
from pltfrms.planner.changes.pruning import pruned
from pltfrms.planner.changes.references import check_clients, in_order, with_found
from pltfrms.planner.changes.renumbering import check_sources, lacks_own
from pltfrms.planner.changes.rolling import begin, changed_beside, failed_before

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
    jobs: tuple[Job, ...] = ()
    """To be written; also those that are deleted, of which only the numbers are left."""
    secrets: tuple[GeneratedSecret, ...] = ()
    """To be made, and written."""


def apply_change(snapshot: Snapshot, change: Change, secrets_last: int = 0) -> Outcome:
    """Return what a change makes of a snapshot; the same change twice is no change.

    No secret that it makes has a number up to `secrets_last`.

    Raises:
        UsageError: the change alters what must stay for a platform's life, or the aggregates
            have no room for another service.
        ConflictError: what is to go is somebody else's, or a run of it is not over.
    """
    was, made = snapshot.platform, generated(snapshot, change, secrets_last)
    lines = [line for each in made for line in each.lines]
    snapshot = with_notes(snapshot, made)
    gone, gone_jobs = pruned(snapshot, change)
    platform = change.platform
    if platform is not None and platform != snapshot.platform:
        _check_platform_change(snapshot, platform)
        lines.append(_platform_line(snapshot.platform, platform))
        snapshot = replace(snapshot, platform=platform)
    else:
        platform = None
    written: list[Service] = []
    staying = {name: each for name, each in snapshot.services.items() if name not in gone}
    for said in in_order(change.services, staying):
        spec = with_found(staying, said)
        service = staying[spec.name] = _accept(snapshot, spec, change)
        before = snapshot.services.get(spec.name)
        if service != before:
            lines.append(_service_line(snapshot.platform, before, service))
            written.append(service)
            services = {**snapshot.services, spec.name: service}
            snapshot = replace(snapshot, services=services)
    for name in gone:
        without = delete_service(snapshot, name)
        lines += without.lines
        snapshot = without.snapshot
    _check_old_names(was, snapshot)
    check_clients(snapshot.services, [each.spec for each in written])
    jobs = _changed_jobs(snapshot, change, gone_jobs)
    all_jobs = {**snapshot.jobs, **{each.name: each for each in jobs}}
    return Outcome(
        lines=(*lines, *(_job_line(snapshot.jobs.get(each.name), each) for each in jobs)),
        snapshot=replace(snapshot, jobs=all_jobs),
        services=tuple(written),
        deleted=gone,
        platform=platform,
        jobs=jobs,
        secrets=made,
    )


def delete_service(snapshot: Snapshot, name: str) -> Outcome:
    """Return what deleting a service makes of a snapshot.

    Raises:
        NotFoundError: there is no such service.
    """
    service = snapshot.service(name)
    services = {other: each for other, each in snapshot.services.items() if other != name}
    detail = f"gives up {' and '.join(map(str, service.all_prefixes))}"
    return Outcome(
        lines=(ChangeLine(about=f"service/{name}", action="delete", detail=detail),),
        snapshot=replace(snapshot, services=services),
        deleted=(name,),
    )


def _changed_jobs(snapshot: Snapshot, change: Change, gone: tuple[str, ...]) -> tuple[Job, ...]:
    if not (change.jobs or gone):
        return ()
    from pltfrms.planner.jobs.asking import changed_jobs  # noqa: PLC0415 - few change jobs

    return changed_jobs(snapshot, change, gone)


def _job_line(before: Job | None, after: Job) -> ChangeLine:
    spec, created = after.spec, before is None or before.deleted
    action = "delete" if after.deleted else "create" if created else "update"
    when = f"{spec.schedule} ({spec.timezone})" if spec.schedule else "when somebody says so"
    detail = "with what is remembered of its runs" if after.deleted else when
    return ChangeLine(about=f"job/{after.name}", action=action, detail=detail)


def _accept(snapshot: Snapshot, said: ServiceSpec, change: Change) -> Service:
    _check_words(snapshot.platform, said)
    spec = _with_values(snapshot, said)
    before = snapshot.services.get(spec.name)
    if before:
        return _accept_again(snapshot, spec, before, change)
    taken = {service.id for service in snapshot.services.values()}
    service_id = next(number for number in range(1, len(taken) + 2) if number not in taken)
    namesakes = (a for a in snapshot.allocations.values() if a.service == spec.name)
    service = Service(
        spec=spec,
        id=service_id,
        version=1,
        prefix4=None,
        prefix6=None,
        changed_ms=snapshot.now_ms,
    )
    prefixes = first_prefixes(snapshot, spec, service_id)
    made = with_roles(snapshot, made_again(with_prefixes(service, prefixes), namesakes))
    return with_numbers(snapshot, made)


def _check_words(platform: Platform, spec: ServiceSpec) -> None:
    if platform.infrastructure4 is None and any(
        _ADDRESS4 in text for text in texts_of(spec.run)
    ):
        raise UsageError(
            f"service {spec.name}: {_ADDRESS4} has no value: the infrastructure has no IPv4; "
            "take ${pltfrms.address6}, or ${pltfrms.prefix4} of the service"
        )


def _with_values(snapshot: Snapshot, spec: ServiceSpec) -> ServiceSpec:
    """Return a spec that says which values of secrets it is given: another one, other words."""
    uses = []
    for use in spec.run.secrets:
        note = snapshot.secrets.get(use.name)
        if note is None:
            known = ", ".join(sorted(snapshot.secrets)) or "none"
            raise UsageError(
                f"service {spec.name}: run: there is no secret {use.name!r}; there are: "
                f"{known}; give it a value first: pltfrms secret set {use.name}"
            )
        follows = use.on_change is OnChange.RESTART
        uses.append(replace(use, version=note.version if follows else 0))
    return replace(spec, run=replace(spec.run, secrets=tuple(uses))) if uses else spec


def _accept_again(
    snapshot: Snapshot, spec: ServiceSpec, before: Service, change: Change
) -> Service:
    prefixes = next_prefixes(snapshot, spec, before)
    service = with_roles(snapshot, with_prefixes(_sized(snapshot, before, spec), prefixes))
    service = with_numbers(snapshot, service)
    moves = service.prefixes != before.prefixes
    if not moves and not lacks_own(snapshot, before.spec, spec):
        if _same(before.spec, spec):
            return replace(service, rollout=changed_beside(before, spec))
        if before.before and _same(before.before.spec, spec):
            cause = "the version before was applied again"
            back = gone_back(before, RolloutState.ABORTED, cause, snapshot.now_ms)
            return replace(back, spec=spec)
    version = max(before.version, before.last_version) + 1
    service = replace(
        service, version=version, last_version=0, changed_ms=snapshot.now_ms, rollout=None
    )
    if moves:  # there would be no way back: another service may get what it gives up
        return moved(before, service)
    return begin(snapshot, before, service, change.by, change.why)


def _sized(snapshot: Snapshot, before: Service, spec: ServiceSpec) -> Service:
    """Return a service with a spec.

    What the load made of a number stays, within new bounds, until somebody says another one.
    """
    old, new = (
        (s.scale, s.per_datacenter, s.counts, s.total, s.datacenters)
        for s in (before.spec, spec)
    )
    if old == new:
        return replace(before, spec=spec)
    if spec.scale is None:
        return replace(before, spec=spec, scaled=(), scaled_ms=0)
    was, wants = (replicas_of(snapshot.platform, each) for each in (before.spec, spec))
    scaled = tuple(
        (name, count) for name, count in before.scaled if was.get(name) == wants.get(name, 0)
    )
    return replace(before, spec=spec, scaled=scaled, scaled_ms=snapshot.now_ms)


def _same(one: ServiceSpec, other: ServiceSpec) -> bool:
    """Return whether both run the same."""
    return one.version_parts == other.version_parts


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
    _check_controllers(before, after)
    _check_aggregates(snapshot, after)
    check_sources(snapshot, after)


def _check_identities(before: Platform, after: Platform) -> None:
    """Refuse to renumber what stays: its addresses and allocations depend on it."""
    called = {new: old for old, new in renamed(before.datacenters, after.datacenters)}
    machines = (
        replace(each, datacenter=called.get(each.datacenter, each.datacenter))
        for each in after.machines
    )
    for thing, old_things, new_things in (
        ("datacenter", before.datacenters, after.datacenters),
        ("machine", before.machines, machines),
    ):
        old = {item.name: _identity(item) for item in old_things}
        for item in new_things:
            if old.get(item.name, _identity(item)) != _identity(item):
                raise UsageError(
                    f"platform: {thing} {item.name} cannot change from {old[item.name]} to "
                    f"{_identity(item)}: its addresses are made from it; "
                    "remove it and add it under another name"
                )


def _check_old_names(before: Platform, after: Snapshot) -> None:
    """Refuse to rename a datacenter alone that a service names: it would run there no more."""
    for old, new in renamed(before.datacenters, after.platform.datacenters):
        for name, service in sorted(after.services.items()):
            spec = service.spec
            stages = spec.rollout.stages if spec.rollout else ()
            named = chain(spec.datacenters, dict(spec.counts), *(s.datacenters for s in stages))
            if old in named:
                raise UsageError(
                    f"platform: {old} is to be called {new}, and service {name} says {old}: "
                    f"apply it together with the platform, with {new} in its file"
                )


def renamed(
    before: Sequence[Machine | Datacenter], after: Sequence[Machine | Datacenter]
) -> list[tuple[str, str]]:
    """Return what is the same under another name, by its old and its new one."""
    old = {_identity(item): item.name for item in before}
    known = {item.name for item in before}
    left = known - {item.name for item in after}
    return [
        (old[_identity(item)], item.name)
        for item in after
        if item.name not in known and old.get(_identity(item)) in left
    ]


def _identity(item: Machine | Datacenter) -> str:
    """Return what stays: a machine may be a controller, or not, beside what it is."""
    if isinstance(item, Machine):
        main = (item.role, *(each for each in item.roles[1:] if each is not Role.CONTROLLER))
        roles = " and ".join(f"{role} {item.id_as(role)}" for role in main)
        return f"{roles} of {item.datacenter}"
    return f"id {item.id}"


def _check_aggregates(snapshot: Snapshot, after: Platform) -> None:
    known, spoken = spoken_for(snapshot.platform), spoken_for(after)
    for name, service in sorted(snapshot.services.items()):
        for prefix in service.all_prefixes:
            address = prefix.network_address
            home, old = home_of(after, address), home_of(snapshot.platform, address)
            if home is None:
                raise UsageError(
                    f"platform: the aggregate of {prefix} cannot go: service {name} has it "
                    "for life; move the service to another address first, or delete it"
                )
            same = old is not None and old.prefix == home.prefix
            why = "" if same else unfit(after, home, address)
            if why:
                raise UsageError(
                    f"platform: {why}, and service {name} has it for life; divide the "
                    "aggregate otherwise, or move the service to another address first"
                )
            whose = spoken.get(address)
            if whose and address not in known:
                raise UsageError(
                    f"platform: {address} cannot be an address in use, {whose}: "
                    f"service {name} has it for life; number the session otherwise, or move "
                    "the service to another address first"
                )


def _check_controllers(before: Platform, after: Platform) -> None:
    """Refuse to take out all at once: who stays has the data, and tells of the others."""
    old, new = (
        {machine.name for machine in each.machines_of(Role.CONTROLLER)}
        for each in (before, after)
    )
    if old and not old & new:
        raise UsageError(
            f"platform: of the controllers {', '.join(sorted(old))} none would stay, and they "
            "have the store: add others beside one of them, and take that out with the next "
            "apply, when `pltfrms status` has no problem of the store any more"
        )


def _platform_line(before: Platform, after: Platform) -> ChangeLine:
    old = {machine.name for machine in before.machines}
    new = {machine.name for machine in after.machines}
    parts = [f"+{name}" for name in sorted(new - old)]
    parts += [f"-{name}" for name in sorted(old - new)]
    parts += [
        f"({one} is to be called {other}: {how})"
        for old_things, new_things, how in (
            (before.datacenters, after.datacenters, "its replicas begin anew"),
            (before.machines, after.machines, "removed, and added"),
        )
        for one, other in renamed(old_things, new_things)
    ]
    parts += _keys_kept(before, after)
    parts += _operators_changed(before, after)
    fields = Platform.__dataclass_fields__
    changed = [name for name in fields if getattr(before, name) != getattr(after, name)]
    detail = " ".join([", ".join(changed), *parts])
    return ChangeLine(about="platform", action="update", detail=detail)


def _keys_kept(before: Platform, after: Platform) -> list[str]:
    """Say of controllers that go that what they had still opens the store."""
    old, new = (
        {machine.name for machine in each.machines_of(Role.CONTROLLER)}
        for each in (before, after)
    )
    gone = ", ".join(sorted(old - new))
    words = (
        f"({gone} had the key of the store, and so has who kept a copy: lock both out of ports "
        "2379 and 2380 by a filter, or give the store another key by `pltfrms recover`)"
    )
    return [words] if gone else []


def _operators_changed(before: Platform, after: Platform) -> list[str]:
    old = {operator.name: operator.keys for operator in before.operators}
    new = {operator.name: operator.keys for operator in after.operators}
    both = sorted(old.keys() & new.keys())
    return [
        *(f"+operator {name}" for name in sorted(new.keys() - old.keys())),
        *(f"-operator {name}" for name in sorted(old.keys() - new.keys())),
        *(f"other keys of {name}" for name in both if old[name] != new[name]),
    ]


def _service_line(platform: Platform, before: Service | None, after: Service) -> ChangeLine:
    if before is None:
        detail = f"id {after.id}, {', '.join(map(str, after.prefixes))}{_roles(after.roles)}"
        detail += _without_egress(platform, after.spec)
        return ChangeLine(about=f"service/{after.name}", action="create", detail=detail)
    fields = [
        name
        for name in ServiceSpec.__dataclass_fields__
        if getattr(before.spec, name) != getattr(after.spec, name)
    ]
    restarts = f"; version {before.version} -> {after.version}, {_way(before, after)}"
    moves = "".join(
        f"; {verb} {', '.join(map(str, prefixes))}"
        for verb, prefixes in (
            ("also answers on", [p for p in after.prefixes if p not in before.prefixes]),
            ("gives up", [p for p in before.prefixes if p not in after.prefixes]),
        )
        if prefixes
    )
    restarts = restarts if before.version != after.version else _kept_stages(before, after)
    added = _roles(role for role in after.roles if role not in before.roles)
    if after.numbers4 != before.numbers4:
        added += "; replicas with volumes have IPv4 addresses for life"
    detail = ", ".join(fields) + moves + added + restarts
    return ChangeLine(about=f"service/{after.name}", action="update", detail=detail)


def _roles(roles: Iterable[RolePrefixes]) -> str:
    return "".join(
        f"; role {each.name}: {', '.join(map(str, each.prefixes))}" for each in roles
    )


def _way(before: Service, after: Service) -> str:
    """Say how a version comes to the replicas, and whether the same has failed before."""
    if after.version < before.version:
        return "goes back"
    stages = _stages_text(after)
    failed = failed_before(before, after.spec)
    again = (
        f"; the same was version {failed.version}, which failed: {failed.cause}"
        if failed
        else ""
    )
    rollout = after.rolling
    trial = rollout is not None and rollout.state is RolloutState.TRIAL
    first = f"{trial_words(rollout)}, then " if rollout and trial else ""
    return f"rolls out: {first}{stages}{again}" if stages else f"rolls out{again}"


def _stages_text(service: Service) -> str:
    stages = service.rolling.stages if service.rolling else ()
    return ", then ".join(stage.words for stage in stages)


def _kept_stages(before: Service, after: Service) -> str:
    """Say that other stages are for the next version, if one is on its way already."""
    old, new = ((each.spec.rollout or USUAL).stages for each in (before, after))
    if not after.rolling or old == new:
        return ""
    return (
        f"; version {after.version}, which is on its way, keeps the stages "
        f"{_stages_text(after)}"
    )


def _without_egress(platform: Platform, spec: ServiceSpec) -> str:
    """Say from where a service asks nobody in the internet, if its spec does not say so."""
    runs = [name for name, count in replicas_of(platform, spec).items() if count]
    silent = [each for each in runs if egress_mode(platform, spec, each) is EgressMode.NONE]
    if spec.egress.mode is not None or not silent:
        return ""
    where = "" if silent == runs else f" from {', '.join(silent)}"
    return f"; asks nobody in the internet{where} (no unicast prefix)"
