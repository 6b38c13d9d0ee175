"""What systemd is told, by a stand-in for systemctl."""

import asyncio
from pathlib import Path

import pytest

from pltfrms.drivers.units import Units, follow_role
from pltfrms.errors import UnavailableError


def systemctl(monkeypatch: pytest.MonkeyPatch, directory: Path, code: int) -> Path:
    """Stand in for systemctl: keep what it is told, and end with a code."""
    told, tool = directory / "told", directory / "systemctl"
    tool.write_text(f'#!/bin/sh\necho "$@" >>{told}\necho no >&2\nexit {code}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=":")
    monkeypatch.setattr("pltfrms.drivers.units._RUNS", directory)
    return told


def test_units_are_started_stopped_and_started_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told, units = systemctl(monkeypatch, tmp_path, 0), Units()
    units.start("a", "b")
    units.restart("a")
    units.stop("a", "b")
    asked = ["start a b", "try-restart a", "stop a b", "reset-failed a b"]
    assert told.read_text().splitlines() == asked


def test_who_cannot_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    systemctl(monkeypatch, tmp_path, 1)
    with pytest.raises(UnavailableError, match="`systemctl stop a`: no"):
        Units().stop("a")


def test_a_unit_that_is_not_there_is_stopped_and_not_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    systemctl(monkeypatch, tmp_path, 5)
    Units().stop("a")
    with pytest.raises(UnavailableError):
        Units().start("a")


def test_without_systemd_nothing_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = systemctl(monkeypatch, tmp_path, 1)
    monkeypatch.setattr("pltfrms.drivers.units._RUNS", tmp_path / "none")
    Units().start("a")
    assert not told.exists()


def test_what_a_controller_runs_is_started_once_whenever_a_machine_becomes_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = systemctl(monkeypatch, tmp_path, 0)
    words = "--no-block start pltfrms-etcd.service pltfrms-controller.service\n"
    for controller, often in ((False, 0), (True, 1), (True, 1), (False, 1), (True, 2)):
        asyncio.run(follow_role(tmp_path, controller=controller))
        assert (told.read_text() if told.exists() else "") == words * often


def test_what_systemd_refused_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = systemctl(monkeypatch, tmp_path, 1)
    for _ in range(2):
        with pytest.raises(UnavailableError):
            asyncio.run(follow_role(tmp_path, controller=True))
    assert len(told.read_text().splitlines()) == 2
