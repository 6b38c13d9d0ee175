"""What goes because a change that has all of its label does not name it. Pure."""

from collections.abc import Iterable, Mapping

from pltfrms.errors import ConflictError, UsageError
from pltfrms.model.messages.api import Change
from pltfrms.model.messages.guards import Guard
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.jobs import JobSpec
from pltfrms.model.services.service import GROUP, ServiceSpec

_Spec = ServiceSpec | JobSpec


def pruned(snapshot: Snapshot, change: Change) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of services and of jobs that a change deletes; never one of others.

    Raises:
        UsageError: nothing would be left (guard `empty_is_error`), or what is in the change
            lacks the label, so that it would be pruned by nobody.
        ConflictError: something of it is somebody else's already.
    """
    if change.prune is None:
        return (), ()
    label, wanted = change.prune
    if not (change.services or change.jobs):
        raise UsageError(
            f"{Guard.EMPTY_IS_ERROR}: there is no service to be left of {label}={wanted}; "
            "to delete one: pltfrms service delete"
        )
    services = {name: each.spec for name, each in snapshot.services.items()}
    jobs = {name: each.spec for name, each in snapshot.jobs.items() if not each.deleted}
    return (
        _going("service", change.services, services, change.prune),
        _going("job", change.jobs, jobs, change.prune),
    )


def _going(
    kind: str, specs: Iterable[_Spec], known: Mapping[str, _Spec], prune: tuple[str, str]
) -> tuple[str, ...]:
    label, wanted = prune
    named = {spec.name: spec for spec in specs}
    for name, spec in named.items():
        if _label(spec, label) != wanted:
            raise UsageError(
                f"{kind} {name}: is not {label}={wanted}, so it would not be pruned with "
                "what goes; say so in its file"
            )
        owner = _label(known[name], label) if name in known else ""
        if owner not in {"", wanted}:
            raise ConflictError(
                f"{kind} {name} is {label}={owner}: it is not taken from there by "
                f"pruning {label}={wanted}; apply it without --prune first"
            )
    return tuple(
        name
        for name, spec in sorted(known.items())
        if _label(spec, label) == wanted and name not in named
    )


def _label(spec: _Spec, name: str) -> str:
    """Return what a label says; empty: it has none of that name."""
    return spec.group if name == GROUP else dict(spec.labels).get(name, "")
