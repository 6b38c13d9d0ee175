"""The maps that the director's program and its driver share, and the names they are pinned by.

`director/maps.h` says the same in C.
"""

import errno
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pltfrms.drivers.kernel.programs.bpf import Map, MapKind, MapShape
from pltfrms.errors import UnavailableError
from pltfrms.model.running.balancer import CHANCES, ROWS

TABLES: Final = 4096
INSTANCES: Final = 16384
"""Numbers for instances; 0 is nobody."""
TABLE_BYTES: Final = ROWS * (1 + CHANCES) * 2
"""The first of all rows, then all rows; u16 each."""

COUNTERS: Final = (
    "stale",
    "no_table",
    "ttl",
    "fragment",
    "icmp_error",
    "decapsulated",
    "second_chance",
    "last_hop",
    "forged",
    "failed",
    "unreadable",
)
"""What the elements of `counters` count, in order."""

SHAPES: Final[Mapping[str, MapShape]] = MappingProxyType(
    {
        "heartbeat": MapShape(kind=MapKind.ARRAY, entries=1, value_bytes=8),
        "settings": MapShape(kind=MapKind.ARRAY, entries=1, value_bytes=40),
        "services": MapShape(
            kind=MapKind.HASH, entries=2 * TABLES, key_bytes=16, value_bytes=8
        ),
        "tables": MapShape(
            kind=MapKind.ARRAY_OF_MAPS,
            entries=TABLES,
            inner=MapShape(kind=MapKind.ARRAY, entries=1, value_bytes=TABLE_BYTES),
        ),
        "instances": MapShape(kind=MapKind.ARRAY, entries=INSTANCES, value_bytes=16),
        "homes": MapShape(kind=MapKind.HASH, entries=1024, key_bytes=16, value_bytes=8),
        "service_stats": MapShape(kind=MapKind.PERCPU_ARRAY, entries=TABLES, value_bytes=32),
        "instance_stats": MapShape(
            kind=MapKind.PERCPU_ARRAY, entries=INSTANCES, value_bytes=24
        ),
        "counters": MapShape(kind=MapKind.PERCPU_ARRAY, entries=32, value_bytes=8),
    }
)

Maps = Mapping[str, Map]
_PREFIX: Final = "maps-"


def layout(shapes: Mapping[str, MapShape] = SHAPES) -> str:
    """Return the name of the directory for maps of these shapes, in a bpffs.

    Another version of us with other shapes pins its maps beside ours, and neither takes those
    of the other for its own.
    """
    digest = hashlib.blake2b(repr(sorted(shapes.items())).encode(), digest_size=6)
    return _PREFIX + digest.hexdigest()


def open_maps(directory: Path, shapes: Mapping[str, MapShape] = SHAPES) -> dict[str, Map]:
    """Return the pinned maps; those that are not there are made and pinned. Else OSError."""
    home = directory / layout(shapes)
    home.mkdir(exist_ok=True)
    return {name: _open(home / name, shape) for name, shape in shapes.items()}


def _open(path: Path, shape: MapShape) -> Map:
    try:
        return Map.open(path, shape.inner)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
    made = Map.create(shape, path.name)
    made.pin(path)
    return made


def forget_maps(directory: Path, but: str = "") -> None:
    """Unpin all maps but those of one layout; programs that use them keep them alive."""
    for home in directory.glob(f"{_PREFIX}*"):
        if home.name != but:
            for pin in home.iterdir():
                pin.unlink(missing_ok=True)
            home.rmdir()


@contextmanager
def refusals() -> Iterator[None]:
    """Make errors of the kernel those of a port."""
    try:
        yield
    except OSError as error:
        raise UnavailableError(error.strerror or str(error)) from error
