"""A controller that shows what a test says: the view, the stream and its events."""

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pltfrms.codec import encode
from pltfrms.model.messages.api import Event
from pltfrms.model.messages.picture import Picture, Tick
from pltfrms.seen.patch import patch_of
from tests.cli.world import NOW_MS
from tests.page.states import HEALTHY_PICTURE

Answer = tuple[int, bytes]


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class StandIn:
    """Comes and goes at the same port."""

    def __init__(self) -> None:
        self.picture: Picture = HEALTHY_PICTURE
        self.events: tuple[Event, ...] = ()
        self.port = 0
        self.asked: list[tuple[str, str, bytes]] = []
        """What was asked beside the picture: method, path, body."""
        self.answer: Callable[[str, str, bytes], Answer] = lambda *_: (404, b"{}")
        self._streams: set[queue.Queue[bytes]] = set()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        stand_in = self

        class Handler(_Handler):
            of = stand_in

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        if self._server and self._thread:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None
        self._give(b"")

    def show(self, picture: Picture) -> None:
        """Tell all who look what is different."""
        patch = patch_of(self.picture, picture)
        self.picture = picture
        if patch:
            self._give(message("patch", encode(patch)))

    def tell(self, *events: Event) -> None:
        self.events = (*self.events, *events)
        self._give(message("events", encode(events, tuple[Event, ...]), events[-1].sequence))

    @contextmanager
    def reading(self) -> Iterator[Iterator[bytes]]:
        """Yield what one reader is sent; it ends with what is empty."""
        mine: queue.Queue[bytes] = queue.Queue()
        mine.put(message("view", encode(self.picture)))
        if self.events:
            mine.put(message("events", encode(self.events, tuple[Event, ...]), 1))
        mine.put(message("tick", encode(Tick(at_ms=NOW_MS))))
        self._streams.add(mine)
        try:
            yield iter(mine.get, b"")
        finally:
            self._streams.discard(mine)

    def _give(self, text: bytes) -> None:
        for stream in tuple(self._streams):
            stream.put(text)


class _Handler(BaseHTTPRequestHandler):
    of: StandIn

    def do_GET(self) -> None:
        if self.path == "/v1/view":
            self._send(200, encode(self.of.picture))
        elif self.path == "/v1/stream":
            self._stream()
        elif self.path == "/v1/requests":
            self._send(200, b"[]")
        else:
            self._other()

    def do_POST(self) -> None:
        self._other()

    def _other(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        self.of.asked.append((self.command, self.path, body))
        self._send(*self.of.answer(self.command, self.path, body))

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        with self.of.reading() as messages:
            for text in messages:
                try:
                    self.wfile.write(text)
                except OSError:
                    return

    def _send(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_words: object) -> None:
        pass


def message(kind: str, text: bytes, number: int = 0) -> bytes:
    head = f"event: {kind}\n" + (f"id: {number}\n" if number else "")
    return b"%sdata: %s\n\n" % (head.encode(), text)
