"""How commands write: JSON documents, coloured words, tables, progress.

Colour only on a terminal, and never when NO_COLOR is set. Rich is imported for tables only.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Hashable, Sequence

import click

from pltfrms.codec import encode

_GOOD, _BAD, _OPEN = "green", "red", "yellow"
_TONES = {
    **dict.fromkeys(
        ("present", "ready", "yes", "up", "announced", "ok", "active", "director"), _GOOD
    ),
    **dict.fromkeys(("lost", "unhealthy", "backoff", "no", "down", "missing", "off"), _BAD),
    **dict.fromkeys(
        ("unknown", "starting", "draining", "stopping", "withdrawn", "kernel"), _OPEN
    ),
}
_PIPE_WIDTH = 1000
"""Columns of a table that nobody looks at directly: wide enough never to cut a line."""


def write_json(value: object, kind: Hashable | None = None) -> None:
    """Write a word of the model (of type `kind`, if that is not its class) as JSON."""
    document = json.loads(encode(value, kind))
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def paint(text: str, colour: str) -> str:
    """Return the text in a colour, unless NO_COLOR forbids."""
    return text if os.environ.get("NO_COLOR") else click.style(text, fg=colour, bold=True)


def dim(text: str) -> str:
    """Return the text in faint letters, unless NO_COLOR forbids."""
    return text if os.environ.get("NO_COLOR") else click.style(text, dim=True)


def good(text: str) -> str:
    """Return the text in the colour of good news."""
    return paint(text, _GOOD)


def bad(text: str) -> str:
    """Return the text in the colour of bad news."""
    return paint(text, _BAD)


def write_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows of cells under the names of their columns."""
    # 130 ms: only for who asks for a table.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=_TONES.get(cell, "")) for cell in row))
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    console = Console(file=sys.stdout, width=width, highlight=False)
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


def unix_ms() -> int:
    """Return Unix time in milliseconds."""
    return int(time.time() * 1000)


def timed_progress() -> Callable[[str], None]:
    """Return a function that writes a line to stderr with the seconds since now."""
    started = time.monotonic()

    def say(line: str) -> None:
        click.echo(f"{time.monotonic() - started:6.1f} s  {line}", err=True)

    return say
