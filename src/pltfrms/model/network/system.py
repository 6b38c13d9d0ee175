"""What an operating system has beside its ports, as far as a machine of ours needs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A program that waits for somebody on a port."""

    protocol: str
    """`tcp` or `udp`."""
    port: int
    program: str = ""
    """Empty: nobody says which."""
    ours: bool = False


@dataclass(frozen=True, slots=True)
class SysctlLine:
    """What a file sets at each boot."""

    file: str
    name: str
    """Below /proc/sys, with `/`."""
    value: str


@dataclass(frozen=True, slots=True)
class LocalWay:
    """Where another machine of ours must answer."""

    port: str
    machine: str
    address: IPv6Address
    """Link-local."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSystem:
    """What was found; None: nobody could say."""

    modules: Mapping[str, bool] = field(default_factory=dict)
    """Parts of the kernel by name, and whether they are there; others are not known."""
    synchronized: bool | None = None
    """Whether something keeps the clock right."""
    cores: int = 0
    memory_bytes: int = 0
    free_bytes: int | None = None
    """Of the disk that our state is on."""
    sync_ms: float | None = None
    """How long this disk takes to keep a small write, 99 of 100 times at most."""
    controllers: frozenset[str] | None = None
    """Of cgroups of version 2, for all; None: not known, or there is only version 1."""
    listeners: tuple[Listener, ...] = ()
    sysctls: tuple[SysctlLine, ...] = ()
    """In the order in which they are set."""
    dropping: tuple[str, ...] | None = None
    """Chains of others that drop what they do not know, such as `inet filter input`."""
    silent: tuple[tuple[str, str], ...] = ()
    """Ports with carrier on which a machine of ours did not answer: (port, machine)."""
    swallowed: tuple[tuple[str, str, int], ...] = ()
    """Packets in packets that one who answers does not get: (port, machine, protocol)."""
