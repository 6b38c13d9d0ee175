"""Write down what operators do, in the same transaction as what they do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pltfrms.codec import decode, encode
from pltfrms.controller.records.documents import read_documents
from pltfrms.controller.records.state import AUDIT, AUDIT_HEAD_KEY, audit_key
from pltfrms.drivers.ports import Clock
from pltfrms.drivers.store.ports import Condition, Delete, Put, Store
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.messages.audit import (
    AuditHead,
    AuditPage,
    AuditRecord,
    record_hash,
    shortened_lines,
)

KEPT_COUNT: Final = 2000
"""Records that stay; `pltfrms audit export` keeps more."""
READERS_MAX: Final = 2
"""Who may have one controller list them at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asks an operation for something, and from where."""

    by: str = ""
    proved: str = ""
    """How it is known who asks, as `AuditRecord` says it; empty: it is not."""
    approved_by: str = ""
    origin: str = ""
    why: str = ""


NOBODY: Final = Asked()
"""Nothing is said of who asks."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What belongs into a transaction, so that it is written down."""

    writes: tuple[Put | Delete, ...]
    condition: Condition
    """Nobody else has written a record meanwhile."""


class AuditLog:
    """The chain of records in the store."""

    def __init__(self, store: Store, clock: Clock, name: str) -> None:
        """Write as the controller called `name`."""
        self._store = store
        self._clock = clock
        self._name = name
        self._readers = 0

    async def seal(self, what: str, lines: Sequence[str], asked: Asked) -> Sealed:
        """Return the writes of the next record; UnavailableError."""
        listing = await self._store.list(AUDIT_HEAD_KEY)
        entry = next((each for each in listing.entries if each.key == AUDIT_HEAD_KEY), None)
        head = _head(entry.value) if entry else AuditHead()
        record = AuditRecord(
            number=head.number + 1,
            at_ms=self._clock.unix_ms(),
            controller=self._name,
            what=what,
            lines=shortened_lines(lines),
            by=asked.by,
            proved=asked.proved,
            approved_by=asked.approved_by,
            origin=asked.origin,
            why=shortened_lines([asked.why])[0],
            previous=head.hash,
        )
        last = AuditHead(number=record.number, hash=record_hash(record))
        writes: list[Put | Delete] = [
            Put(key=audit_key(record.number), value=encode(record)),
            Put(key=AUDIT_HEAD_KEY, value=encode(last)),
        ]
        if record.number > KEPT_COUNT:
            writes.append(Delete(key=audit_key(record.number - KEPT_COUNT)))
        condition = Condition(
            key=AUDIT_HEAD_KEY, mod_revision=entry.mod_revision if entry else 0
        )
        return Sealed(tuple(writes), condition)

    async def read(self, after: int, limit: int) -> AuditPage:
        """Return records with numbers > `after`, oldest first.

        Raises:
            UnavailableError: no answer from the store, too many readers at once, or a record
                with what only a newer release knows: without it the chain would look broken.
            UsageError: a record cannot be read by any.
        """
        if self._readers >= READERS_MAX:
            raise UnavailableError("others read the audit log just now; try again")
        self._readers += 1
        try:
            heads = await self._store.list(AUDIT_HEAD_KEY)  # first: what is newer is left out
            listing = await self._store.list(AUDIT)
        finally:
            self._readers -= 1
        found = read_documents(AuditRecord, listing.entries, fully=True)
        if found.problems:
            broken = read_documents(AuditRecord, listing.entries).problems
            if broken:
                raise UsageError("; ".join(broken.values()))
            said = "; ".join(found.problems.values())
            raise UnavailableError(f"{said}; ask a controller of a newer release")
        head = next((_head(entry.value) for entry in heads.entries), AuditHead())
        records = [each for each in found.words.values() if after < each.number <= head.number]
        return AuditPage(records=tuple(records[:limit]), head=head)


def _head(value: bytes) -> AuditHead:
    """Return the last record's number and hash; a chain that cannot be read begins anew."""
    try:
        return decode(AuditHead, value)
    except UsageError:
        return AuditHead()
