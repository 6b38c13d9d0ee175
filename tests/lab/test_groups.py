"""Groups of machines, in a directory that stands for the tree of cgroup v2."""

from pathlib import Path

import pytest

from pltfrms.lab import groups, rundir
from pltfrms.lab.groups import group_of, remove_groups


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "unified"
    made.mkdir()
    (made / "cgroup.controllers").touch()
    monkeypatch.setattr(groups, "_TREES", (tmp_path / "none", made))
    return made


def test_all_of_a_lab_goes_and_nothing_of_another(tree: Path) -> None:
    for lab in ("one", "other"):
        (tree / group_of(lab, "m1") / "system.slice/a.service").mkdir(parents=True)
    assert remove_groups("one")
    assert [each.name for each in (tree / "pltfrms-labs").iterdir()] == ["other"]
    assert remove_groups("other")
    assert not (tree / "pltfrms-labs").exists()


@pytest.mark.usefixtures("tree")
def test_a_lab_without_groups_has_none_to_remove() -> None:
    assert remove_groups("none")


def test_a_run_directory_stays_until_the_groups_of_its_lab_are_gone(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rundir, "LABS", tmp_path / "labs")
    (rundir.LABS / "one").mkdir(parents=True)
    busy = tree / group_of("one", "m1") / "cgroup.procs"
    busy.parent.mkdir(parents=True)
    busy.touch()  # here, a file keeps a directory as processes keep a group
    assert list(rundir.read_labs()) == []
    assert (rundir.LABS / "one").exists()
    busy.unlink()
    assert list(rundir.read_labs()) == []
    assert not (rundir.LABS / "one").exists()
