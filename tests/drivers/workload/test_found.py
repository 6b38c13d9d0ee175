"""Which process is taken for the init of an instance, and when that is not known."""

from pathlib import Path

import pytest

from pltfrms.drivers.workload.instance.found import (
    FoundInit,
    find_init,
    init_environment,
    init_words,
)
from tests.contracts.test_workload import spec

OURS = ("python3", "-I", "-S", "/usr/lib/instance_init.py", "web.fra.1-1")


def process(
    proc: Path, pid: int, levels: str, *words: str, root: str = "/", environment: str = ""
) -> Path:
    directory = proc / str(pid)
    directory.mkdir()
    (directory / "root").symlink_to(root)
    (directory / "status").write_text(f"Name:\tx\nNSpid:\t{levels}\n")
    (directory / "cmdline").write_bytes("".join(f"{word}\0" for word in words).encode())
    (directory / "environ").write_text(f"PATH=/bin\0{environment}")
    return directory


def test_the_init_of_an_allocation_is_found_with_what_it_was_started_with(
    tmp_path: Path,
) -> None:
    (tmp_path / "self").mkdir()
    process(tmp_path, 40, "40\t1", *OURS[:-1], "web.fra.2-1", "i2", "other")
    process(tmp_path, 50, "50\t1", *OURS, "i1", "f00")
    found = FoundInit(pid=50, device="i1", fingerprint="f00")
    assert find_init("web.fra.1-1", tmp_path, tmp_path) == found
    assert find_init("web.fra.3-1", tmp_path, tmp_path) is None


def test_an_init_of_before_says_its_allocation_alone(tmp_path: Path) -> None:
    process(tmp_path, 50, "50\t1", *OURS)
    found = FoundInit(pid=50, device="", fingerprint="")
    assert find_init("web.fra.1-1", tmp_path, tmp_path) == found


def test_an_init_is_ours_only_with_our_runtime_directory(tmp_path: Path) -> None:
    proc, ours, others = (tmp_path / name for name in ("proc", "ours", "others"))
    for directory in (proc, ours, others):
        directory.mkdir()
    process(proc, 50, "50\t1", *OURS, "i1", "f00", str(others))
    assert find_init("web.fra.1-1", ours, proc) is None
    process(proc, 60, "60\t1", *OURS, "i2", "f00", str(ours))
    found = FoundInit(pid=60, device="i2", fingerprint="f00")
    assert find_init("web.fra.1-1", ours, proc) == found


@pytest.mark.parametrize("said", [(), ("i1", "f00"), ("i1", "f00", "OURS")])
def test_an_init_that_has_another_file_system_there_is_not_ours(
    tmp_path: Path, said: tuple[str, ...]
) -> None:
    proc, ours, elsewhere = (tmp_path / name for name in ("proc", "ours", "elsewhere"))
    theirs = elsewhere / ours.relative_to("/")
    for directory in (proc, ours, theirs):
        directory.mkdir(parents=True)
    words = [str(ours) if word == "OURS" else word for word in said]
    process(proc, 50, "50\t1", *OURS, *words, root=str(elsewhere))
    assert find_init("web.fra.1-1", ours, proc) is None
    theirs.rmdir()
    assert find_init("web.fra.1-1", ours, proc) is None


def test_an_init_is_found_by_what_it_is_started_with(tmp_path: Path) -> None:
    words = init_words(spec(), "f00", tmp_path)
    assert len(words) == 4, "the release before would not find one with more"
    environment = "".join(f"{k}={v}\0" for k, v in init_environment(spec()).items())
    process(tmp_path, 50, "50\t1", *OURS[:-1], *words, environment=environment)
    found = FoundInit(pid=50, device="i1", fingerprint="f00", stop_grace_ms=300)
    assert find_init(spec().allocation, tmp_path, tmp_path) == found


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ("50\t1", ("/bin/sleep", "--f", "x/instance_init.py", *OURS[4:], "i1", "f00")),
        ("50\t7\t1", (*OURS, "i1", "f00")),
        ("50", (*OURS, "i1", "f00")),
        ("50\t1", (*OURS, "i1")),
        ("50\t1", (*OURS, "i1", "f00", "/", "more")),
        ("50\t1", ()),
    ],
    ids=[
        "another program",
        "inside an instance",
        "no namespace",
        "cut off",
        "more",
        "no words",
    ],
)
def test_nothing_else_is_taken_for_an_init(
    tmp_path: Path, levels: str, words: tuple[str, ...]
) -> None:
    process(tmp_path, 50, levels, *words)
    assert find_init("web.fra.1-1", tmp_path, tmp_path) is None


def test_what_cannot_be_looked_at_is_not_known(tmp_path: Path) -> None:
    process(tmp_path, 50, "50\t1", *OURS, "i1", "f00").joinpath("status").unlink()
    assert find_init("web.fra.1-1", tmp_path, tmp_path) is None, "it has just ended"
    (tmp_path / "50" / "status").mkdir()
    with pytest.raises(IsADirectoryError):
        find_init("web.fra.1-1", tmp_path, tmp_path)
