"""Which services go because a change that has all of their label does not name them. Pure."""

from pltfrms.errors import ConflictError, UsageError
from pltfrms.model.messages.api import Change
from pltfrms.model.messages.guards import Guard
from pltfrms.model.running.state import Snapshot


def pruned(snapshot: Snapshot, change: Change) -> tuple[str, ...]:
    """Return the names of services that a change deletes; never one that others own.

    Raises:
        UsageError: nothing would be left (guard `empty_is_error`), or a service of the change
            lacks the label, so that it would be pruned by nobody.
        ConflictError: one of them is somebody else's already.
    """
    if change.prune is None:
        return ()
    label, wanted = change.prune
    named = {spec.name for spec in change.services}
    if not named:
        raise UsageError(
            f"{Guard.EMPTY_IS_ERROR}: there is no service to be left of {label}={wanted}; "
            "to delete one: pltfrms service delete"
        )
    for spec in change.services:
        if spec.label(label) != wanted:
            raise UsageError(
                f"service {spec.name}: is not {label}={wanted}, so it would not be pruned with "
                "what goes; say so in its file"
            )
        before = snapshot.services.get(spec.name)
        owner = before.spec.label(label) if before else ""
        if owner not in {"", wanted}:
            raise ConflictError(
                f"service {spec.name} is {label}={owner}: it is not taken from there by "
                f"pruning {label}={wanted}; apply it without --prune first"
            )
    return tuple(
        name
        for name, service in sorted(snapshot.services.items())
        if service.spec.label(label) == wanted and name not in named
    )
