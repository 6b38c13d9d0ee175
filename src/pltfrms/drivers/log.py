"""How our daemons log: one JSON object per line on stderr."""

import logging
import sys

import structlog


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
