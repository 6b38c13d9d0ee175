"""`audit`: what an operator sees of the records, and what a script gets."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.model.messages.audit import AuditRecord
from tests.cli.conftest import Run
from tests.cli.world import FakeController
from tests.model.messages.test_audit import chain


@pytest.fixture
def records(controller: FakeController) -> list[AuditRecord]:
    controller.records, _ = chain(3)
    return controller.records


def test_the_list_says_who_did_what_and_when(run: Run, records: list[AuditRecord]) -> None:
    records[-1] = replace(records[-1], why="launch", approved_by="bob", proved="signature")
    lines = run("audit", "list", "--limit", "1").out.splitlines()
    assert lines[0].startswith("     3  1970-01-01 ")
    assert lines[0].endswith(
        "apply by ada@desk (signature), approved by bob from 192.0.2.1: launch"
    )
    assert lines[1:] == ["    service/web update: 3"]
    assert [each["number"] for each in json.loads(run("audit", "list", "--json").out)] == [
        1,
        2,
        3,
    ]


@pytest.mark.usefixtures("records")
def test_a_whole_chain_is_well(run: Run) -> None:
    result = run("audit", "verify")
    assert result.code == 0
    assert result.out.startswith("all is well: records 1 to 3, last hash ")


def test_a_broken_chain_is_a_conflict(run: Run, records: list[AuditRecord]) -> None:
    del records[1]
    result = run("audit", "verify")
    assert result.code == 4
    assert "after record 1 comes 3" in result.err


def test_an_export_grows_and_tells_what_was_written_anew(
    run: Run, records: list[AuditRecord], controller: FakeController, tmp_path: Path
) -> None:
    file = tmp_path / "audit.jsonl"
    controller.records = records[:2]
    assert "2 records, 2 in" in run("audit", "export", str(file)).out
    controller.records = records
    assert "1 records, 3 in" in run("audit", "export", str(file)).out
    assert run("audit", "verify", "--against", str(file)).code == 0
    anew, _ = chain(3)
    controller.records = [replace(anew[0], by="eve"), *anew[1:]][:1]
    result = run("audit", "verify", "--against", str(file))
    assert result.code == 4
    assert "record 1 was exported with other words" in result.err


def test_an_export_of_a_newer_release_is_not_called_different(
    run: Run, records: list[AuditRecord], tmp_path: Path
) -> None:
    file = tmp_path / "audit.jsonl"
    run("audit", "export", str(file))
    newer = file.read_text().replace('"number":1,', '"number":1,"of_the_next_release":"x",')
    file.write_text(newer)
    result = run("audit", "verify", "--against", str(file))
    assert (result.code, len(records)) == (2, 3)
    assert "of_the_next_release: this version does not know this field" in result.err


@pytest.mark.usefixtures("controller")
def test_a_platform_without_records_is_well(run: Run) -> None:
    assert run("audit", "verify").out == "all is well: records none, last hash -\n"
    assert run("audit", "list").out == ""
