"""Find an instance by its own init, where its record cannot be read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pltfrms.model.running.machine import InstanceSpec

INIT: Final = "instance_init.py"
_FLAGS: Final = ["-I", "-S"]
_LEVELS: Final = 2
"""Pid namespaces that the init is in, from ours on."""
_SHAPES: Final = {1, 3, 4}
"""How many words an init has after its path, by the version of us that started it. With more,
the version before does not find it: what is new is said in its environment."""
_GRACE: Final = "PLTFRMS_STOP_GRACE_MS"
_GRACE_BEFORE_MS: Final = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundInit:
    """Pid 1 of a running instance, and what it was started with."""

    pid: int
    device: str
    """Empty if a version of us started it that did not say so."""
    fingerprint: str
    stop_grace_ms: int = _GRACE_BEFORE_MS
    """As `Instance.stop_grace_ms`, likewise."""


def init_words(spec: InstanceSpec, fingerprint: str, runtime: Path) -> tuple[str, ...]:
    """Return what an init does not read, but `find_init` does if the record is lost."""
    return spec.allocation, spec.device, fingerprint, str(runtime.absolute())


def init_environment(spec: InstanceSpec) -> dict[str, str]:
    """Return the rest of it, which versions of us that do not know it pass over."""
    return {_GRACE: str(spec.stop_grace_ms)}


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
            device, fingerprint = words[1:3] or ("", "")
            return FoundInit(
                pid=int(directory.name),
                device=device,
                fingerprint=fingerprint,
                stop_grace_ms=_grace_ms(directory),
            )
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
    return None


def _grace_ms(process: Path) -> int:
    said = (process / "environ").read_bytes().decode(errors="replace").split("\0")
    grace = next((each for each in said if each.startswith(f"{_GRACE}=")), "")
    digits = grace.partition("=")[2]
    return int(digits) if digits.isdecimal() else _GRACE_BEFORE_MS


def _is_ours(process: Path, words: list[str], runtime: Path) -> bool:
    """Return whether it was started with this runtime directory, and sees the same there."""
    own = runtime.absolute()
    theirs = process / "root" / own.relative_to("/")
    return words[3:] in ([], [str(own)]) and theirs.samefile(own)


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
