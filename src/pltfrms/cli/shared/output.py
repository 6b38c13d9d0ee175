"""How commands write: JSON documents, coloured words, tables, progress.

Colour only on a terminal, and never when NO_COLOR is set. Rich is imported for tables only.
"""

import datetime as dt
import json
import os
import re
import shutil
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
_CONTROL = re.compile(
    r"\x1b(?!\[(?:0|1|2|31|32|33|36)m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]"
)
_CONTROL_OF_JSON = re.compile(r"[\x7f-\x9f]")
"""What JSON itself does not escape."""
_ENDLESS = 1 << 30
"""Columns of an output that nobody looks at directly: no line is folded."""
_GAP = 2
"""Spaces between two columns."""
_NARROW = 16
"""A column that is wider is not made narrower than that."""


def harmless(text: str) -> str:
    """Return a text without what tells a terminal to do something, but our colours.

    Names, reasons and messages come from machines and from other people.
    """
    return _CONTROL.sub("\ufffd", text)


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Write a text in which there may be words of others."""
    click.echo(harmless(text), err=err, nl=nl)


def write_json(value: object, kind: Hashable | None = None) -> None:
    """Write a word of the model (of type `kind`, if that is not its class) as JSON."""
    document = json.loads(encode(value, kind))
    write_json_line(json.dumps(document, indent=2, ensure_ascii=False))


def write_json_line(text: str) -> None:
    """Write JSON so that it is the same, and tells a terminal nothing."""
    click.echo(_CONTROL_OF_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


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


def write_line(line: str) -> None:
    """Write a line; on a terminal a long one is folded between words, and indented below."""
    for part in _wrapped(harmless(line), screen_columns()):
        click.echo(part)


def write_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write rows of cells under the names of their columns.

    What is too wide for the terminal is folded between words; if that is not enough, each row
    is written as a sentence.
    """
    available = screen_columns()
    rows = [[harmless(cell) for cell in row] for row in rows]
    widths = _fitting_widths((columns, *rows), available)
    if not widths:
        for row in rows:
            write_line(_as_sentence(columns, row))
        return
    for line in _table_lines(columns, rows, widths):
        click.echo(line.rstrip())


def screen_columns() -> int:
    """Return the columns of the terminal; without one, more than any line has."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _ENDLESS


def _wrapped(line: str, available: int) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip(" ")) + 2)
    lines = [""]
    for word in re.findall(r" *[^ ]+", line):
        if lines[-1] and _length(lines[-1] + word) > available:
            lines.append(indent + word.lstrip(" "))
        else:
            lines[-1] += word
    return lines


def _length(text: str) -> int:
    return len(click.unstyle(text))


def _fitting_widths(rows: Sequence[Sequence[str]], available: int) -> list[int]:
    """Return the width of each column so that no word is broken; nothing if they do not fit."""
    cells = [[click.unstyle(row[at]) for row in rows] for at in range(len(rows[0]))]
    widths = [max(map(len, column)) for column in cells]
    words = [max(len(w) for cell in column for w in (*cell.split(), "")) for column in cells]
    indents = [max(len(cell) - len(cell.lstrip()) for cell in column) for column in cells]
    least = [
        max(word + indent, min(width, _NARROW))
        for word, indent, width in zip(words, indents, widths, strict=True)
    ]
    room = available - _GAP * (len(widths) - 1)
    if sum(least) > room:
        return []
    while sum(widths) > room:
        slack = [width - low for width, low in zip(widths, least, strict=True)]
        widths[slack.index(max(slack))] -= 1
    return widths


def _as_sentence(columns: Sequence[str], row: Sequence[str]) -> str:
    said = [
        f"{column.strip()} {_toned(cell)}"
        for column, cell in zip(columns[1:], row[1:], strict=True)
        if cell not in {"", "-"}
    ]
    return f"{row[0]}: {', '.join(said)}"


def _toned(cell: str) -> str:
    return paint(cell, _TONES[cell]) if cell in _TONES else cell


def _table_lines(
    columns: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]
) -> list[str]:
    # 130 ms: only for who asks for a table.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, overflow="fold", width=width)
    for row in rows:
        table.add_row(*(Text.from_ansi(cell, style=_TONES.get(cell, "")) for cell in row))
    whole = sum(widths) + _GAP * len(widths)
    console = Console(file=sys.stdout, width=whole, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get().splitlines()


def unix_ms() -> int:
    """Return Unix time in milliseconds."""
    return int(time.time() * 1000)


def moment_text(at_ms: int) -> str:
    """Return a Unix time as people here read it."""
    at = dt.datetime.fromtimestamp(at_ms / 1000, tz=dt.UTC).astimezone()
    return at.strftime("%Y-%m-%d %H:%M:%S")


def timed_progress() -> Callable[[str], None]:
    """Return a function that writes a line to stderr with the seconds since now."""
    started = time.monotonic()

    def say(line: str) -> None:
        echo(f"{time.monotonic() - started:6.1f} s  {line}", err=True)

    return say
