"""Which process is taken for the init of an instance, and when that is not known."""

from pathlib import Path

import pytest

from pltfrms.drivers.workload.found import FoundInit, find_init

OURS = ("python3", "-I", "-S", "/usr/lib/instance_init.py", "web.fra.1-1")


def process(proc: Path, pid: int, levels: str, *words: str) -> Path:
    directory = proc / str(pid)
    directory.mkdir()
    (directory / "status").write_text(f"Name:\tx\nNSpid:\t{levels}\n")
    (directory / "cmdline").write_bytes("".join(f"{word}\0" for word in words).encode())
    return directory


def test_the_init_of_an_allocation_is_found_with_what_it_was_started_with(
    tmp_path: Path,
) -> None:
    (tmp_path / "self").mkdir()
    process(tmp_path, 40, "40\t1", *OURS[:-1], "web.fra.2-1", "i2", "other")
    process(tmp_path, 50, "50\t1", *OURS, "i1", "f00")
    found = FoundInit(pid=50, device="i1", fingerprint="f00")
    assert find_init("web.fra.1-1", tmp_path) == found
    assert find_init("web.fra.3-1", tmp_path) is None


def test_an_init_of_before_says_its_allocation_alone(tmp_path: Path) -> None:
    process(tmp_path, 50, "50\t1", *OURS)
    found = FoundInit(pid=50, device="", fingerprint="")
    assert find_init("web.fra.1-1", tmp_path) == found


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ("50\t1", ("/bin/sleep", "--f", "x/instance_init.py", *OURS[4:], "i1", "f00")),
        ("50\t7\t1", (*OURS, "i1", "f00")),
        ("50", (*OURS, "i1", "f00")),
        ("50\t1", (*OURS, "i1")),
        ("50\t1", ()),
    ],
    ids=["another program", "inside an instance", "no namespace", "cut off", "no words"],
)
def test_nothing_else_is_taken_for_an_init(
    tmp_path: Path, levels: str, words: tuple[str, ...]
) -> None:
    process(tmp_path, 50, levels, *words)
    assert find_init("web.fra.1-1", tmp_path) is None


def test_what_cannot_be_looked_at_is_not_known(tmp_path: Path) -> None:
    process(tmp_path, 50, "50\t1", *OURS, "i1", "f00").joinpath("status").unlink()
    assert find_init("web.fra.1-1", tmp_path) is None, "it has just ended"
    (tmp_path / "50" / "status").mkdir()
    with pytest.raises(IsADirectoryError):
        find_init("web.fra.1-1", tmp_path)
