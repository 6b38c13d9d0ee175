"""Find an instance by its own init, where its record cannot be read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

INIT: Final = "instance_init.py"
_ARGUMENTS: Final = 3
"""Allocation, device and fingerprint, after the path of the init."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundInit:
    """Pid 1 of a running instance, and what it was started with."""

    pid: int
    device: str
    """Empty if a version of us started it that did not say so."""
    fingerprint: str


def find_init(allocation: str, proc: Path = Path("/proc")) -> FoundInit | None:
    """Return the init of an allocation's instance; None if none runs.

    Raises:
        OSError: processes cannot be listed.
    """
    for directory in proc.iterdir():
        if directory.name.isdecimal() and _is_first(directory):
            arguments = _arguments(directory)
            if arguments[:1] == [allocation]:
                device, fingerprint = [*arguments[1:_ARGUMENTS], "", ""][:2]
                return FoundInit(
                    pid=int(directory.name), device=device, fingerprint=fingerprint
                )
    return None


def _is_first(process: Path) -> bool:
    """Return whether it is pid 1 of a namespace below this one (proc(5), NSpid)."""
    try:
        lines = (process / "status").read_text().splitlines()
    except OSError:  # it has just ended
        return False
    pids = next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])
    return len(pids) > 1 and pids[-1] == "1"


def _arguments(process: Path) -> list[str]:
    """Return what follows the path of our init on its command line; [] if it is none."""
    try:
        words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
    places = [number for number, word in enumerate(words) if Path(word).name == INIT]
    return words[places[0] + 1 :] if places else []
