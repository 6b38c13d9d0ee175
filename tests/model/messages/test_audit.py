"""Records that are bound to each other: what was changed afterwards is seen."""

from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.messages.audit import (
    LETTERS_MAX,
    LINES_MAX,
    AuditHead,
    AuditRecord,
    breaks,
    differences,
    record_hash,
    shortened_lines,
)


def chain(count: int, first: int = 1) -> tuple[list[AuditRecord], AuditHead]:
    records: list[AuditRecord] = []
    for number in range(first, first + count):
        record = AuditRecord(
            number=number,
            at_ms=1_000 * number,
            controller="fra-c1",
            what="apply",
            lines=(f"service/web update: {number}",),
            by="ada@desk",
            origin="192.0.2.1",
            previous=record_hash(records[-1]) if records else "",
        )
        records.append(record)
    last = records[-1]
    return records, AuditHead(number=last.number, hash=record_hash(last))


def test_a_chain_that_nobody_touched_is_whole_from_any_record_on() -> None:
    records, head = chain(6)
    assert breaks(records, head) == ()
    assert breaks(records[3:], head) == ()
    assert breaks((), AuditHead()) == ()


WORDS = st.sampled_from(
    [
        {"by": "eve"},
        {"at_ms": 7},
        {"what": "drain"},
        {"lines": ("service/web delete",)},
        {"lines": ()},
        {"proved": "signature"},
        {"approved_by": "bob"},
        {"origin": "local socket"},
        {"why": "no reason"},
        {"controller": "ams-c1"},
        {"previous": "0" * 64},
    ]
)


@given(st.integers(0, 5), WORDS)
def test_a_record_that_was_changed_is_found(place: int, words: dict[str, Any]) -> None:
    records, head = chain(6)
    records[place] = replace(records[place], **words)
    if place or "previous" not in words:  # of the first one that is kept nobody can say
        assert breaks(records, head)


@given(st.integers(1, 5))
def test_a_record_that_was_taken_out_is_found(place: int) -> None:
    records, head = chain(6)
    del records[place]
    assert breaks(records, head)


def test_the_last_records_cannot_be_cut_off() -> None:
    records, head = chain(4)
    assert "which is 4" in breaks(records[:2], head)[0]
    assert breaks((), head) == ("record 4 was the last one, and there is none",)


def test_a_chain_that_was_written_anew_differs_from_what_was_exported() -> None:
    exported, _ = chain(6)
    anew, head = chain(5)
    anew[3] = replace(anew[3], by="eve")
    anew[4] = replace(anew[4], previous=record_hash(anew[3]))
    head = AuditHead(number=5, hash=record_hash(anew[4]))
    assert breaks(anew, head) == (), "whoever has the store can do that"
    assert differences(exported, anew) == (
        "record 4 was exported with other words",
        "record 5 was exported with other words",
        "record 6 was exported, and is not there",
    )


def test_records_that_are_forgotten_because_they_are_old_are_no_difference() -> None:
    records, _ = chain(6)
    assert differences(records[:5], records[3:]) == ()


@pytest.mark.parametrize("count", [0, LINES_MAX, LINES_MAX + 3])
def test_what_is_too_long_for_a_record_is_said_to_be_left_out(count: int) -> None:
    lines = shortened_lines(["x" * (LETTERS_MAX + 1)] * count)
    assert all(len(line) <= LETTERS_MAX for line in lines)
    assert len(lines) == min(count, LINES_MAX) + (count > LINES_MAX)
    assert count <= LINES_MAX or lines[-1] == "3 more"


def test_a_release_that_says_more_finds_the_same_hash() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Later(AuditRecord):
        reviewed_by: str = ""

    (record,), _ = chain(1)
    words = {each.name: getattr(record, each.name) for each in fields(record)}
    assert record_hash(Later(**words)) == record_hash(record)
    assert record_hash(Later(**words, reviewed_by="eve")) != record_hash(record)
