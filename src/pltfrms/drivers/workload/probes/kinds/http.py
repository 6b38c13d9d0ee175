"""A question in HTTP/1.1, and what is expected of its answer."""

import contextlib
import json
import re
import socket
from asyncio import StreamReader
from typing import Final

import h11

from pltfrms.drivers.workload.probes.kinds.lines import connected, first_words
from pltfrms.model.addresses import Address
from pltfrms.model.running.machine import ProbeAnswer
from pltfrms.model.services.probes import ProbeHttp
from pltfrms.model.services.service import Probe

_EPOCH: Final = re.compile(rb"[0-9]{1,18}")
_EPOCH_SAID_MAX: Final = 10**18
_USUAL: Final = range(200, 400)
_BODY_BYTES: Final = 1 << 16
_READ_BYTES: Final = 1 << 14
_INSTANCE: Final = b"pltfrms-instance"
_ID: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,99}")
_PORTS: Final = {False: 80, True: 443}


async def ask_http(connection: socket.socket, probe: Probe, address: Address) -> ProbeAnswer:
    """Ask for a status and a text in the body."""
    wanted = probe.http or ProbeHttp()
    words = h11.Connection(h11.CLIENT)
    async with connected(connection, probe, address, "http/1.1") as (reader, writer):
        try:
            writer.write(words.send(_request(wanted, probe, address)) or b"")
            words.send(h11.EndOfMessage())
            answer = await _head(words, reader)
            status = answer.status_code
            well = status in (wanted.status or _USUAL)
            if well and not wanted.body and not probe.epoch.startswith("."):
                return ProbeAnswer(epoch=_epoch(probe.epoch, answer, b""), by=_by(answer))
            body = await _body(words, reader)
        except h11.ProtocolError as error:
            return ProbeAnswer(failure=f"not an HTTP answer: {error}")
    said = f"{probe.path} answers {status}" + (
        f": {first}" if (first := first_words(body)) else ""
    )
    if not well:
        return ProbeAnswer(failure=said, unwell=True)
    if wanted.body.encode() in body:
        return ProbeAnswer(epoch=_epoch(probe.epoch, answer, body), by=_by(answer))
    return ProbeAnswer(failure=f"{said}, without {wanted.body!r}", unwell=True)


def _request(wanted: ProbeHttp, probe: Probe, address: Address) -> h11.Request:
    host = wanted.host or (f"[{address}]" if ":" in str(address) else str(address))
    usual = wanted.host or probe.port == _PORTS[probe.tls is not None]
    said = {name.lower() for name, _ in wanted.headers}
    ours = (("Host", host if usual else f"{host}:{probe.port}"), ("Connection", "close"))
    headers = [each for each in ours if each[0].lower() not in said]
    return h11.Request(method="GET", target=probe.path, headers=[*headers, *wanted.headers])


async def _next(words: h11.Connection, reader: StreamReader) -> object:
    while (event := words.next_event()) is h11.NEED_DATA:
        part = await reader.read(_READ_BYTES)
        if not part and words.their_state is h11.SEND_RESPONSE:
            raise EOFError
        words.receive_data(part)
    return event


async def _head(words: h11.Connection, reader: StreamReader) -> h11.Response:
    while True:
        if isinstance(event := await _next(words, reader), h11.Response):
            return event


def _epoch(where: str, answer: h11.Response, body: bytes) -> int | None:
    """Return the epoch that an answer says; None: none, or what it says is no such number."""
    if where.startswith("."):
        with contextlib.suppress(ValueError, RecursionError):
            said = json.loads(body)
            found = said.get(where[1:]) if isinstance(said, dict) else None
            if type(found) is int and 0 <= found <= _EPOCH_SAID_MAX:
                return found
        return None
    name = where.lower().encode()
    said = {value for header, value in answer.headers if header == name}
    text = said.pop() if len(said) == 1 else b""  # of two that differ none is right
    return int(text) if _EPOCH.fullmatch(text) else None


def _by(answer: h11.Response) -> str:
    """Return which instance answers, if it says so."""
    said = dict(answer.headers).get(_INSTANCE, b"").decode("latin-1")
    return said if _ID.fullmatch(said) else ""


async def _body(words: h11.Connection, reader: StreamReader) -> bytes:
    """Return the body, as much of it as is looked at, or as has come of one that is cut off."""
    body = b""
    while len(body) < _BODY_BYTES:
        try:
            event = await _next(words, reader)
        except h11.ProtocolError:
            break
        if not isinstance(event, h11.Data):
            break
        body += event.data
    return body[:_BODY_BYTES]
