"""How a rollout begins. Pure."""

from collections.abc import Collection
from dataclasses import fields, replace
from hashlib import blake2b
from typing import Final

from pltfrms.model.network.topology import Platform
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.replicas import wanted_of
from pltfrms.model.services.rollouts import asks_otherwise
from pltfrms.model.services.service import (
    FailedVersion,
    Probe,
    RoleSpec,
    Rollout,
    RolloutState,
    Run,
    Service,
    ServiceSpec,
    Stage,
)
from pltfrms.model.services.storage import Storage
from pltfrms.planner.placement.roles import sites_of_holders

_LATER: Final = frozenset(
    (
        *("container", "found", "grace_max_ms", "only_announces", "secrets"),
        *("binary", "modes", "zones", "peers_signal", "io", "store"),
        *("http", "tls", "udp", "dns", "grpc_service", "adopted", "epoch", "elsewhere"),
    )
)
"""Fields of later releases: what they do not say changes no fingerprint."""
_TEXT_MAX: Final = 200_000
"""Characters of files, command and environment that are kept for the way back."""


def digest_of(spec: ServiceSpec) -> str:
    """Return a fingerprint of what a version runs, and how it is probed.

    It is kept, and compared by commands and controllers of another release.
    """
    text = f"({', '.join(map(_said, spec.version_parts))})"
    return blake2b(text.encode(), digest_size=12).hexdigest()


def _said(part: Run | Probe | RoleSpec | Storage) -> str:
    """Return the words of a part as a release wrote them that had no later fields."""
    said = (
        f"{field.name}={getattr(part, field.name)!r}"
        for field in fields(part)
        if field.name not in _LATER or getattr(part, field.name) != field.default
    )
    return f"{type(part).__name__}({', '.join(said)})"


def failed_before(service: Service | None, spec: ServiceSpec) -> FailedVersion | None:
    """Return the last version of a service that failed and ran the same as a spec."""
    digest = digest_of(spec)
    failed = service.failed if service else ()
    return next((each for each in reversed(failed) if each.digest == digest), None)


def begin(snapshot: Snapshot, before: Service, after: Service, by: str, why: str) -> Service:
    """Return a service with a new version as it sets out, by stages if it can.

    It goes back to the last version that was not under way itself. What is too large to be
    kept twice, and what nothing runs of, follows without stages.
    """
    good = before.before or before
    runs = any(each.service == after.name for each in snapshot.allocations.values())
    stages = stages_of(snapshot.platform, after, sites_of_holders(snapshot, after.name))
    if not runs or not stages or _size(good.spec) > _TEXT_MAX:
        return replace(after, rollout=None)
    probe, liveness = _tried(good, after)
    rollout = Rollout(
        version=after.version,
        from_version=good.version,
        digest=digest_of(after.spec),
        stages=stages,
        state=RolloutState.TRIAL if probe or liveness else RolloutState.ROLLING,
        asks_liveness=liveness and not probe,
        since_ms=snapshot.now_ms,
        before=good.spec,
        before_ms=good.changed_ms,
        by=by,
        why=why,
    )
    return replace(after, rollout=rollout)


def _tried(before: Service, after: Service) -> tuple[bool, bool]:
    """Return whether the probe, and the liveness probe, of a version ask something else.

    What they ask is tried first, if its spec does not say otherwise.
    """
    old, new = before.spec, after.spec
    if new.rollout and new.rollout.untried:
        return False, False
    probe = asks_otherwise(old.probe, new.probe)
    return probe, asks_otherwise(old.liveness, new.liveness)


def changed_beside(service: Service, spec: ServiceSpec) -> Rollout | None:
    """Return the rollout of a service whose spec changes beside what it rolls out.

    What an operator changes meanwhile, such as a number of replicas, is not taken back with a
    version.
    """
    rollout = service.rollout
    if rollout is None or rollout.before is None:
        return rollout
    changed = {
        each.name: getattr(spec, each.name)
        for each in fields(ServiceSpec)
        if getattr(spec, each.name) != getattr(service.spec, each.name)
    }
    return replace(rollout, before=replace(rollout.before, **changed)) if changed else rollout


def stages_of(
    platform: Platform, service: Service, last: Collection[str] = ()
) -> tuple[Stage, ...]:
    """Return the stages of a service, as its spec says them or by default.

    By default these datacenters are the last ones.
    """
    if service.spec.rollout and service.spec.rollout.stages:
        return service.spec.rollout.stages
    wanted = {name: count for name, count in wanted_of(platform, service).items() if count}
    names = sorted(wanted, key=lambda name: name in last)
    sites = [Stage(datacenters=(name,)) for name in names]
    canary = [Stage(datacenters=(name,), replicas=1) for name in names[:1]]
    return tuple(sites if wanted.get(names[0]) == 1 else canary + sites) if names else ()


def _size(spec: ServiceSpec) -> int:
    run = spec.run
    pairs = (*run.files, *run.binary, *run.environment)
    return sum(map(len, run.words)) + sum(len(name) + len(text) for name, text in pairs)
