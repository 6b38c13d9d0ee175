"""Which worker runs which file of tests, where workers run whole labs (`--dist loadfile`)."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

_ROOT = Path(__file__).parents[1]


class ByLab(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    """A worker runs whole files, and of those that share a lab all."""

    def _split_scope(self, nodeid: str) -> str:
        return lab_of(super()._split_scope(nodeid))


@cache
def lab_of(file: str) -> str:
    """Return what tests of a file share: its own lab, if it has one, or its directory's."""
    shares = Path(file).parent.name == "live" and "running_rig(" not in _text_of(file)
    return str(Path(file).parent) if shares else file


@cache
def is_heavy(file: str) -> bool:
    """Return whether a file has tests that take, or need, all processors for a while."""
    return "pytest.mark.heavy" in _text_of(file)


def place_of(file: str, seconds: Mapping[str, float]) -> tuple[bool, bool, float]:
    """Return what files are sorted by; `seconds` is what each lab may take.

    One of two workers begins with the files that share a lab, its heavy ones last; the other
    one with those that are heavy by themselves. So heavy and light meet, each in its half.
    Then come the longest: who begins with one of them last ends last.
    """
    lab, heavy = lab_of(file), is_heavy(file)
    shared = lab != file
    return not shared, heavy if shared else not heavy, -seconds[lab]


def _text_of(file: str) -> str:
    return (_ROOT / file).read_text()
