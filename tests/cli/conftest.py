"""The CLI, run in this process against stand-ins."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pltfrms.cli.main import main
from pltfrms.cli.shared import connect as connecting
from pltfrms.errors import NotFoundError
from tests.cli.world import FakeController, FakeLab, lab_info


@dataclass
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _no_settings_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("PLTFRMS_CONTEXT", raising=False)
    for name in ("PLTFRMS_LAB", "PLTFRMS_CONTROLLERS", "PLTFRMS_DEBUG", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run_once(*arguments: object) -> Result:
        capsys.readouterr()
        code = main([str(each) for each in arguments])
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return run_once


@pytest.fixture
def endpoints() -> list[tuple[str, ...]]:
    """Return the endpoints that clients were made for, in order."""
    return []


@pytest.fixture
def controller(
    monkeypatch: pytest.MonkeyPatch, endpoints: list[tuple[str, ...]]
) -> FakeController:
    fake = FakeController()

    def make(where: tuple[str, ...], *_how: object, token: str = "") -> FakeController:
        endpoints.append(tuple(where))
        fake.token = token
        return fake

    monkeypatch.setattr(connecting, "OperatorClient", make)
    monkeypatch.setattr(connecting, "running_labs", tuple)
    return fake


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> FakeLab:
    fake = FakeLab()

    def find(name: str | None) -> FakeLab:
        if name not in {None, fake.name}:
            raise NotFoundError(f"no lab is called {name!r}; running: {fake.name}")
        return fake

    monkeypatch.setattr(connecting, "find_lab", find)
    mine = replace(lab_info(fake.name), started_by=connecting.starter())
    monkeypatch.setattr(connecting, "running_labs", lambda: (mine,))
    return fake
