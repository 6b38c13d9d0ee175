"""How our daemons log: one JSON object per line on stderr."""

import importlib
import logging
import sys
from typing import Any, cast


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
