"""Prometheus' text format (0.0.4). Pure.

Its own library would cost every agent megabytes for as long as it runs; the format is three
kinds of lines.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPED: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class FamilyKind(StrEnum):
    """What the values of a family are."""

    GAUGE = "gauge"
    COUNTER = "counter"
    """It only grows, until its machine or agent begins anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """All values of one name."""

    name: str
    text: str
    kind: FamilyKind = FamilyKind.GAUGE
    labels: tuple[str, ...] = ()
    samples: tuple[tuple[tuple[str, ...], float], ...] = ()
    """Values of the labels, and what is measured."""

    @property
    def full_name(self) -> str:
        """As Prometheus has it."""
        return f"pltfrms_{self.name}{'_total' if self.kind is FamilyKind.COUNTER else ''}"


def exposition(families: Iterable[Family]) -> str:
    """Return what Prometheus reads; a family without samples is named all the same."""
    return "".join(line for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    name = family.full_name
    yield f"# HELP {name} {family.text}\n# TYPE {name} {family.kind}\n"
    for values, measured in family.samples:
        pairs = zip(family.labels, values, strict=True)
        said = ",".join(f'{label}="{value.translate(_ESCAPED)}"' for label, value in pairs)
        yield f"{name}{f'{{{said}}}' if said else ''} {float(measured)!r}\n"
