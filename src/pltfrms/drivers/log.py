"""How our daemons log: one JSON object per line on stderr."""

import importlib
import logging
import sys
from collections.abc import Callable
from typing import Any, Final, cast

_SUMMARY_SECONDS: Final = 60.0
_SUMMARY_LINES: Final = 20


def _import_structlog_alone() -> None:
    """Import structlog without rich, of which it would make tracebacks for people: 7 MB."""
    modules = cast("dict[str, Any]", sys.modules)
    if "structlog" in modules or "rich" in modules:
        return
    modules["rich"] = None
    try:
        importlib.import_module("structlog")
    finally:
        del modules["rich"]


_import_structlog_alone()

import structlog  # noqa: E402 - see above


def log_to_stderr() -> None:
    """Set up structlog for this process: level INFO and above, UTC timestamps."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # Looked up at every line: whoever replaces sys.stderr gets the log.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


class SpareLog:
    """Says what others may cause as often as they like: the same once a minute, no more lines.

    What is left out is counted, and said with the first line of a later minute.
    """

    def __init__(self, write: Callable[..., object], monotonic: Callable[[], float]) -> None:
        """Say it by `write`, a method of a log."""
        self._write = write
        self._monotonic = monotonic
        self._since = monotonic()
        self._said: set[str] = set()
        self._unsaid = 0

    def say(self, event: str, of: str, **words: object) -> None:
        """Say it, unless the same was said `of` somebody within the minute."""
        now = self._monotonic()
        if now - self._since >= _SUMMARY_SECONDS:
            if self._unsaid:
                self._write("and others", times=self._unsaid, seconds=int(now - self._since))
            self._since, self._unsaid = now, 0
            self._said.clear()
        key = f"{event} {of}"
        if key in self._said or len(self._said) >= _SUMMARY_LINES:
            self._unsaid += 1
            return
        self._said.add(key)
        self._write(event, **words)
