"""What all tests share: the list of those that failed, for whoever runs them once more."""

from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# On a busy machine an example takes as long as it takes.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

LONG_SECONDS = 20.0
"""A file of tests that takes so long is named, with its seconds."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--failed-to", help="Append the ids of tests that failed to this file.")


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
