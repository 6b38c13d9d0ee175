"""What the kernel says of a network device by an ioctl, which is the fastest way to ask."""

import fcntl
import socket
import struct
from typing import Final

UP: Final = 0x1
RUNNING: Final = 0x40
_SIOCGIFFLAGS, _SIOCGIFMTU = 0x8913, 0x8921


def flags_of(device: str) -> int:
    """Return the flags of a device; OSError if there is none."""
    return _word(device, _SIOCGIFFLAGS, "H")


def mtu_of(device: str) -> int:
    """Return the MTU of a device; OSError if there is none."""
    return _word(device, _SIOCGIFMTU, "i")


def _word(device: str, question: int, code: str) -> int:
    """Return one number that the kernel knows of a device, of this `struct` code."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        request = struct.pack("16s16x", device.encode())
        answer = fcntl.ioctl(asker.fileno(), question, request)
    word: int = struct.unpack_from(code, answer, 16)[0]
    return word


def why_unusable(device: str) -> str:
    """Return why no packet can leave through a device; an ioctl, because it is the fastest."""
    try:
        flags = flags_of(device)
    except OSError:
        return "no such device"
    if not flags & UP:
        return "down"
    return "" if flags & RUNNING else "no carrier"


def here_end(device: str) -> str:
    """Return the name of the other end of the veth of what runs in this namespace itself."""
    return f"{device}h"
