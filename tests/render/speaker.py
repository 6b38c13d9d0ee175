"""A BGP speaker that says what no router would: sets in AS paths, and too many prefixes.

`python speaker.py OURS THEIRS ASN COUNT...`: connects from OURS to THEIRS again and again, and
announces COUNT prefixes (31.128.N.0/24): the first COUNT in its first session, and so on.
Then 31.127.0.0/24, whose path ends with a set.
"""

import contextlib
import socket
import struct
import sys
import time

_OPEN, _UPDATE, _KEEPALIVE = 1, 2, 4


def _message(kind: int, body: bytes = b"") -> bytes:
    return b"\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body


def _open(asn: int, router: str) -> bytes:
    ipv4, long_asn = struct.pack("!BBHBB", 1, 4, 1, 0, 1), struct.pack("!BBI", 65, 4, asn)
    option = struct.pack("!BB", 2, len(ipv4 + long_asn)) + ipv4 + long_asn
    head = struct.pack("!BHH", 4, asn, 90) + socket.inet_aton(router)
    return _message(_OPEN, head + bytes([len(option)]) + option)


def _update(prefix: bytes, segments: bytes, nexthop: str) -> bytes:
    attributes = b"".join(
        struct.pack("!BBB", 0x40, code, len(value)) + value
        for code, value in ((1, b"\x00"), (2, segments), (3, socket.inet_aton(nexthop)))
    )
    body = struct.pack("!HH", 0, len(attributes)) + attributes
    return _message(_UPDATE, body + bytes([24]) + prefix)


def _connect(ours: str, theirs: str, asn: int) -> socket.socket:
    """Return a connection on which the other side has said OPEN."""
    wire = socket.create_connection((theirs, 179), timeout=30, source_address=(ours, 0))
    wire.sendall(_open(asn, ours))
    if wire.recv(4096)[18:19] != bytes([_OPEN]):
        wire.close()
        raise ConnectionRefusedError
    return wire


def _announce(wire: socket.socket, ours: str, asn: int, count: int) -> None:
    """Say it all, then hold the session until the other side ends it."""
    wire.sendall(_message(_KEEPALIVE))
    path = struct.pack("!BBI", 2, 1, asn)
    for number in range(count):
        wire.sendall(_update(bytes([31, 128, number]), path, ours))
    a_set = struct.pack("!BBII", 1, 2, 3320, 1299)
    wire.sendall(_update(bytes([31, 127, 0]), path + a_set, ours))
    while wire.recv(4096):
        wire.sendall(_message(_KEEPALIVE))


def main() -> None:
    """Speak for ever."""
    ours, theirs, asn, *counts = sys.argv[1:]
    while True:
        with contextlib.suppress(OSError), _connect(ours, theirs, int(asn)) as wire:
            count, counts = counts[0], counts[1:] or counts
            _announce(wire, ours, int(asn), int(count))
        time.sleep(0.2)


if __name__ == "__main__":
    main()
