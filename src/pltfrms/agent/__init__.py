"""Read target, render, apply, report: the loop that every machine runs."""

from pltfrms.drivers import log as _log  # noqa: F401 - the first to import structlog
