"""Network interfaces of this process's network namespace.

Faults use the ioctls: they take microseconds. Making interfaces uses the text of `ip -batch`,
which can be printed and read.
"""

import fcntl
import socket
import struct
import subprocess

from pltfrms.errors import UnavailableError

_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_SIOCBRADDIF, _SIOCBRDELIF = 0x89A2, 0x89A3
_IFF_UP = 1
_TOOL_SECONDS = 60
"""Longer than any tool takes on a machine that is busy with many labs."""


def set_up(interface: str) -> None:
    """Switch an interface on: the far end of its veth gets carrier.

    Raises:
        OSError: there is no such interface.
    """
    _change_flags(interface, on=_IFF_UP, off=0)


def set_down(interface: str) -> None:
    """Switch an interface off: the far end of its veth loses carrier.

    Raises:
        OSError: there is no such interface.
    """
    _change_flags(interface, on=0, off=_IFF_UP)


def join_bridge(bridge: str, interface: str) -> None:
    """Make an interface a port of a bridge.

    Raises:
        OSError: no such interface, or it is a port already.
    """
    _bridge_ioctl(_SIOCBRADDIF, bridge, interface)


def leave_bridge(bridge: str, interface: str) -> None:
    """Take an interface out of its bridge; both stay up.

    Raises:
        OSError: no such interface, or it is no port of that bridge.
    """
    _bridge_ioctl(_SIOCBRDELIF, bridge, interface)


def run_batch(lines: list[str] | tuple[str, ...], *, tool: str = "ip") -> None:
    """Run lines of `ip -batch` (or `tc -batch`) here.

    Raises:
        UnavailableError: a line failed; the message has what the tool said.
    """
    if not lines:
        return
    done = run_now((tool, "-batch", "-"), "\n".join(lines) + "\n")
    if done.returncode:
        raise UnavailableError(f"{tool} -batch failed: {done.stderr.strip()[:500]}")


def run_now(command: tuple[str, ...], text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a tool to its end, and wait for it, but not for ever.

    Raises:
        UnavailableError: it takes longer than a minute, and was killed.
        OSError: there is no such tool.
    """
    try:
        return subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TOOL_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        why = f"`{' '.join(command)}` took longer than {_TOOL_SECONDS} s"
        raise UnavailableError(why) from error


def _change_flags(interface: str, *, on: int, off: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        name = interface.encode()
        answer = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sh22x", name, 0))
        flags = struct.unpack_from("16sh", answer)[1]
        wanted = struct.pack("16sh22x", name, (flags | on) & ~off)
        fcntl.ioctl(control, _SIOCSIFFLAGS, wanted)


def _bridge_ioctl(request: int, bridge: str, interface: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        index = socket.if_nametoindex(interface)
        fcntl.ioctl(control, request, struct.pack("16si20x", bridge.encode(), index))
