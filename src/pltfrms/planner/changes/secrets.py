"""What services use of secrets, and what becomes of them when one changes. Pure."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from pltfrms.errors import ConflictError, NotFoundError, UsageError
from pltfrms.model.messages.api import Change, ChangeLine
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.jobs import OVER
from pltfrms.model.services.secrets import OnChange, SecretNote
from pltfrms.model.services.service import Service, ServiceSpec
from pltfrms.planner.changes.change import Outcome, apply_change
from pltfrms.planner.changes.generating import secret_about

SERVICES_MAX: Final = 40
"""Services that one secret restarts: they all change in one transaction."""


def users_of(snapshot: Snapshot, name: str) -> tuple[Service, ...]:
    """Return the services that use a secret, also those that may yet go back to it, sorted."""
    return tuple(
        service
        for _, service in sorted(snapshot.services.items())
        if any(use == name for use, _ in _uses(service))
    )


def jobs_with(snapshot: Snapshot, name: str) -> tuple[str, ...]:
    """Return the jobs that use a secret, also those of which a run that does is not over."""
    specs = [each.spec for each in snapshot.jobs.values() if not each.deleted]
    specs += [each.spec for each in snapshot.runs.values() if each.state not in OVER]
    found = {spec.name for spec in specs if name in {use.name for use in spec.run.secrets}}
    return tuple(sorted(found))


def versions_kept(snapshot: Snapshot, name: str) -> frozenset[int]:
    """Return which values of a secret services still run, or may go back to."""
    return frozenset(
        version
        for service in snapshot.services.values()
        for use, version in _uses(service)
        if use == name and version
    )


def newly_used(snapshot: Snapshot, after: Snapshot) -> tuple[str, ...]:
    """Return the secrets that a change has services or jobs use that they did not use before.

    Who gives a secret to one of them can have it: that is a right of its own.
    """
    found = {
        use.name
        for name, service in after.services.items()
        for use in service.spec.run.secrets
        if use.name not in _names(snapshot.services.get(name))
    }
    for name, job in after.jobs.items():
        before = snapshot.jobs.get(name)
        had = {use.name for use in before.spec.run.secrets} if before else set()
        found |= {use.name for use in job.spec.run.secrets} - had
    return tuple(secret_about(name) for name in sorted(found))


def changed_secret(snapshot: Snapshot, note: SecretNote) -> Outcome:
    """Return what a new value of a secret makes of a snapshot.

    Services that are to be restarted for it get a new version, like for any other change.
    """
    known = snapshot.secrets.get(note.name)
    after = replace(snapshot, secrets={**snapshot.secrets, note.name: note})
    restarted = [
        service.spec
        for service in users_of(snapshot, note.name)
        if any(
            use.name == note.name and use.on_change is OnChange.RESTART
            for use in service.spec.run.secrets
        )
    ]
    if len(restarted) > SERVICES_MAX:
        raise UsageError(
            f"{len(restarted)} services restart for {note.name}, and at most {SERVICES_MAX} "
            "can at once: give some of them a secret of their own"
        )
    why = f"secret {note.name} has another value"
    outcome = apply_change(after, Change(services=tuple(restarted), by=note.by, why=why))
    action = "update" if known else "create"
    line = ChangeLine(
        about=secret_about(note.name), action=action, detail=f"value {note.version}"
    )
    return replace(outcome, lines=(line, *outcome.lines))


def deleted_secret(snapshot: Snapshot, name: str) -> Outcome:
    """Return what deleting a secret makes of a snapshot.

    Raises:
        NotFoundError: there is none of that name.
        ConflictError: services or jobs use it.
    """
    require_secret(snapshot, name)
    users = [service.name for service in users_of(snapshot, name)]
    users += [f"job {job}" for job in jobs_with(snapshot, name)]
    if users:
        raise ConflictError(
            f"secret {name} is used by {', '.join(users)}: take it out of their specs first, "
            "and let rollouts and runs come to their end"
        )
    left = {other: note for other, note in snapshot.secrets.items() if other != name}
    line = ChangeLine(about=secret_about(name), action="delete", detail="with all its values")
    return Outcome(lines=(line,), snapshot=replace(snapshot, secrets=left))


def require_secret(snapshot: Snapshot, name: str) -> SecretNote:
    """Return what is known of a secret; NotFoundError if there is none."""
    note = snapshot.secrets.get(name)
    if note is None:
        known = ", ".join(sorted(snapshot.secrets)) or "none"
        raise NotFoundError(f"there is no secret {name!r}; there are: {known}")
    return note


def _names(service: Service | None) -> frozenset[str]:
    return frozenset(name for name, _ in _uses(service)) if service else frozenset()


def _uses(service: Service) -> Iterator[tuple[str, int]]:
    before = service.before
    specs: tuple[ServiceSpec, ...] = (service.spec, *((before.spec,) if before else ()))
    for spec in specs:
        for use in spec.run.secrets:
            yield use.name, use.version
