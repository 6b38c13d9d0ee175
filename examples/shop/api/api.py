"""The API of the shop, in nothing but the standard library.

GET /      what there is to buy: from the cache, or made anew where it has nothing or is away
GET /buy   the next order, by its number; 503 while the carts are away
"""

import contextlib
import json
import os
import signal
import socket
import socketserver
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from threading import Thread

PRODUCTS = {"routes": 128, "prefixes": 48, "sessions": 12}
PORT = 80
REDIS = 6379
PATIENCE_SECONDS = 2.0
KEPT_SECONDS = 5
POLL_SECONDS = 0.1


class AwayError(Exception):
    """A service did not answer, or not with what was asked for."""


def ask(service: str, *words: str) -> str:
    """Ask a Redis by the name of its service."""
    question = f"*{len(words)}\r\n" + "".join(
        f"${len(word.encode())}\r\n{word}\r\n" for word in words
    )
    try:
        with socket.create_connection((service, REDIS), PATIENCE_SECONDS) as connection:
            connection.sendall(question.encode())
            with connection.makefile("r", newline="\r\n") as said:
                head = said.readline().rstrip()
                if head.startswith("$") and head != "$-1":
                    return said.readline().rstrip()
    except OSError as error:
        raise AwayError(f"{service}: {error}") from error
    if not head or head.startswith("-"):
        raise AwayError(f"{service}: {head[1:]}")
    return "" if head == "$-1" else head[1:]


def products() -> dict[str, object]:
    """Return what there is to buy, and what became of the question to the cache."""
    try:
        if kept := ask("cache", "GET", "products"):
            return {"products": json.loads(kept), "cache": "hit"}
        ask("cache", "SET", "products", json.dumps(PRODUCTS), "EX", str(KEPT_SECONDS))
    except AwayError:
        return {"products": PRODUCTS, "cache": "away"}
    return {"products": PRODUCTS, "cache": "made"}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    timeout = 3.0

    def do_GET(self) -> None:
        """Answer who we are, and what was asked for."""
        if self.path == "/healthz":  # whoever we depend on: without them we go on
            return self._say(HTTPStatus.OK, {})
        if self.path != "/buy":
            return self._say(HTTPStatus.OK, products())
        try:
            order = int(ask("carts", "INCR", "orders"))
        except AwayError as error:
            return self._say(HTTPStatus.SERVICE_UNAVAILABLE, {"why": str(error)})
        return self._say(HTTPStatus.OK, {"order": order})

    def log_message(self, *_words: object) -> None:
        """Say nothing of what went well."""

    def _say(self, status: HTTPStatus, said: dict[str, object]) -> None:
        who = ("VERSION", "INSTANCE", "DATACENTER")
        said |= {name.lower(): os.environ.get(name, "") for name in who}
        text = json.dumps(said).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class Server(socketserver.ThreadingTCPServer):
    """Both families on one socket, and room for a crowd that comes at once."""

    address_family = socket.AF_INET6
    allow_reuse_address = True
    request_queue_size = 512
    timeout = 0.0
    waiting = True
    """Whether somebody may be there who is not accepted yet."""

    def server_bind(self) -> None:
        """Take IPv4, too."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_timeout(self) -> None:
        """Know that nobody waits any more."""
        self.waiting = False

    def serve_to_the_end(self) -> None:
        """Serve until SIGTERM, and then answer all who have come before it."""
        signal.signal(signal.SIGTERM, lambda *_: Thread(target=self.shutdown).start())
        self.serve_forever(POLL_SECONDS)
        while self.waiting:
            self.handle_request()

    def handle_error(self, _request: object, _client: object) -> None:
        """Let a client go away without a word; of all else say what it was."""
        if not isinstance(error := sys.exception(), ConnectionError):
            print(repr(error), flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt), Server(("::", PORT), Handler) as server:
        server.serve_to_the_end()
