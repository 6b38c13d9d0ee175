"""Find an instance by its own init, where its record cannot be read."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pltfrms.model.running.machine import InstanceSpec

INIT: Final = "instance_init.py"
_FLAGS: Final = ["-I", "-S"]
_LEVELS: Final = 2
"""Pid namespaces that the init is in, from ours on."""
_SHAPES: Final = {1, 3, 4, 5}
"""How many words an init has after its path, by the version of us that started it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundInit:
    """Pid 1 of a running instance, and what it was started with."""

    pid: int
    device: str
    """Empty if a version of us started it that did not say so."""
    fingerprint: str
    stop_grace_ms: int = 5000
    """As `Instance.stop_grace_ms`, likewise."""


def init_words(spec: InstanceSpec, fingerprint: str, runtime: Path) -> tuple[str, ...]:
    """Return what an init does not read, but `find_init` does if the record is lost."""
    own, grace = str(runtime.absolute()), str(spec.stop_grace_ms)
    return spec.allocation, spec.device, fingerprint, own, grace


def find_init(allocation: str, runtime: Path, proc: Path = Path("/proc")) -> FoundInit | None:
    """Return the init of an allocation's instance; None if none runs.

    It is of the agent with this runtime directory: others, with instances of the same names,
    may be in our pid namespace. An init that does not say whose it is, is ours unless it has
    another file system there.

    Raises:
        OSError: a process cannot be looked at, so that it is not known.
    """
    for directory in proc.iterdir():
        if not directory.name.isdecimal():
            continue
        try:
            words = _words(directory) if _is_first(directory) else []
            if words[:1] != [allocation] or not _is_ours(directory, words, runtime):
                continue
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        device, fingerprint = words[1:3] or ("", "")
        found = FoundInit(pid=int(directory.name), device=device, fingerprint=fingerprint)
        grace = "".join(words[4:])
        return replace(found, stop_grace_ms=int(grace)) if grace.isdecimal() else found
    return None


def _is_ours(process: Path, words: list[str], runtime: Path) -> bool:
    """Return whether it was started with this runtime directory, and sees the same there."""
    own = runtime.absolute()
    theirs = process / "root" / own.relative_to("/")
    return words[3:4] in ([], [str(own)]) and theirs.samefile(own)


def _is_first(process: Path) -> bool:
    """Return whether it is pid 1 of a namespace just below this one (proc(5), NSpid)."""
    lines = (process / "status").read_text().splitlines()
    pids = next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])
    return len(pids) == _LEVELS and pids[-1] == "1"


def _words(process: Path) -> list[str]:
    """Return what an init of ours was started with, as `init_words`; [] if it is none."""
    text = (process / "cmdline").read_bytes().decode(errors="replace")
    _, *flags_and_path = text.removesuffix("\0").split("\0")
    flags, path, words = flags_and_path[:2], flags_and_path[2:3], flags_and_path[3:]
    ours = flags == _FLAGS and [Path(each).name for each in path] == [INIT]
    return words if ours and len(words) in _SHAPES else []
