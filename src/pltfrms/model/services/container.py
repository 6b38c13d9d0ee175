"""What an instance is if it is no process of ours: an image, or what others start."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pltfrms.model.addresses import Address

CAPABILITIES: Final = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
)
"""All that can be asked for: power over the container's own files and processes."""
ULIMITS: Final = ("core", "fsize", "memlock", "nofile", "nproc", "stack")
"""Limits of each process that can be set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """An image by its digest, and how its program is run."""

    image: str
    """Such as `registry.example/shop/web@sha256:…`; a tag, which could be moved, is in
    files alone."""
    command: tuple[str, ...] = ()
    """In place of the image's entrypoint, and of its arguments; empty: the image's."""
    args: tuple[str, ...] = ()
    """In place of the image's arguments; empty: the image's."""
    user: str = ""
    """`UID` or `UID:GID`; empty: the image's."""
    read_only: bool = True
    """Whether its root cannot be written to."""
    capabilities: tuple[str, ...] = ()
    """Of `CAPABILITIES`; all others are dropped."""
    ulimits: tuple[tuple[str, int], ...] = ()
    """By name, of `ULIMITS`."""


def tag_of(image: str) -> str:
    """Return the tag by which an image is named; empty: it is not named by one."""
    return "" if "@" in image else image.rpartition("/")[2].partition(":")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What others start on a node, in its own namespaces: it is probed and announced."""

    unit: str = ""
    """The unit of systemd that must be active, such as `unbound.service`; empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """Where what others start is, if not in the node's own network namespace."""

    addresses: tuple[Address, ...]
    """Of a machine or a container that the node reaches without a gateway, one per family."""
    node: str = ""
    """Empty: of every node."""


def reached_at(places: Iterable[Behind], node: str) -> tuple[Address, ...]:
    """Return where it is behind a node; empty: in the node's own network namespace."""
    return next((each.addresses for each in places if each.node in {node, ""}), ())
