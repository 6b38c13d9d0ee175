"""Find an instance by its own init, where its record cannot be read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

INIT: Final = "instance_init.py"
_FLAGS: Final = ["-I", "-S"]
_LEVELS: Final = 2
"""Pid namespaces that the init is in, from ours on."""


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
        OSError: a process cannot be looked at, so that it is not known.
    """
    for directory in proc.iterdir():
        if not directory.name.isdecimal():
            continue
        try:
            words = _words(directory) if _is_first(directory) else []
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        if words[:1] == [allocation]:
            device, fingerprint = words[1:] or ("", "")
            return FoundInit(pid=int(directory.name), device=device, fingerprint=fingerprint)
    return None


def _is_first(process: Path) -> bool:
    """Return whether it is pid 1 of a namespace just below this one (proc(5), NSpid)."""
    lines = (process / "status").read_text().splitlines()
    pids = next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])
    return len(pids) == _LEVELS and pids[-1] == "1"


def _words(process: Path) -> list[str]:
    """Return what an init of ours was started with: one word or three; [] if it is none."""
    text = (process / "cmdline").read_bytes().decode(errors="replace")
    _, *flags_and_path = text.removesuffix("\0").split("\0")
    flags, path, words = flags_and_path[:2], flags_and_path[2:3], flags_and_path[3:]
    ours = flags == _FLAGS and [Path(each).name for each in path] == [INIT]
    return words if ours and len(words) in {1, 3} else []
