"""Every vault keeps the newest backups whole; every seal is opened by its key alone."""

import asyncio
import os
import stat
import sys
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pltfrms.drivers.backup.directory import DirectoryVault
from pltfrms.drivers.backup.memory import MemorySeal, MemoryVault
from pltfrms.drivers.backup.ports import BackupName, Seal, Vault, checksum_of
from pltfrms.drivers.backup.sealing import OpensslSeal, make_key
from pltfrms.drivers.backup.sftp import SftpPlace
from pltfrms.errors import NotFoundError, UnavailableError, UsageError
from tests.simulation.virtual import run_virtual

TEXT = '{"entries": [{"key": "/pltfrms/platform", "value": "Zürich\\n"}]}'
VAULTS: tuple[Callable[[Path, int], Vault], ...] = (
    lambda path, most: DirectoryVault(path / "backups", most),
    lambda _path, most: MemoryVault(most),
)
_T = TypeVar("_T")


def name_of(sealed: str, taken_ms: int = 1) -> BackupName:
    return BackupName(taken_ms, 42, checksum_of(sealed), "example")


@pytest.mark.parametrize("make", VAULTS, ids=["directory", "memory"])
def test_a_vault_keeps_the_newest(make: Callable[[Path, int], Vault], tmp_path: Path) -> None:
    vault = make(tmp_path, 3)
    assert vault.names() == ()
    with pytest.raises(NotFoundError):
        vault.read(name_of("x"))
    for number in (1, 5, 2, 9, 10):
        run(vault.write(name_of(f"text {number}", number), f"text {number}"))
    assert [each.taken_ms for each in vault.names()] == [5, 9, 10]
    newest = vault.names()[-1]
    assert (vault.read(newest), newest.fits(vault.read(newest))) == ("text 10", True)
    assert not newest.fits("text 11")
    assert BackupName.of(str(newest)) == newest


def test_a_directory_has_no_more_than_its_bytes_and_nobody_else_reads_it(
    tmp_path: Path,
) -> None:
    vault = DirectoryVault(tmp_path / "backups", most=100, most_bytes=1000)
    (tmp_path / "backups").mkdir(mode=0o755)
    (tmp_path / "backups" / "of-somebody-else").write_text("x")
    for number in range(1, 20):
        run(vault.write(name_of("y" * 300, number), "y" * 300))
    assert [each.taken_ms for each in vault.names()] == [17, 18, 19]
    run(vault.write(name_of("z" * 5000, 20), "z" * 5000))
    assert [each.taken_ms for each in vault.names()] == [20]
    assert (tmp_path / "backups" / "of-somebody-else").exists()
    paths = (tmp_path / "backups", tmp_path / "backups" / str(vault.names()[0]))
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o700, 0o600]


def test_a_disk_that_is_full_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = DirectoryVault(tmp_path, 3)
    run(vault.write(name_of("a", 1), "a"))

    def refuse(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        run(vault.write(name_of("b", 2), "b"))
    assert [each.name for each in tmp_path.iterdir()] == [str(name_of("a", 1))]


@pytest.mark.parametrize("name", ["", "x", "a.b.c.d.backup", "a.1.2.backup", "a.1.2.3.old"])
def test_other_files_are_no_backups(name: str) -> None:
    with pytest.raises(UsageError):
        BackupName.of(name)


@pytest.fixture
def seals(tmp_path: Path) -> tuple[Seal, Seal]:
    """Return a seal, and one with another key."""
    made: list[Seal] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        key, certificate = run(make_key(tmp_path / name, "example"))
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        made.append(OpensslSeal(certificate, key))
    return made[0], made[1]


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run what starts processes."""
    return asyncio.run(work)


def test_what_is_sealed_is_opened_by_its_key_alone(seals: tuple[Seal, Seal]) -> None:
    seal, other = seals
    sealed = run(seal.close(TEXT))
    assert "pltfrms" not in sealed
    assert run(seal.open(sealed)) == TEXT
    assert run(seal.close(TEXT)) != sealed
    with pytest.raises(UsageError, match="not sealed for this key, or is damaged"):
        run(other.open(sealed))


def test_a_seal_that_is_broken_anywhere_opens_nothing(seals: tuple[Seal, Seal]) -> None:
    seal, _ = seals
    sealed = run(seal.close(TEXT))
    lines = sealed.splitlines()
    for at in range(1, len(lines) - 1):
        letter = "A" if lines[at][5] != "A" else "B"
        broken = [*lines[:at], lines[at][:5] + letter + lines[at][6:], *lines[at + 1 :]]
        try:
            assert run(seal.open("\n".join(broken))) == TEXT  # a word that nothing depends on
        except UsageError:
            continue
    with pytest.raises(UsageError):
        run(seal.open("\n".join(lines[:-3])))
    with pytest.raises(UsageError):
        run(seal.open("no seal"))


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    key, _ = run(make_key(tmp_path, "example"))
    before = key.read_bytes()
    with pytest.raises(UsageError, match="exists"):
        run(make_key(tmp_path, "example"))
    assert key.read_bytes() == before


def test_a_seal_in_memory_is_one() -> None:
    seal = MemorySeal()
    sealed = run_virtual(seal.close(TEXT))
    assert sealed != TEXT
    assert run_virtual(seal.open(sealed)) == TEXT
    with pytest.raises(UsageError):
        run_virtual(seal.open("!"))


@pytest.mark.parametrize(
    "place",
    [
        "",
        "host",
        "-oProxyCommand=id:x",
        "h:-x",
        'h:a"b',
        "h:a b",
        "h:$(id)",
        "h;id:x",
        "h:a\nb",
    ],
)
def test_a_place_outside_says_no_more_than_a_place(place: str) -> None:
    with pytest.raises(UsageError, match="USER@HOST:DIRECTORY"):
        SftpPlace(place)


STAND_IN = """#!{python}
import shlex, shutil, sys
options = ["-oBatchMode=yes", "-oConnectTimeout=10", "-b", "-"]
assert sys.argv[1:] == [*options, "--", "b@example.net"]
for line in sys.stdin:
    verb, here, there = shlex.split(line)
    (shutil.copy if verb == "put" else shutil.move)(here, there)
"""


def test_a_place_outside_gets_whole_backups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, there = tmp_path / "bin", tmp_path / "there"
    programs.mkdir()
    there.mkdir()
    script = programs / "sftp"
    script.write_text(STAND_IN.format(python=sys.executable))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    name = name_of("sealed")
    run(SftpPlace(f"b@example.net:{there}/").send(name, "sealed"))
    assert [(each.name, each.read_text()) for each in there.iterdir()] == [
        (str(name), "sealed")
    ]
    gone = SftpPlace(f"b@example.net:{there}/gone")
    with pytest.raises(UnavailableError):
        run(gone.send(replace(name, revision=43), "sealed"))


def test_a_slow_disk_keeps_nobody_else_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, seen = threading.Event(), []

    def slow(path: Path, value: bytes) -> None:
        seen.append((path.name, value, released.wait(10)))

    monkeypatch.setattr("pltfrms.drivers.backup.directory.replace_file", slow)

    async def both() -> None:
        writing = asyncio.create_task(DirectoryVault(tmp_path).write(name_of("a"), "a"))
        await asyncio.sleep(0.05)
        released.set()
        await writing

    asyncio.run(both())
    assert seen == [(str(name_of("a")), b"a", True)]


def test_a_slow_place_outside_keeps_nobody_else_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, there = tmp_path / "sftp", tmp_path / "there"
    waiting = f"while not pathlib.Path({str(there)!r}).exists(): time.sleep(0.01)"
    script.write_text(f"#!{sys.executable}\nimport pathlib, time\n{waiting}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    async def both() -> None:
        place = SftpPlace("b@example.net:/backups")
        sending = asyncio.create_task(place.send(name_of("a"), "a"))
        await asyncio.sleep(0.05)
        assert not sending.done()
        there.touch()
        await asyncio.wait_for(sending, 30)

    asyncio.run(both())
