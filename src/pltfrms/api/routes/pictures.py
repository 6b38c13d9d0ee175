"""The picture of the platform over HTTP, as `pltfrms.model.messages.picture` documents it.

It is drawn once for all who look, while somebody does, and at most twice a second. Streams are
fed from that by one task; none holds up another.
"""

import asyncio
import gzip
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import FastAPI, Header, Query, Response
from fastapi.responses import StreamingResponse

from pltfrms.api.bounds.bodies import JSON
from pltfrms.api.routes.verdicts import Verdicts
from pltfrms.codec import encode
from pltfrms.controller.asked.operations import Operations
from pltfrms.errors import PltfrmsError, UnavailableError
from pltfrms.model.messages.api import Event
from pltfrms.model.messages.picture import Picture, Tick
from pltfrms.seen.picture import patch_of, picture_of

READERS_MAX: Final = 200
"""Streams of one controller."""
_BEHIND_MAX: Final = 64
"""Messages that wait for a reader; who does not take them begins anew."""
_PAUSE_SECONDS: Final = 0.5
_PATIENCE: Final = 5
"""Drawing takes no more than so small a part of the time."""
_TICK_SECONDS: Final = 2.0
_EVENTS_FIRST: Final = 100
"""Of the newest, for who comes without having read any."""
_STREAM: Final = "text/event-stream"
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
    packed: bytes


@dataclass(eq=False, slots=True)
class _Reader:
    """One stream, and what it has not taken yet."""

    waiting: deque[bytes] = field(default_factory=deque)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    lost: str = ""
    """Why it gets nothing any more."""

    def give(self, *messages: bytes) -> None:
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
        while True:
            while self.waiting:
                yield self.waiting.popleft()
            if self.lost:
                yield _message("goodbye", encode(self.lost))
                return
            self.more.clear()
            await self.more.wait()


class Pictures:
    """Draws, and feeds who looks."""

    def __init__(self, operations: Operations, verdicts: Verdicts) -> None:
        """Nobody looks yet."""
        self._operations = operations
        self._controller = operations.controller
        self._verdicts = verdicts
        self._turn = asyncio.Lock()
        self._drawn: Drawn | None = None
        self._next_at = 0.0
        self._readers: set[_Reader] = set()
        self._feeding: asyncio.Task[None] | None = None

    async def now(self) -> Drawn:
        """Return the newest picture; UnavailableError: nothing is known of the platform yet."""
        clock = self._controller.clock
        async with self._turn:
            if self._drawn is None or clock.monotonic() >= self._next_at:
                began = clock.monotonic()
                self._drawn = await self._draw(self._drawn)
                took = clock.monotonic() - began
                self._next_at = began + max(_PAUSE_SECONDS, _PATIENCE * took)
            return self._drawn

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
        return Drawn(picture, text, tag, gzip.compress(text, compresslevel=1, mtime=0))

    # ---- streams ---------------------------------------------------------------------------

    async def stream(self, after: int, seconds: float = 0.0) -> AsyncIterator[bytes]:
        """Return what a reader is sent who has read the events up to a sequence.

        It ends after some time, if there is any.

        Raises:
            UnavailableError: too many read already, or nothing is known yet.
        """
        if len(self._readers) >= READERS_MAX:
            raise UnavailableError(
                f"{READERS_MAX} others look at this controller already; ask another controller"
            )
        drawn = await self.now()
        return self._fed(drawn, after, seconds)

    async def _fed(self, drawn: Drawn, after: int, seconds: float) -> AsyncIterator[bytes]:
        with self._reading() as reader:
            if seconds:
                asyncio.get_running_loop().call_later(seconds, reader.end, "as was asked")
            events = self._kept(after)
            reader.give(_message("view", drawn.text), *_event_messages(events))
            self._begin(drawn, events[-1].sequence if events else after)
            async for message in reader:
                yield message

    @contextmanager
    def _reading(self) -> Iterator[_Reader]:
        reader = _Reader()
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    def _begin(self, drawn: Drawn, after: int) -> None:
        if self._feeding is None or self._feeding.done():
            self._feeding = asyncio.create_task(self._feed(drawn, after))

    async def _feed(self, told: Drawn, after: int) -> None:
        """Tell all readers what is new, as long as there are any."""
        clock, ticked_at = self._controller.clock, 0.0
        while self._readers:
            messages = []
            try:
                drawn = await self.now()
            except PltfrmsError:
                drawn = told  # ticks go on; the controller's log says why
            if drawn is not told:
                messages.append(_difference(told, drawn))
                told = drawn
            events = self._newer(after)
            messages += _event_messages(events)
            after = events[-1].sequence if events else after
            if clock.monotonic() - ticked_at >= _TICK_SECONDS:
                ticked_at = clock.monotonic()
                stale_since_ms = told.picture.stale_since_ms
                tick = Tick(at_ms=clock.unix_ms(), stale_since_ms=stale_since_ms)
                messages.append(_message("tick", encode(tick)))
            for reader in self._readers:
                reader.give(*messages)
            await clock.sleep(_PAUSE_SECONDS)

    def _newer(self, after: int) -> tuple[Event, ...]:
        return self._operations.kept_events(after)

    def _kept(self, after: int) -> tuple[Event, ...]:
        """Return what a new reader has not read yet; at most the newest ones."""
        events = self._newer(after)
        return events if after else events[-_EVENTS_FIRST:]


def _difference(old: Drawn, new: Drawn) -> bytes:
    patch = patch_of(old.picture, new.picture)
    text = encode(patch) if patch else b""
    smaller = text and len(text) < len(new.text)
    return _message("patch", text) if smaller else _message("view", new.text)


def _event_messages(events: tuple[Event, ...]) -> list[bytes]:
    if not events:
        return []
    text = encode(events, tuple[Event, ...])
    return [_message("events", text, events[-1].sequence)]


def _message(kind: str, text: bytes, number: int = 0) -> bytes:
    """Return a server-sent event; JSON has no line ends."""
    head = f"event: {kind}\n" + (f"id: {number}\n" if number else "")
    return b"%sdata: %s\n\n" % (head.encode(), text)


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
    async def stream(last_event_id: _Last = "", for_ms: _ForMs = 0) -> Response:
        """Send the picture, and then what changes in it, as server-sent events.

        With `for_ms` it ends after so long; else it goes on.
        """
        after = int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else 0
        messages = await pictures.stream(after, for_ms / 1000)
        return StreamingResponse(
            messages, media_type=_STREAM, headers={"cache-control": "no-store"}
        )
