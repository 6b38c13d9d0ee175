"""What a check finds wrong, before anybody knows in which file and line it stands."""

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pltfrms.errors import Problem

Where = tuple[str | int, ...]
"""Path inside a document: keys and list indexes from 0."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}\Z")
INTERFACE_NAME_BYTES = 15
"""Longest name of a network interface in Linux."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: where, what, what to do."""

    where: Where
    what: str
    hint: str = ""
    absent: str | None = None
    """Set if something is not there: its name, or `` if too few things are under `where`.

    Such a finding is not believed when that part of the document could not be read.
    """
    row: int | None = None
    """Line inside a text of several lines, from 0; None if it is not about the text."""

    def problem(self, file: str = "", line: int = 0) -> Problem:
        """Return it as a problem of that file and line."""
        where = ".".join(str(part) for part in self.where)
        return Problem(
            file, line, _printable(where), _printable(self.what), _printable(self.hint)
        )


def _printable(text: str) -> str:
    """Escape what could play tricks with a terminal: names come from the file."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def nearest(word: str, words: Iterable[str]) -> str:
    """Return a hint that names the word meant, or all there are."""
    known = sorted(words)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?"
    return f"known: {', '.join(known)}" if known else "there is none"


def check_name(where: Where, name: str) -> Iterator[Finding]:
    """Find a name that is not one: it goes into configurations, addresses and file names."""
    if not _NAME.match(name):
        yield Finding(
            where,
            f"{name!r} is not a name",
            "a small letter, then at most 30 small letters, digits or -",
        )


def check_interface(where: Where, interface: str, hint: str) -> Iterator[Finding]:
    """Find a network interface whose name the kernel would refuse."""
    size = len(interface.encode(errors="replace"))
    if size > INTERFACE_NAME_BYTES:
        yield Finding(
            where,
            f"the interface {interface} has {size} bytes, at most {INTERFACE_NAME_BYTES} fit",
            hint,
        )


def check_range(where: Where, value: float, low: float, high: float) -> Iterator[Finding]:
    """Find a number that is not in low..high."""
    if not low <= value <= high:
        yield Finding(where, f"{value:g} is outside {low:g}..{high:g}")


def check_asn(where: Where, asn: int) -> Iterator[Finding]:
    """Find a number that is no ASN."""
    if not 1 <= asn <= 4_294_967_295:  # noqa: PLR2004 (the size of an ASN)
        yield Finding(where, f"{asn} is not an ASN", "ASNs are 1..4294967295")
