"""Which secrets a change makes that has services use what has no value yet. Pure.

The values themselves are made by who stores them: here is only what there will be.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from pltfrms.errors import ConflictError, UsageError
from pltfrms.model.messages.api import Change, ChangeLine
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.secrets import Generate, SecretNote, SecretUse, authority_half


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedSecret:
    """A secret that is to be made."""

    note: SecretNote
    kind: Generate
    half: SecretNote | None = None
    """Of an authority: its certificate alone."""

    @property
    def notes(self) -> tuple[SecretNote, ...]:
        """Both, or the one that there is."""
        return (self.note, *((self.half,) if self.half else ()))

    @property
    def lines(self) -> tuple[ChangeLine, ...]:
        """What is told of it."""
        details = (f"made here: {self.kind}", f"the certificate of {self.note.name}")
        return tuple(
            ChangeLine(about=secret_about(note.name), action="create", detail=detail)
            for note, detail in zip(self.notes, details, strict=False)
        )


def secret_about(name: str) -> str:
    """Return how a secret is called where roles and records name what changes."""
    return f"secret/{name}"


def generated(snapshot: Snapshot, change: Change, last: int) -> tuple[GeneratedSecret, ...]:
    """Return what is to be made for a change, sorted by name.

    `last` is the highest number of a value of a secret that was deleted: none has it again.

    Raises:
        UsageError: one service wants this of a secret, and another one that.
        ConflictError: the name of a certificate is taken.
    """
    kinds: dict[str, Generate] = {}
    for use in _uses(change):
        if not use.generate or use.name in snapshot.secrets:
            continue
        kind = kinds.setdefault(use.name, use.generate)
        if kind is not use.generate:
            what = f"is to be generated as {kind} and as {use.generate}: keep one"
            raise UsageError(f"secret {use.name} {what}")
    return tuple(
        _made(snapshot, change, name, kind, last, kinds.keys())
        for name, kind in sorted(kinds.items())
    )


def with_notes(snapshot: Snapshot, made: tuple[GeneratedSecret, ...]) -> Snapshot:
    """Return a snapshot in which there is what is to be made."""
    notes = {note.name: note for each in made for note in each.notes}
    return replace(snapshot, secrets={**snapshot.secrets, **notes}) if notes else snapshot


def _made(
    snapshot: Snapshot,
    change: Change,
    name: str,
    kind: Generate,
    last: int,
    others: Collection[str],
) -> GeneratedSecret:
    note = SecretNote(name=name, version=last + 1, changed_ms=snapshot.now_ms, by=change.by)
    if kind is not Generate.AUTHORITY:
        return GeneratedSecret(note=note, kind=kind)
    half = authority_half(name)
    if half in snapshot.secrets or half in others:
        raise ConflictError(
            f"the certificate of {name} would be the secret {half}, and there is another of "
            "that name: delete it, or give the authority another name"
        )
    return GeneratedSecret(note=note, kind=kind, half=replace(note, name=half))


def _uses(change: Change) -> Iterator[SecretUse]:
    runs = (*(each.run for each in change.services), *(each.run for each in change.jobs))
    for run in runs:
        yield from run.secrets
