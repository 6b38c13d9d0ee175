"""What the page of the installation says: commands, each with the place where they are run.

A block of commands is fenced as `sh`. The text before it says where: "On **NAME**". Power is
cut and given back by sentences. So who changes the page changes what is tested.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

_MARK = re.compile(
    r"(?P<run>[Oo]n) \*\*(?P<where>[^*]+)\*\*"
    r"|(?P<cut>[Cc]ut the power of) \*\*(?P<dark>[^*]+)\*\*"
    r"|(?P<boot>[Gg]ive) \*\*(?P<light>[^*]+)\*\* its power back"
)
_FENCE = re.compile(r"(?ms)^```(\w*)\n(.*?)^```$")


class Act(StrEnum):
    """What is done."""

    RUN = "run"
    CUT = "cut"
    """The power."""
    BOOT = "boot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that the page has somebody do."""

    act: Act
    place: str
    script: str = ""


def steps_of(page: str) -> tuple[Step, ...]:
    """Return what a page has somebody do, in order; ValueError if it does not say where."""
    return tuple(_steps(page))


def _steps(page: str) -> Iterator[Step]:
    at = 0
    for fence in _FENCE.finditer(page):
        places: list[str] = []
        for mark in _MARK.finditer(" ".join(page[at : fence.start()].split())):
            if mark["run"]:
                places.append(mark["where"])
            else:
                act = Act.CUT if mark["cut"] else Act.BOOT
                yield Step(act=act, place=mark["dark"] or mark["light"])
        at = fence.end()
        if fence[1] == "sh":
            if len(places) != 1:
                raise ValueError(f"where is this run? {places}: {fence[2]}")
            yield Step(act=Act.RUN, place=places[0], script=fence[2])
        elif not fence[1]:
            raise ValueError(f"no language is said: sh is run, text is not: {fence[2]}")
