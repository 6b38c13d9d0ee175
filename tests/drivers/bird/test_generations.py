"""BIRD's texts on a disk that is full, broken, or was torn by a power cut."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

import pltfrms.drivers.bird.daemon
from pltfrms.drivers.bird.daemon import BirdDaemon
from pltfrms.drivers.bird.generations import KEPT_GENERATIONS, Generations, stamped
from pltfrms.errors import UnavailableError
from tests.faulty_disk import ERRNOS, FaultyDisk, full_after

_T = TypeVar("_T")
OLD = "router id 192.0.2.1;\nprotocol device {}\n"
NEW = OLD + "# new\n"


def run(coroutine: Coroutine[Any, Any, _T]) -> _T:
    return asyncio.run(coroutine)


def _daemon(home: Path) -> BirdDaemon:
    bird = BirdDaemon(home / "bird", home / "bird.ctl")
    run(bird.apply(OLD))
    return bird


def _generations(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "bird").glob("gen-*"))


@pytest.mark.parametrize("code", ERRNOS)
def test_whichever_call_a_disk_refuses_the_text_in_force_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    refused = 0
    for after in range(100):
        home = tmp_path / str(after)
        bird = _daemon(home)
        with monkeypatch.context() as patch:
            disk = FaultyDisk(patch, home)
            with disk.failing(after, code):
                try:
                    run(bird.apply(NEW))
                except OSError:
                    refused += 1
            every_call_passed = disk.calls <= after
        assert bird.config.read_text() in {stamped(OLD)[0], stamped(NEW)[0]}
        assert len(_generations(home)) <= 2
        run(bird.apply(NEW))
        assert bird.config.read_text() == stamped(NEW)[0]
        if every_call_passed:
            break
    else:
        pytest.fail("it never succeeded")
    assert refused >= 5


def test_a_text_that_is_cut_at_any_byte_is_not_put_in_force(tmp_path: Path) -> None:
    bird = _daemon(tmp_path)
    text = stamped(NEW)[0]
    for size in range(len(text)):
        with full_after(size), pytest.raises(OSError, match="too large"):
            run(bird.apply(NEW))
        assert bird.config.read_text() == stamped(OLD)[0]
        assert _generations(tmp_path) == ["gen-1"]
    run(bird.apply(NEW))
    assert bird.config.read_text() == text


def test_generations_do_not_pile_up_while_a_disk_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bird = _daemon(tmp_path)
    disk = FaultyDisk(monkeypatch, tmp_path)
    for number in range(300):
        with disk.failing(number % 12, ERRNOS[0]):
            try:
                files = Generations(tmp_path / "bird")
                files.point_to(files.write(stamped(f"{OLD}# {number}\n")[0]).name)
            except OSError:
                continue
    assert len(_generations(tmp_path)) <= KEPT_GENERATIONS + 1
    assert bird.config.exists()


def test_torn_and_foreign_generations_hide_no_text_that_we_have(tmp_path: Path) -> None:
    _daemon(tmp_path)
    files = Generations(tmp_path / "bird")
    (tmp_path / "bird" / "gen-2").mkdir()
    (tmp_path / "bird" / "gen-3").mkdir()
    (tmp_path / "bird" / "gen-3" / "bird.conf").write_bytes(b"\xff\xfe")
    (tmp_path / "bird" / "gen-4").touch()
    (tmp_path / "bird" / "gen-5" / "bird.conf").mkdir(parents=True)
    (tmp_path / "bird" / "gen-six").mkdir()
    assert files.text_called(stamped(OLD)[1]) == OLD
    assert files.text_called("another") == ""
    assert files.write("text").name == "gen-6"


@pytest.mark.parametrize("torn", [b"", b"router", b"\xff"])
def test_a_torn_text_in_force_is_written_anew(tmp_path: Path, torn: bytes) -> None:
    bird = _daemon(tmp_path)
    bird.config.write_bytes(torn)
    run(bird.apply(OLD))
    assert bird.config.read_text() == stamped(OLD)[0]


def test_the_text_in_force_stays_however_many_come_after_it(tmp_path: Path) -> None:
    _daemon(tmp_path)
    files = Generations(tmp_path / "bird")
    for number in range(20):
        files.write(f"tried {number}")
    assert files.text() == stamped(OLD)[0]
    assert len(_generations(tmp_path)) <= KEPT_GENERATIONS + 1


def test_a_bird_that_does_not_end_its_check_keeps_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bird = _daemon(tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "bird").write_text("#!/bin/sh\nexec sleep 60\n")
    (programs / "bird").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setattr(pltfrms.drivers.bird.daemon, "_CHECK_SECONDS", 0.3)
    with pytest.raises(UnavailableError, match=r"cannot check.*took longer than 0\.3 s"):
        run(bird.apply(NEW))
    assert _generations(tmp_path) == ["gen-1"]
