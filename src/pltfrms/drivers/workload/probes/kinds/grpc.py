"""The health service of gRPC (grpc.health.v1), over as much HTTP/2 as one question needs.

RFC 9113, RFC 7541. What we say needs no compression. Of what is answered only the message
counts, so headers are skipped unread: a server that has no message has no health, either.
"""

import socket
import struct
from asyncio import StreamReader, StreamWriter
from typing import Final

from pltfrms.drivers.workload.probes.kinds.lines import connected
from pltfrms.model.addresses import Address
from pltfrms.model.running.machine import ProbeAnswer
from pltfrms.model.services.service import Probe

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME_BYTES: Final = 9
_FRAME_MAX: Final = 1 << 14
"""Longest payload that a server may send to who has not allowed more."""
_FRAMES_MAX: Final = 64
"""More than any answer to one question has."""
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_ACK, _END_STREAM, _END_HEADERS, _PADDED = 1, 1, 4, 8
_STREAM: Final = 1
_PREFIX: Final = 0x7F
"""A length from here on takes more than the seven bits of its first byte."""
_METHOD: Final = "/grpc.health.v1.Health/Check"
_MESSAGE: Final = struct.Struct("!?I")
"""Whether it is compressed, and how long it is."""
_PLAIN: Final = False
_STATUS_FIELD: Final = 8
_STATES: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_SERVING: Final = 1


async def ask_grpc(connection: socket.socket, probe: Probe, address: Address) -> ProbeAnswer:
    """Ask whether a service, or the whole server, is serving."""
    async with connected(connection, probe, address, "h2") as (reader, writer):
        writer.write(_PREFACE + _frame(_SETTINGS))
        writer.write(_frame(_HEADERS, _headers(probe, address), _END_HEADERS, _STREAM))
        writer.write(_frame(_DATA, _question(probe.grpc_service), _END_STREAM, _STREAM))
        message = await _message(reader, writer)
    name = f" for {probe.grpc_service}" if probe.grpc_service else ""
    if message is None:
        return ProbeAnswer(failure="not an answer in HTTP/2")
    if len(message) < _MESSAGE.size:
        return ProbeAnswer(failure=f"answers without a state{name}", unwell=True)
    state = _state(message[_MESSAGE.size :])
    if state == _SERVING:
        return ProbeAnswer()
    return ProbeAnswer(failure=f"answers {_STATES.get(state, state)}{name}", unwell=True)


def _frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return (
        struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload
    )


def _headers(probe: Probe, address: Address) -> bytes:
    host = f"[{address}]" if ":" in str(address) else str(address)
    scheme = "https" if probe.tls else "http"
    authority = (probe.tls.name if probe.tls else "") or f"{host}:{probe.port}"
    said = {
        ":method": "POST",
        ":scheme": scheme,
        ":path": _METHOD,
        ":authority": authority,
        "content-type": "application/grpc",
        "te": "trailers",
    }
    # Literal fields with new names, which nobody is to remember.
    return b"".join(b"\0" + _text(name) + _text(text) for name, text in said.items())


def _text(text: str) -> bytes:
    """Return a text as HPACK has it, without Huffman's code."""
    size = len(text)
    length = bytes([size]) if size < _PREFIX else bytes([_PREFIX]) + _varint(size - _PREFIX)
    return length + text.encode()


def _question(service: str) -> bytes:
    name = service.encode()
    body = b"\x0a" + _varint(len(name)) + name if name else b""
    return _MESSAGE.pack(_PLAIN, len(body)) + body


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


async def _message(reader: StreamReader, writer: StreamWriter) -> bytes | None:
    """Return what comes on our stream, as far as it goes; None if it is no HTTP/2."""
    heard = b""
    for number in range(_FRAMES_MAX):
        head = await reader.readexactly(_FRAME_BYTES)
        size = int.from_bytes(head[:3])
        kind, flags, stream = struct.unpack("!BBI", head[3:])
        if size > _FRAME_MAX or (number == 0 and kind != _SETTINGS):
            return None
        payload = await reader.readexactly(size)
        if kind in {_SETTINGS, _PING} and not flags & _ACK:
            writer.write(_frame(kind, payload if kind == _PING else b"", _ACK))
        elif kind == _DATA and stream == _STREAM:
            heard += _unpadded(payload, flags)
        ends = kind in {_DATA, _HEADERS} and flags & _END_STREAM
        if ends or kind in {_RESET, _GOAWAY} or _is_whole(heard):
            return heard
    return None


def _unpadded(payload: bytes, flags: int) -> bytes:
    return payload[1 : len(payload) - payload[0]] if flags & _PADDED and payload else payload


def _is_whole(heard: bytes) -> bool:
    if len(heard) < _MESSAGE.size:
        return False
    _, size = _MESSAGE.unpack_from(heard)
    return len(heard) >= _MESSAGE.size + int(size)


def _state(body: bytes) -> int:
    """Return the number in the first field of the message; left out, it is 0."""
    return body[1] if len(body) > 1 and body[0] == _STATUS_FIELD else 0
