"""The picture of the platform over HTTP, as `pltfrms.model.messages.picture` documents it.

It is drawn once for all who look, while somebody does: soon after something has changed, twice
a second at most while it shows something new, and for no more than a tenth of the time. Streams
are fed from that by one task; none holds up another.
"""

import asyncio
import hashlib
import zlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Annotated, Final

import structlog
from fastapi import FastAPI, Header, Query, Response
from fastapi.responses import StreamingResponse
from starlette.types import Send

from pltfrms.api.bounds.bodies import JSON
from pltfrms.api.routes.verdicts import Verdicts
from pltfrms.codec import encode
from pltfrms.controller.asked.operations import Operations
from pltfrms.errors import PltfrmsError, UnavailableError
from pltfrms.model.messages.api import Event
from pltfrms.model.messages.picture import Picture, Tick
from pltfrms.seen.patch import patch_of
from pltfrms.seen.picture import picture_of

_log = structlog.get_logger(__name__)

READERS_MAX: Final = 200
"""Streams of one controller."""
_BEHIND_MAX: Final = 64
"""Messages that wait for a reader; who does not take them begins anew."""
_PAUSE_SECONDS: Final = 0.5
"""Between two messages of a kind, and two drawings; but what has changed after a drawing that
had nothing new is drawn at once."""
_LOOK_SECONDS: Final = 0.1
"""So soon it is seen that something has changed."""
_IDLE_SECONDS: Final = 1.0
"""So often it is drawn where nothing has: silence alone makes a machine late."""
_PATIENCE: Final = 10
"""Drawing takes no more than so small a part of the time."""
_TICK_SECONDS: Final = 2.0
_OLD_SECONDS: Final = 10.0
"""Who looks at a picture that cannot be drawn anew for so long is told so."""
_DIGITS_MAX: Final = 18
_EVENTS_FIRST: Final = 100
"""Of the newest, for who comes without having read any."""
_STREAM: Final = "text/event-stream"
_GZIP_HEAD: Final = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 4, 255))
"""RFC 1952: deflate, no name, no time, made quickly, of no system."""
_LAST_BLOCK: Final = b"\x03\x00"
"""An empty one, after which no other comes."""
_TAGS = Annotated[str, Header()]
_Last = Annotated[str, Header(alias="last-event-id")]
_ForMs = Annotated[int, Query(ge=0, le=86_400_000)]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One picture, ready to be sent."""

    picture: Picture
    text: bytes
    tag: str
    """Strong validator (RFC 9110, section 8.8.3)."""
    deflated: bytes
    """The text as `_deflated` returns it."""

    @property
    def packed(self) -> bytes:
        """The text as gzip has it: compressed once, for streams as well."""
        return _GZIP_HEAD + self.deflated + _gzip_end(zlib.crc32(self.text), len(self.text))


@dataclass(frozen=True, slots=True)
class _Message:
    """A server-sent event, and the same as a part of any compressed stream."""

    plain: bytes
    packed: bytes


@dataclass(eq=False, slots=True)
class _Reader:
    """One stream, and what it has not taken yet."""

    packs: bool = False
    """Whether it is sent compressed."""
    waiting: deque[_Message] = field(default_factory=deque)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    lost: str = ""
    """Why it gets nothing any more."""

    def give(self, *messages: _Message) -> None:
        """Have something sent, unless too much waits already."""
        if len(self.waiting) + len(messages) > _BEHIND_MAX:
            self.waiting.clear()
            self.end("this reader is too slow")
        elif not self.lost:
            self.waiting.extend(messages)
        self.more.set()

    def end(self, why: str) -> None:
        """Give nothing any more."""
        self.lost = self.lost or why
        self.more.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield what is given, until it is lost."""
        if not self.packs:
            async for message in self._given():
                yield message.plain
            return
        yield _GZIP_HEAD
        check = size = 0
        async for message in self._given():
            yield message.packed
            check, size = zlib.crc32(message.plain, check), size + len(message.plain)
        yield _gzip_end(check, size)

    async def _given(self) -> AsyncIterator[_Message]:
        while True:
            while self.waiting:
                yield self.waiting.popleft()
            if self.lost:
                yield _message("goodbye", encode(self.lost))
                return
            self.more.clear()
            await self.more.wait()


@dataclass(slots=True)
class _Told:
    """What every reader has been told: all go on from there, whenever they came."""

    drawn: Drawn
    events: int
    """Up to which sequence."""
    at: float = 0.0
    """When (monotonic seconds) there was something new."""


class Pictures:
    """Draws, and feeds who looks."""

    def __init__(self, operations: Operations, verdicts: Verdicts) -> None:
        """Nobody looks yet."""
        self._operations = operations
        self._controller = operations.controller
        self._verdicts = verdicts
        self._turn = asyncio.Lock()
        self._drawn: Drawn | None = None
        self._drawn_of = -1
        """The revision of the store that it shows at least."""
        self._next_at = 0.0
        self._soon_at = 0.0
        """When what has changed is drawn: sooner after a picture that had nothing new."""
        self._readers: set[_Reader] = set()
        self._told: _Told | None = None
        """None: nobody is fed."""
        self._feeding: asyncio.Task[None] | None = None

    async def now(self) -> Drawn:
        """Return the newest picture; UnavailableError: nothing is known of the platform yet."""
        clock = self._controller.clock
        async with self._turn:
            if self._drawn is None or clock.monotonic() >= self._due_at:
                began, revision = clock.monotonic(), self._operations.newest_revision
                last, self._drawn = self._drawn, await self._draw(self._drawn)
                self._drawn_of = revision
                rest = _PATIENCE * (clock.monotonic() - began)
                self._next_at = began + max(_PAUSE_SECONDS, rest)
                self._soon_at = began + rest if self._drawn is last else self._next_at
            return self._drawn

    @property
    def _due_at(self) -> float:
        """When (monotonic seconds) to draw again."""
        changed = self._drawn_of != self._operations.newest_revision
        return self._soon_at if changed else self._next_at

    async def _draw(self, last: Drawn | None) -> Drawn:
        view = self._operations.snapshot(stale=True)
        view = replace(view, redundancy=await self._verdicts.of(view))
        snapshot, now_ms = view.last_known, self._controller.clock.unix_ms()
        size = len(snapshot.allocations) + len(snapshot.statuses)
        work = partial(picture_of, view, now_ms, last.picture if last else None)
        picture = await self._controller.aside.run(size, work)
        if last and picture == last.picture:
            return last
        text = encode(picture)
        tag = f'"{hashlib.sha256(text).hexdigest()[:24]}"'
        return Drawn(picture, text, tag, _deflated(text))

    # ---- streams ---------------------------------------------------------------------------

    async def stream(
        self, after: int, seconds: float = 0.0, *, packs: bool = False
    ) -> AsyncGenerator[bytes]:
        """Return what a reader is sent who has read the events up to a sequence.

        It ends after some time, if there is any. It is compressed if the reader `packs`.

        Raises:
            UnavailableError: too many read already, or nothing is known yet.
        """
        if len(self._readers) >= READERS_MAX:
            raise UnavailableError(
                f"{READERS_MAX} others look at this controller already; ask another controller"
            )
        return self._fed(_Reader(packs), await self.now(), after, seconds)

    async def _fed(
        self, reader: _Reader, drawn: Drawn, after: int, seconds: float
    ) -> AsyncGenerator[bytes]:
        with self._reading(reader, seconds):
            told = self._begin(drawn)
            unread = _event_messages(self._unread(told, after))
            reader.give(_whole(told.drawn), *unread)
            async for message in reader:
                yield message

    @contextmanager
    def _reading(self, reader: _Reader, seconds: float) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        ending = loop.call_later(seconds, reader.end, "as was asked") if seconds else None
        self._readers.add(reader)
        try:
            yield
        finally:
            self._readers.discard(reader)
            if ending:
                ending.cancel()

    def _begin(self, drawn: Drawn) -> _Told:
        """Have readers fed, with what is newer than `drawn` if none were."""
        if self._told is None:
            self._told = _Told(drawn, self._operations.newest_event)
            self._feeding = asyncio.create_task(self._feed(self._told))
        return self._told

    async def _feed(self, told: _Told) -> None:
        """Tell all readers what is new, as long as there are any."""
        clock = self._controller.clock
        ticked_at, drawn_at = 0.0, clock.monotonic()
        try:
            while self._readers:
                try:
                    drawn, drawn_at = await self.now(), clock.monotonic()
                except PltfrmsError:
                    if clock.monotonic() - drawn_at > _OLD_SECONDS:
                        raise
                    drawn = told.drawn
                messages = self._news(told, drawn)
                told.at = clock.monotonic() if messages else told.at
                if clock.monotonic() - ticked_at >= _TICK_SECONDS:
                    ticked_at = clock.monotonic()
                    messages.append(_tick(told.drawn, clock.unix_ms()))
                self._give(messages)
                await self._until_news(told)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever
            _log.error("picture cannot be drawn", exc_info=error)
        finally:
            self._told = None
            for reader in self._readers:
                reader.end("this controller cannot draw the picture any more")

    async def _until_news(self, told: _Told) -> None:
        """Wait until there may be something new to tell: not for long."""
        clock, operations = self._controller.clock, self._operations
        idle_at = clock.monotonic() + _IDLE_SECONDS
        while (now := clock.monotonic()) < idle_at:
            await clock.sleep(_LOOK_SECONDS)
            changed = self._drawn_of != operations.newest_revision and now >= self._due_at
            drawn = self._drawn is not told.drawn  # for somebody who asked once
            happened = told.events != operations.newest_event
            if (changed or drawn or happened) and now - told.at >= _PAUSE_SECONDS:
                return

    def _give(self, messages: Iterable[_Message]) -> None:
        for reader in tuple(self._readers):
            reader.give(*messages)
            if reader.lost:  # its connection may hang for a while
                self._readers.discard(reader)

    def _news(self, told: _Told, drawn: Drawn) -> list[_Message]:
        """Return what says what is new, which is told from now on."""
        messages = [_difference(told.drawn, drawn)] if drawn is not told.drawn else []
        newest = self._operations.newest_event
        # A store that was set back counts from an earlier number.
        messages += _event_messages(self._kept(told.events if newest >= told.events else 0))
        told.drawn, told.events = drawn, newest
        return messages

    def _unread(self, told: _Told, after: int) -> tuple[Event, ...]:
        """Return what a new reader has not read of what all others have been told.

        A number that is higher is of a past that was lost, or of a controller that knows more.
        """
        events = self._kept(after if after <= told.events else 0)
        return tuple(each for each in events if each.sequence <= told.events)

    def _kept(self, after: int) -> tuple[Event, ...]:
        """Return the events after a sequence; after none, only the newest ones."""
        events = self._operations.kept_events(after)
        return events if after else events[-_EVENTS_FIRST:]


class Sent(StreamingResponse):
    """What a reader is sent; nothing of it is left when he goes, whatever waits for him."""

    def __init__(
        self, messages: AsyncGenerator[bytes], kind: str = _STREAM, *, packs: bool = False
    ) -> None:
        """Send all that comes."""
        headers = {"cache-control": "no-store", "vary": "accept-encoding"}
        packed = {"content-encoding": "gzip"} if packs else {}
        super().__init__(messages, media_type=kind, headers=headers | packed)
        self._messages = messages

    async def stream_response(self, send: Send) -> None:
        """Send it, and end what it comes from."""
        async with aclosing(self._messages):
            await super().stream_response(send)


def _difference(old: Drawn, new: Drawn) -> _Message:
    patch = patch_of(old.picture, new.picture)
    text = encode(patch) if patch else b""
    return _message("patch", text) if text and len(text) < len(new.text) else _whole(new)


def _event_messages(events: tuple[Event, ...]) -> list[_Message]:
    if not events:
        return []
    text = encode(events, tuple[Event, ...])
    return [_message("events", text, events[-1].sequence)]


def _tick(drawn: Drawn, at_ms: int) -> _Message:
    tick = Tick(at_ms=at_ms, stale_since_ms=drawn.picture.stale_since_ms)
    return _message("tick", encode(tick))


def _number(said: str) -> int:
    """Return the sequence that a reader says; 0 if that is none."""
    known = said.isascii() and said.isdigit() and len(said) <= _DIGITS_MAX
    return int(said) if known else 0


def _message(kind: str, text: bytes, number: int = 0) -> _Message:
    """Return a server-sent event; JSON has no line ends."""
    head = f"event: {kind}\n" + (f"id: {number}\n" if number else "")
    plain = b"%sdata: %s\n\n" % (head.encode(), text)
    return _Message(plain, _deflated(plain))


def _whole(drawn: Drawn) -> _Message:
    """Return the picture as a message; it was compressed when it was drawn."""
    head, end = b"event: view\ndata: ", b"\n\n"
    packed = _deflated(head) + drawn.deflated + _deflated(end)
    return _Message(head + drawn.text + end, packed)


def _gzip_end(check: int, size: int) -> bytes:
    """Return what stands behind the blocks of a gzip file (RFC 1952)."""
    numbers = (check, size % (1 << 32))
    return _LAST_BLOCK + b"".join(number.to_bytes(4, "little") for number in numbers)


def _deflated(text: bytes) -> bytes:
    """Return blocks (RFC 1951) that end at a byte and know nothing of what is before them.

    So they are part of any stream: each is made once, for all readers.
    """
    press = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return press.compress(text) + press.flush(zlib.Z_FULL_FLUSH)


def add_picture_routes(app: FastAPI, operations: Operations, verdicts: Verdicts) -> None:
    """Answer who looks at the whole platform, once or all the time."""
    pictures = Pictures(operations, verdicts)

    @app.get("/v1/view")
    async def view(if_none_match: _TAGS = "", accept_encoding: _TAGS = "") -> Response:
        """Return the picture of the platform; 304 if it is the one that the client has."""
        drawn = await pictures.now()
        headers = {"etag": drawn.tag, "cache-control": "no-cache", "vary": "accept-encoding"}
        if drawn.tag in if_none_match:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        if "gzip" in accept_encoding:
            headers["content-encoding"] = "gzip"
            return Response(drawn.packed, media_type=JSON, headers=headers)
        return Response(drawn.text, media_type=JSON, headers=headers)

    @app.get("/v1/stream")
    async def stream(
        last_event_id: _Last = "", accept_encoding: _TAGS = "", for_ms: _ForMs = 0
    ) -> Response:
        """Send the picture, and then what changes in it, as server-sent events.

        With `for_ms` it ends after so long; else it goes on.
        """
        packs = "gzip" in accept_encoding
        seconds = for_ms / 1000
        messages = await pictures.stream(_number(last_event_id), seconds, packs=packs)
        return Sent(messages, packs=packs)
