"""The seams that every driver needs: time, files, directories. Each room has its own `ports`.

Controllers and agents take these as parameters, so that the same code runs in production, in
the lab, and under a virtual clock with injected faults. All methods of effect are idempotent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

_T = TypeVar("_T")


class Clock(Protocol):
    """Time and waiting."""

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        ...

    def unix_ms(self) -> int:
        """Return the wall clock in milliseconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Aside(Protocol):
    """Computing beside the event loop."""

    async def run(self, size: int, work: Callable[[], _T]) -> _T:
        """Return what `work` returns, or raise what it raises; small work is done at once.

        `work` has no effect, and `size` is in things to look at.
        """
        ...


class Disk(Protocol):
    """What an agent remembers across restarts and reboots."""

    def read(self, name: str) -> bytes | None:
        """Return a document, or None."""
        ...

    def write(self, name: str, value: bytes) -> None:
        """Replace a document atomically and durably (write, fsync, rename)."""
        ...

    def late(self, name: str) -> bool:
        """Return whether a write of a document was taken, and is not durable yet."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Directories:
    """Where things are on a machine."""

    config: Path = Path("/etc/pltfrms")
    state: Path = Path("/var/lib/pltfrms")
    runtime: Path = Path("/run/pltfrms")
    log: Path = Path("/var/log/pltfrms")
