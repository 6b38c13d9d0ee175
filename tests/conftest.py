"""What all tests share: who runs them, and the list of those that failed."""

from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

# On a busy machine an example takes as long as it takes.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

LONG_SECONDS = 20.0
"""A file of tests that takes so long is named, with its seconds."""
USUAL_SECONDS = 5.0
"""What a test may take that says nothing of it, compared with those that do."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--failed-to", help="Append the ids of tests that failed to this file.")


class ByLab(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    """A worker runs whole files, and of those that share a lab all."""

    def _split_scope(self, nodeid: str) -> str:
        return lab_of(super()._split_scope(nodeid))


@cache
def lab_of(file: str) -> str:
    """Return what tests of a file share: its own lab, if it has one, or its directory's."""
    path = Path(__file__).parents[1] / file
    shares = path.parent.name == "live" and "running_rig(" not in path.read_text()
    return str(Path(file).parent) if shares else file


@pytest.hookimpl(optionalhook=True)  # also with `-p no:xdist`
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByLab | None:
    return ByLab(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have workers begin with what may take longest: who begins with that last ends last."""
    if not hasattr(config, "workerinput"):
        return
    seconds: defaultdict[str, float] = defaultdict(float)
    for item in items:
        mark = item.get_closest_marker("timeout")
        seconds[_lab_of(item)] += mark.args[0] if mark else USUAL_SECONDS
    items.sort(key=lambda item: -seconds[_lab_of(item)])


def _lab_of(item: pytest.Item) -> str:
    return lab_of(item.nodeid.partition("::")[0])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _FAILED.update([report.nodeid] if report.failed else ())
    _SECONDS[report.nodeid.partition("::")[0]] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for file, seconds in sorted(_SECONDS.items(), key=lambda each: -each[1]):
        if seconds >= LONG_SECONDS:
            terminalreporter.write_line(f"{seconds:6.0f} s  {file}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("--failed-to")
    if path and not hasattr(session.config, "workerinput"):
        with Path(path).open("a") as file:
            file.writelines(f"{test}\n" for test in sorted(_FAILED))


_FAILED: set[str] = set()
_SECONDS: defaultdict[str, float] = defaultdict(float)
