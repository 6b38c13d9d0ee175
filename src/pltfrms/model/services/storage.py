"""What of the machine's disks an instance sees beside its own files."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

_OURS: Final = (
    "/proc",
    "/sys",
    "/dev",
    "/run/pltfrms",
    "/var/lib/pltfrms",
    "/var/log/pltfrms",
    "/etc/pltfrms",
)
"""What no instance is given of a machine: the kernel's, and the platform's own files."""


PEERS_FILE: Final = "peers.json"
"""Of the working directory of who keeps volumes: which replicas there are, and where."""
STOP_GRACE_MS: Final = 120_000
"""Of who keeps volumes, unless it is said: a checkpoint may take so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IoLimits:
    """What an instance may do to the disk of its node in a second; 0: as much as it can."""

    read_bytes: int = 0
    write_bytes: int = 0
    reads: int = 0
    writes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPath:
    """A file or directory of the machine that instances read."""

    source: str
    """Where the machine has it."""
    path: str
    """Where an instance sees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSpec:
    """A directory that a replica keeps, whatever becomes of its instances."""

    name: str
    path: str
    """Where an instance sees it."""
    size_bytes: int
    """How much it may have in it."""
    owner: str = ""
    """`UID` or `UID:GID` that it belongs to when it is made; empty: root."""
    lost_after_ms: int | None = None
    """A node that is lost for so long is taken to have lost it, too; None: never by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What the instances of a service see of the disks of machines."""

    volumes: tuple[VolumeSpec, ...] = ()
    host_paths: tuple[HostPath, ...] = ()

    @property
    def started(self) -> "Storage":
        """What an instance is started with: how long a node may be gone does not change it."""
        volumes = tuple(replace(each, lost_after_ms=None) for each in self.volumes)
        return replace(self, volumes=volumes)

    @property
    def lost_after_ms(self) -> int | None:
        """How long a node may be lost before the volumes there are given up; None: for ever.

        A replica has all of its volumes on one node, so the most patient one decides.
        """
        times = [each.lost_after_ms for each in self.volumes]
        known = [each for each in times if each is not None]
        return max(known) if known and len(known) == len(times) else None


def is_plain(path: str) -> bool:
    """Return whether a path is absolute and plain: no `..`, no `//`, no odd signs."""
    plain = path.isprintable() and str(PurePosixPath(path)) == path and "\\" not in path
    from_root = path.startswith("/") and not path.startswith("//")
    return plain and from_root and ".." not in path.split("/")


def is_within(path: str, allowed: Iterable[str]) -> bool:
    """Return whether a path is one of `allowed`, or below one."""
    return any(PurePosixPath(path).is_relative_to(each) for each in allowed)


def ours_in(path: str) -> str:
    """Return what of ours or the kernel's a path is, has in it or is in; empty: nothing."""
    here = PurePosixPath(path)
    found = (
        each
        for each in _OURS
        if here.is_relative_to(each) or PurePosixPath(each).is_relative_to(here)
    )
    return next(found, "")
