"""A BGP speaker that says exactly the bytes it is given, however wrong they are (RFC 4271).

    speaker.py LOCAL REMOTE ASN [role=N] [hold=SECONDS] [HEX...]

Opens a session, sends one UPDATE per HEX body, stays for `hold` seconds and prints one line per
message that it gets: its type, and of a NOTIFICATION the code and subcode.
"""

import socket
import struct
import sys
import time

_OPEN, _UPDATE, _NOTIFICATION, _KEEPALIVE = 1, 2, 3, 4
_NAMES = {_OPEN: "open", _UPDATE: "update", _NOTIFICATION: "notification", _KEEPALIVE: "alive"}


def _message(kind: int, body: bytes = b"") -> bytes:
    return b"\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body


def _open(asn: int, address: str, role: int | None) -> bytes:
    capabilities = struct.pack("!BBHBB", 1, 4, 1, 0, 1) + struct.pack("!BBI", 65, 4, asn)
    if role is not None:
        capabilities += struct.pack("!BBB", 9, 1, role)
    parameters = struct.pack("!BB", 2, len(capabilities)) + capabilities
    small = asn if asn < 65536 else 23456
    fixed = struct.pack("!BHH4sB", 4, small, 90, socket.inet_aton(address), len(parameters))
    return _message(_OPEN, fixed + parameters)


def _read(connection: socket.socket) -> tuple[int, bytes] | None:
    header = _exactly(connection, 19)
    if header is None:
        return None
    length, kind = struct.unpack("!16xHB", header)
    body = _exactly(connection, length - 19)
    return None if body is None else (kind, body)


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            return None
        data += part
    return data


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _say(kind: int, body: bytes) -> None:
    detail = f" {body[0]}/{body[1]}" if kind == _NOTIFICATION else ""
    _print(f"{_NAMES.get(kind, kind)}{detail}")


def _converse(connection: socket.socket, bodies: list[bytes], seconds: float) -> None:
    end = time.monotonic() + seconds
    sent = False
    while time.monotonic() < end:
        connection.settimeout(max(0.01, end - time.monotonic()))
        message = _read(connection)
        if message is None:
            _print("closed")
            return
        _say(*message)
        if message[0] == _OPEN:
            connection.sendall(_message(_KEEPALIVE))
        elif message[0] == _KEEPALIVE and not sent:
            sent = True
            for body in bodies:
                connection.sendall(_message(_UPDATE, body))


def main(local: str, remote: str, asn: str, *words: str) -> None:
    """Do what the module says."""
    options = dict(word.split("=", 1) for word in words if "=" in word)
    bodies = [bytes.fromhex(word) for word in words if "=" not in word]
    role = int(options["role"]) if "role" in options else None
    with socket.create_connection((remote, 179), 10, (local, 0)) as connection:
        connection.sendall(_open(int(asn), local, role))
        try:
            _converse(connection, bodies, float(options.get("hold", "3")))
        except TimeoutError:
            _print("still up")
        except ConnectionError:
            _print("closed")


if __name__ == "__main__":
    main(*sys.argv[1:])
