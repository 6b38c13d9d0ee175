"""What all tests share: who runs them, and the list of those that failed."""

from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.scheduling import ByLab, lab_of, place_of

# On a busy machine an example takes as long as it takes.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

LONG_SECONDS = 20.0
"""A file of tests that takes so long is named, with its seconds."""
USUAL_SECONDS = 5.0
"""What a test may take that says nothing of it, compared with those that do."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--failed-to", help="Append the ids of tests that failed to this file.")


@pytest.hookimpl(optionalhook=True)  # also with `-p no:xdist`
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByLab | None:
    return ByLab(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have workers begin with what `place_of` says."""
    if not hasattr(config, "workerinput"):
        return
    seconds: defaultdict[str, float] = defaultdict(float)
    for item in items:
        mark = item.get_closest_marker("timeout")
        seconds[lab_of(_file_of(item))] += mark.args[0] if mark else USUAL_SECONDS
    items.sort(key=lambda item: place_of(_file_of(item), seconds))


def _file_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


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
