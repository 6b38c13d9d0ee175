"""Send many UDP packets of one flow: `python udp_sender.py ADDRESS PORT COUNT`; stdlib only."""

import ctypes
import socket
import sys

_BATCH = 64
_LIBC = ctypes.CDLL(None, use_errno=True)


class _Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_char_p), ("length", ctypes.c_size_t)]


class _Message(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iovec", ctypes.POINTER(_Iovec)),
        ("iovec_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("sent", ctypes.c_uint32),
    ]


def main() -> None:
    address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.connect((address, port))
    payload = _Iovec(b"x" * 32, 32)
    batch = (_Message * _BATCH)()
    for message in batch:
        message.iovec, message.iovec_count = ctypes.pointer(payload), 1
    left = count
    while left:
        sent = _LIBC.sendmmsg(sender.fileno(), batch, min(left, _BATCH), 0)
        if sent < 0:
            raise OSError(ctypes.get_errno(), "sendmmsg")
        left -= sent


if __name__ == "__main__":
    main()
