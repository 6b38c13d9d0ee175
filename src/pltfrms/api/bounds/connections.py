"""Connections to a controller: how many, from whom, and how long they may do nothing.

A connection whose question has not come as a whole holds nothing but itself, and that for some
seconds. Where one more would be too many, the one of the same caller that has waited longest
without a question makes room for it: a caller takes away from itself alone.
"""

import asyncio
import contextlib
import functools
import math
import re
import resource
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from pltfrms.api.bounds.callers import Caller, CallerKind, Callers
from pltfrms.api.bounds.refusals import refusal
from pltfrms.api.bounds.shares import HEARTBEATS
from pltfrms.drivers.identity.tls import shown_by
from pltfrms.errors import PltfrmsError, TooLargeError, UsageError

CERTIFICATE: Final = "certificate"
"""Of the state of a connection by TLS: what the other end shows, or nothing."""
HEAD_BYTES_MAX: Final = 16 * 1024
"""Of the first line and all headers of a question."""
BODY_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of what a question may say that it brings; what is fitting is said by its lane."""
WHOLE_SECONDS: Final = 10.0
"""In which a question has come as a whole; also, how long a connection may have none."""
TAKEN_SECONDS: Final = 30.0
"""In which a client takes what it is answered, as far as that is more than a buffer."""
IDLE_SECONDS: Final = 5
"""After an answer. Our agents close what they do not use a second before."""

OF_EACH: Final = 256
"""Connections of one caller. Machines whose addresses are translated look like one caller."""
OF_STRANGERS: Final = 2048
"""Connections of all callers that are no machines of ours."""
_OURS: Final = 512
"""Descriptors for what we open ourselves: the store, looking glasses, files."""


_TOGETHER_BYTES: Final = 16 * 1024
"""Of an answer that is sent as one piece."""
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_NO_QUESTION: Final = "Invalid HTTP request received."
_SLOW_READER: Final = "slow reader"
_Headers = Sequence[tuple[bytes, bytes]]


class Held(Protocol):
    """A connection, as far as it takes room."""

    @property
    def asks(self) -> bool:
        """Whether a whole question has come that is not answered yet."""
        ...

    def end(self) -> None:
        """Close it now."""
        ...


class Connections:
    """The open connections by caller, of each the one first that has rested longest."""

    def __init__(
        self,
        callers: Callers,
        of_strangers: int = OF_STRANGERS,
        given_up: Callable[[str], object] = lambda _machine: None,
        answered: Callable[[str, float], object] = lambda _machine, _seconds: None,
    ) -> None:
        """None is open; there may be so many of all strangers together.

        `given_up` hears of each machine that did not wait for the answer to its heartbeat,
        `answered` how long (seconds) one waited for it.
        """
        self._callers = callers
        self._given_up = given_up
        self._answered = answered
        self._of_strangers = of_strangers
        self._open: dict[Caller, dict[Held, None]] = {}
        self._shaking: dict[tuple[str, int], tuple[Handshake, Caller]] = {}
        self._counts: Counter[CallerKind] = Counter()
        self.closed: Counter[str] = Counter()
        """Connections that we closed, by reason."""

    def comes(self, line: socket.socket, client: tuple[str, int], caller: Caller) -> bool:
        """Note who begins to shake hands by TLS; whether there is room for it."""
        handshake = Handshake(line, lambda: self.shaken(client))
        self._shaking[client] = handshake, caller
        if self.add(handshake, caller):
            return True
        self.shaken(client)
        return False

    def goes(self, client: tuple[str, int]) -> None:
        """Note that somebody is gone."""
        if self.shaken(client):
            self.closed["no handshake"] += 1

    def shaken(self, client: tuple[str, int] | None) -> bool:
        """Count somebody as shaking hands no more; whether that was so."""
        handshake, caller = self._shaking.pop(client, _NOBODY) if client else _NOBODY
        if handshake and caller:
            self.remove(handshake, caller)
        return handshake is not None

    def add(self, connection: "Held", caller: Caller) -> bool:
        """Note a new connection; whether there is room for it, be it by closing another."""
        own = self._open.setdefault(caller, {})
        own[connection] = None
        self._counts[caller.kind] += 1
        if caller.kind is CallerKind.LOCAL:
            return True
        if len(own) > OF_EACH:
            return self._make_room(own, connection, "too many of one caller")
        if caller.kind is CallerKind.STRANGER and self.count(caller.kind) > self._of_strangers:
            strangers = (
                some for who, some in self._open.items() if who.kind is CallerKind.STRANGER
            )
            return self._make_room(max(strangers, key=len), connection, "too many")
        return True

    def rested(self, connection: "Held", caller: Caller) -> None:
        """Note that a connection's question was answered just now."""
        own = self._open.get(caller, {})
        if connection in own:
            del own[connection]
            own[connection] = None

    def remove(self, connection: "Held", caller: Caller) -> None:
        """Forget a connection."""
        own = self._open.get(caller, {})
        if connection in own:
            del own[connection]
            self._counts[caller.kind] -= 1
        if not own:
            self._open.pop(caller, None)

    def left(self, caller: Caller, path: str) -> None:
        """Note that a caller is gone while we still made the answer to a question."""
        if caller.kind is CallerKind.MACHINE and path == HEARTBEATS:
            self._given_up(caller.name)

    def answered(self, caller: Caller, path: str, seconds: float) -> None:
        """Note for how long a whole question waited for its answer."""
        if caller.kind is CallerKind.MACHINE and path == HEARTBEATS:
            self._answered(caller.name, seconds)

    def count(self, kind: CallerKind) -> int:
        """Return how many connections callers of a kind have."""
        return self._counts[kind]

    def caller(
        self, transport: asyncio.BaseTransport, client: tuple[str, int] | None
    ) -> Caller:
        """Return who is at the other end."""
        end: socket.socket | None = transport.get_extra_info("socket")
        local = end is not None and end.family == socket.AF_UNIX
        return self._callers.behind(None if local else client or ("gone", 0))

    def _make_room(self, among: dict["Held", None], new: "Held", reason: str) -> bool:
        self.closed[reason] += 1
        for connection in among:
            if not connection.asks and connection is not new:
                connection.end()
                return True
        return False


_NOBODY: Final[tuple["Handshake | None", Caller | None]] = (None, None)


class Handshake:
    """A connection by TLS before hands are shaken: it takes room as any other."""

    asks = False

    def __init__(self, line: socket.socket, forget: Callable[[], object]) -> None:
        """Be of a connection; `forget` is called when it is ended for others."""
        self._line = line
        self._forget = forget

    def end(self) -> None:
        """Have asyncio see its end."""
        self._forget()
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)


class Together:
    """A transport that sends head and body of a small answer at once.

    Each of them by itself would be a packet, by TLS a record, and wake the client up.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Send by `transport`, at the latest in the next turn of `loop`."""
        self._transport = transport
        self._loop = loop
        self._parts = bytearray()

    def write(self, data: bytes) -> None:
        """Send data soon; what is large at once, for the client's pace is felt by it."""
        if data and not self._parts:
            self._loop.call_soon(self.flush)
        self._parts += data
        if len(self._parts) > _TOGETHER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what was written."""
        if self._parts:
            parts, self._parts = self._parts, bytearray()
            self._transport.write(parts)

    def close(self) -> None:
        """Send what was written, and close it then."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close it now."""
        self._parts.clear()
        self._transport.abort()

    def __getattr__(self, name: str) -> Any:
        """Be the transport in all else."""
        return getattr(self._transport, name)


class Bounded(HttpToolsProtocol):
    """HTTP/1.1 of uvicorn, with bounds of time and size for each connection.

    Where a question ends is found here, and its parser is shown no more than that: what comes
    after it waits for the answer, and is not read meanwhile.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        connections: Connections,
    ) -> None:
        """Be one of `connections`."""
        super().__init__(config, server_state, app_state, _loop)
        self._among = connections
        self._caller: Caller | None = None
        self._due: asyncio.TimerHandle | None = None
        self._until, self._reason = math.inf, ""
        """When it is ended, and why."""
        self._at_rest = True
        self._asked_at = 0.0
        self._heard = bytearray()
        """What has come, and was not shown to the parser."""
        self._body_left: int | None = None
        """Bytes of the body that are still to come; None: the head is."""
        self._wrong: PltfrmsError | None = None

    @property
    def asks(self) -> bool:
        """Whether a whole question has come that is not answered yet."""
        cycle = cast("RequestResponseCycle | None", self.cycle)  # until the first question
        return cycle is not None and not cycle.more_body and not cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; or end at once, if there is no room."""
        together = cast("asyncio.Transport", Together(transport, self.loop))
        super().connection_made(together)
        shown = shown_by(transport.get_extra_info("ssl_object"))
        self.app_state = {**self.app_state, CERTIFICATE: shown}
        self._among.shaken(self.client)
        if self._comes(self._among.caller(transport, self.client)):
            self._expect(WHOLE_SECONDS, "no question")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        if self.asks and self._caller is not None:
            self._among.left(self._caller, self.scope["path"])
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a part of a question, which is to be whole in time."""
        if self._at_rest:
            if not self._still_comes():
                return
            self._at_rest = False
            self._expect(WHOLE_SECONDS, "slow question")
        self._heard += data
        self._read()
        if self.asks:
            self._let_wait()
            self._asked_at = self._asked_at or self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; the parser leaves blanks behind its value."""
        super().on_header(name, value.rstrip(b" \t"))

    def on_headers_complete(self) -> None:
        """Begin to answer, unless it is a question that nobody may ask."""
        self._wrong = _what_is_wrong(self.headers, self.parser)
        if self._wrong:
            raise self._wrong
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Wait for the next question, which may be here already."""
        if self._caller is not None:
            self._among.rested(self, self._caller)
            if self._asked_at:  # else it was refused before it was whole
                seconds, self._asked_at = self.loop.time() - self._asked_at, 0.0
                self._among.answered(self._caller, self.scope["path"], seconds)
        self._at_rest = True
        cast("Together", self.transport).flush()
        self._expect(WHOLE_SECONDS, "no question")
        super().on_response_complete()
        if self._heard and not self.transport.is_closing():
            self._read()
        if self.asks:
            self._at_rest = False
            self._let_wait()
            self._asked_at = self.loop.time()

    def pause_writing(self) -> None:
        """Wait for the client to read, for some time."""
        super().pause_writing()
        self._expect(TAKEN_SECONDS, _SLOW_READER)

    def resume_writing(self) -> None:
        """Go on: it reads."""
        super().resume_writing()
        if self.asks:
            self._stop_waiting()

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong with what is no question, and close the connection."""
        answer = refusal(self._wrong or UsageError(msg))
        headers = [*answer.raw_headers, (b"connection", b"close")]
        lines = (b"%s: %s\r\n" % header for header in headers)
        head = b"".join([STATUS_LINE[answer.status_code], *lines, b"\r\n"])
        self.transport.write(head + bytes(answer.body))
        self._among.closed["not a question"] += 1
        self.transport.close()

    def end(self) -> None:
        """Close it now, whatever is still to be sent."""
        self._leave()
        self.transport.abort()

    def _read(self) -> None:
        """Take what has come, until a question waits for its answer."""
        self._unset_keepalive_if_required()
        try:
            while self._heard and not self.asks and not self.transport.is_closing():
                if self._body_left is None and not self._read_head():
                    return
                self._read_body()
        except httptools.HttpParserError:
            self._heard.clear()
            self.send_400_response(_NO_QUESTION)
            return
        if self._heard:
            self.flow.pause_reading()

    def _read_head(self) -> bool:
        """Show the parser a head; return whether it has come as a whole."""
        end = _HEAD_END.search(self._heard, 0, HEAD_BYTES_MAX)
        if end is None:
            if len(self._heard) >= HEAD_BYTES_MAX:
                raise httptools.HttpParserError(_NO_QUESTION)
            return False
        before = self.cycle
        self._show(end.end())
        if self.cycle is before:  # the parser sees another end of it
            raise httptools.HttpParserError(_NO_QUESTION)
        self._body_left = _length_of(self.headers)
        return True

    def _read_body(self) -> None:
        """Show the parser what has come of the body."""
        part = min(self._body_left or 0, len(self._heard))
        if part:
            self._show(part)
        self._body_left = (self._body_left or 0) - part or None

    def _show(self, count: int) -> None:
        """Show the parser so many bytes of what has come."""
        part = bytes(self._heard[:count])
        del self._heard[:count]
        try:
            self.parser.feed_data(part)
        except httptools.HttpParserUpgrade:  # it is answered as if nobody had asked for that
            self.parser = httptools.HttpRequestParser(self)

    def _comes(self, caller: Caller) -> bool:
        """Be a connection of a caller's; or end, if there is no room for it."""
        self._caller = caller
        self.app_state["caller"] = caller
        room = self._among.add(self, caller)
        if not room:
            self.end()
        return room

    def _still_comes(self) -> bool:
        """Look anew who it is: the platform that we know may be another one since."""
        before = self._caller
        if before is None or before.kind is CallerKind.LOCAL:
            return True
        now = self._among.caller(self.transport, self.client)
        if now == before:
            return True
        self._among.remove(self, before)
        return self._comes(now)

    def _leave(self) -> None:
        self._stop_waiting()
        if self._due is not None:
            self._due.cancel()
        if self._caller is not None:
            self._among.remove(self, self._caller)

    def _expect(self, seconds: float, reason: str) -> None:
        """End it after some time, unless something else is expected by then.

        A timer for each question would cost more than it: one that is early is set anew.
        """
        self._until, self._reason = self.loop.time() + seconds, reason
        if self._due is None or self._due.when() > self._until:
            self._set_timer()

    def _let_wait(self) -> None:
        """Answer in whatever time it takes; but who has not taken what he was sent has less."""
        if not self.flow.write_paused:
            self._stop_waiting()
        elif self._reason != _SLOW_READER:
            self._expect(TAKEN_SECONDS, _SLOW_READER)

    def _stop_waiting(self) -> None:
        self._until = math.inf

    def _set_timer(self) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due = self.loop.call_at(self._until, self._look)

    def _look(self) -> None:
        self._due = None
        if self.loop.time() >= self._until:
            self._among.closed[self._reason] += 1
            self.end()
        elif self._until < math.inf:
            self._set_timer()


def _what_is_wrong(
    headers: _Headers, parser: httptools.HttpRequestParser
) -> PltfrmsError | None:
    """Return why a question is refused for its head.

    A body in parts could come one byte at a time, each of which costs us as much as a thousand.
    Where another protocol is asked for the parser sees no body, but more questions in it.
    """
    version, length = parser.get_http_version(), _length_of(headers)
    names = [name for name, _ in headers]
    if b"transfer-encoding" in names:
        return UsageError(
            "say how long the request is (Content-Length), and send it as a whole"
        )
    if names.count(b"host") != 1 and (version == "1.1" or b"host" in names):
        return UsageError(_NO_QUESTION)
    if length and parser.should_upgrade():
        return UsageError("ask for another protocol (Upgrade, CONNECT) without a body")
    if length > BODY_BYTES_MAX:
        return TooLargeError(f"the request is larger than {BODY_BYTES_MAX} bytes")
    return None


def _length_of(headers: _Headers) -> int:
    """Return how long a body is, by a head in which the parser has found nothing wrong."""
    return next((int(value) for name, value in headers if name == b"content-length"), 0)


def bounded_by(connections: Connections) -> type[asyncio.Protocol]:
    """Return what uvicorn makes of each connection."""
    make: Callable[..., asyncio.Protocol] = functools.partial(Bounded, connections=connections)
    return cast("type[asyncio.Protocol]", make)


def allow_descriptors() -> int:
    """Let this process have the descriptors that it may need.

    Return how many strangers may then be connected, so that there are some left for others.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * OF_STRANGERS + _OURS
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(OF_STRANGERS, max(soft - _OURS, 0) // 2)
