"""A lab's directory on the host."""

from pathlib import Path

import pytest

from pltfrms.lab import rundir
from pltfrms.lab.parts import LabParts, Wiring
from pltfrms.lab.rundir import PARTS, write_parts


def test_who_reads_the_parts_while_others_come_reads_all_of_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rundir, "LABS", tmp_path)
    (tmp_path / "small").mkdir()
    file = tmp_path / "small" / PARTS
    file.write_text("before")
    with file.open() as reader:
        write_parts("small", LabParts(wiring=Wiring(machines=(), segments=()), machines=()))
        assert reader.read() == "before"
    assert "machines" in file.read_text()
    assert list(file.parent.iterdir()) == [file], "no draft is left"
