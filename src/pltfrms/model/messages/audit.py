"""What operators had controllers write, one record after the other, each bound to the last.

A record holds the hash of the one before it. Who changes one, or takes one out, must change
all that come after; what was exported before says so.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Final

LINES_MAX: Final = 40
LETTERS_MAX: Final = 200
"""Of what a record tells; the rest is left out, and said to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One write of an operator, or of two."""

    number: int
    """From 1 on, without gaps."""
    at_ms: int
    """Unix time of the controller."""
    controller: str
    what: str
    """`apply`, `delete`, `login`, a verb of an intervention, or what became of a request."""
    lines: tuple[str, ...]
    """What has become different."""
    by: str = ""
    """Who asked, as he says himself unless it is `proved`; empty: not said."""
    proved: str = ""
    """How it is known who asked: `login`, `signature`, `certificate` of a controller, or `local
    root`, whom roles cannot keep from anything; empty: it is only said."""
    approved_by: str = ""
    """The second operator, by his signature."""
    origin: str = ""
    """Where it was asked from: an address, or `local socket`."""
    why: str = ""
    previous: str = ""
    """Hash of the record before; empty: there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHead:
    """The last record, as the store names it beside the records."""

    number: int = 0
    hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Records, oldest first."""

    records: tuple[AuditRecord, ...]
    head: AuditHead
    """The last record of all when they were read."""


def record_hash(record: AuditRecord) -> str:
    """Return the SHA-256 of all that a record says, in hexadecimal.

    It is that of a JSON object of its fields, sorted, without blanks, in ASCII. What is empty
    is left out, so that a release with more fields finds the same.
    """
    said = {name: word for name, word in asdict(record).items() if word}
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=True, sort_keys=True)
    return sha256(text.encode()).hexdigest()


def shortened_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """Return what of some lines fits into a record."""
    some = [
        line if len(line) <= LETTERS_MAX else f"{line[: LETTERS_MAX - 1]}…" for line in lines
    ]
    left = len(some) - LINES_MAX
    return (*some[:LINES_MAX], f"{left} more") if left > 0 else tuple(some)


def breaks(records: Sequence[AuditRecord], head: AuditHead) -> tuple[str, ...]:
    """Return where a chain is broken, one sentence each; empty: nowhere.

    The first record may be any: older ones are forgotten.
    """
    found = []
    for before, record in pairwise(records):
        if record.number != before.number + 1:
            found.append(f"after record {before.number} comes {record.number}")
        elif record.previous != record_hash(before):
            found.append(
                f"record {before.number} was changed after {record.number} was written"
            )
    if head.number and not records:
        found.append(f"record {head.number} was the last one, and there is none")
    elif records and head != AuditHead(
        number=records[-1].number, hash=record_hash(records[-1])
    ):
        found.append(
            f"record {records[-1].number} is not what was written last, which is {head.number}"
        )
    return tuple(found)


def differences(kept: Sequence[AuditRecord], records: Sequence[AuditRecord]) -> tuple[str, ...]:
    """Return what of exported records the store tells otherwise now, one sentence each.

    Records that the store has forgotten, because they are old, are no difference.
    """
    have = {record.number: record for record in records}
    oldest = min(have, default=0)
    found = []
    for record in kept:
        other = have.get(record.number)
        if other is None and record.number >= oldest:
            found.append(f"record {record.number} was exported, and is not there")
        elif other is not None and other != record:
            found.append(f"record {record.number} was exported with other words")
    return tuple(found)
