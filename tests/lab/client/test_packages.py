"""Which Debian machines of a lab boot, and what is refused."""

import os
from pathlib import Path

import pytest

from pltfrms.errors import PltfrmsError, UsageError
from pltfrms.lab.client import packages
from pltfrms.lab.client.packages import start_with_packages, systems_of
from pltfrms.specfile import load_platform

EXAMPLES = Path(__file__).parents[3] / "examples"
SERVERS = EXAMPLES / "three-servers"
PLATFORM = load_platform(SERVERS / "platform.yaml")


def test_debians_take_turns_or_one_is_asked_for() -> None:
    assert systems_of(PLATFORM, None) == {
        "fra1": "bookworm",
        "ams1": "trixie",
        "lon1": "bookworm",
    }
    assert {*systems_of(PLATFORM, "trixie").values()} == {"trixie"}


def test_what_a_machine_could_not_run_is_refused() -> None:
    platform = load_platform(EXAMPLES / "mixed-internet/platform.yaml")
    with pytest.raises(UsageError, match="an RTR cache"):
        systems_of(platform, None)


def test_nothing_is_built_where_no_lab_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_script", None)  # nobody may call it
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="needs root"):
        start_with_packages(SERVERS, "x", None, lambda _: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(UsageError, match="cannot name a lab"):
        start_with_packages(SERVERS, "a/b", None, lambda _: None)
    monkeypatch.setattr(packages, "v2_tree", lambda: None)
    with pytest.raises(UsageError, match="cgroup v2"):
        start_with_packages(SERVERS, "x", None, lambda _: None)
    monkeypatch.setattr(packages, "_SCRIPTS", Path("/nowhere"))
    with pytest.raises(UsageError, match="clone"):
        start_with_packages(SERVERS, "x", None, lambda _: None)


def test_a_script_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_SCRIPTS", tmp_path)
    monkeypatch.setattr(packages, "check_root", lambda: None)
    monkeypatch.setattr(packages, "v2_tree", lambda: tmp_path)
    script = tmp_path / "make-tree"
    script.write_text("#!/bin/sh\necho no mirror answers >&2\nexit 1\n")
    script.chmod(0o755)
    said: list[str] = []
    with pytest.raises(PltfrmsError, match=r"there are no files of Debian.*no mirror answers"):
        start_with_packages(SERVERS, "x", "trixie", said.append)
    assert said == ["making files and packages of Debian (trixie)"]
