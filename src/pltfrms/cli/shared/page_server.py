"""A web server on loopback for one browser: the page's files, and what it asks controllers."""

import hmac
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from pltfrms.drivers.controlplane.operator_client import OperatorClient, RawAnswer
from pltfrms.errors import PltfrmsError, UnavailableError

ASKED: Final = frozenset({"/v1/view", "/v1/stream"})
"""What the page may ask of controllers; all of it only looks."""
_PASSED_ON: Final = ("accept-encoding", "if-none-match", "last-event-id")
_PASSED_BACK: Final = ("content-type", "content-encoding", "etag", "vary", "cache-control")
_KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_PATIENCE_SECONDS: Final = 30
"""In which a browser asks, and takes what it gets."""
_LOOPBACK: Final = "127.0.0.1"


class PageServer(ThreadingHTTPServer):
    """Serves one browser: the first that shows the code of `address`."""

    daemon_threads = True

    def __init__(
        self, files: Path, client: OperatorClient, port: int, secret: Callable[[], str]
    ) -> None:
        """Listen on loopback; `secret` returns words that nobody guesses.

        Raises:
            UnavailableError: the port is taken.
        """
        self.files = files
        self.client = client
        self._code, self._cookie = secret(), secret()
        try:
            super().__init__((_LOOPBACK, port), _Handler)
        except OSError as error:
            raise UnavailableError(
                f"cannot listen at {_LOOPBACK}:{port}: {error.strerror}; choose another --port"
            ) from error

    @property
    def address(self) -> str:
        """Where the page is, with the code that opens it once."""
        return f"http://{_LOOPBACK}:{self.server_port}/open?code={self._code}"

    @property
    def cookie_name(self) -> str:
        """Browsers keep one jar for all ports of a host, on which other pages may be served."""
        return f"pltfrms-ui-{self.server_port}"

    @property
    def hosts(self) -> frozenset[str]:
        """What a browser may call us: a name that somebody else's DNS gives us is none."""
        return frozenset(f"{name}:{self.server_port}" for name in (_LOOPBACK, "localhost"))

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a browser that has gone; of all else, what Python says."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def opened_by(self, code: str) -> str:
        """Return the cookie for who shows the code, which is void then; empty: it is wrong."""
        known, right = self._code, bool(self._code)
        if not right or not hmac.compare_digest(code.encode(), known.encode()):
            return ""
        self._code = ""
        return self._cookie

    def knows(self, cookie: str) -> bool:
        """Return whether it is the browser that has opened the page."""
        return hmac.compare_digest(cookie.encode(), self._cookie.encode())


class _Handler(BaseHTTPRequestHandler):
    """One connection of the browser."""

    server: PageServer
    timeout = _PATIENCE_SECONDS
    protocol_version = "HTTP/1.0"
    """One question per connection: a stream has no length, and ends with its connection."""

    def do_GET(self) -> None:
        """Answer one question."""
        parts = urlsplit(self.path)
        site = self.headers.get("sec-fetch-site", "none")
        if self.headers.get("host", "") not in self.server.hosts:
            self._refuse(HTTPStatus.FORBIDDEN, "this is not the name of this machine")
        elif parts.path == "/open":
            self._open(parse_qs(parts.query).get("code", [""])[0])
        elif site not in {"none", "same-origin"} or not self.server.knows(self._shown()):
            self._refuse(
                HTTPStatus.FORBIDDEN,
                "open the address that `pltfrms ui` has written; it "
                "opens once: run `pltfrms ui` again for another one",
            )
        elif parts.path in ASKED:
            self._pass_on(parts.path)
        else:
            self._file(parts.path)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing: what the browser asks is no news."""

    def _shown(self) -> str:
        try:
            cookie = SimpleCookie(self.headers.get("cookie", "")).get(self.server.cookie_name)
        except CookieError:
            return ""
        return cookie.value if cookie else ""

    def _open(self, code: str) -> None:
        cookie = self.server.opened_by(code)
        if not cookie:
            self._refuse(
                HTTPStatus.FORBIDDEN,
                "this address was opened before; run `pltfrms ui` again",
            )
            return
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("location", "/")
        said = f"{self.server.cookie_name}={cookie}; HttpOnly; SameSite=Strict; Path=/"
        self.send_header("set-cookie", said)
        self._end_head("no-store")

    def _pass_on(self, path: str) -> None:
        asked = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
        try:
            with self.server.client.raw(path, asked) as answer:
                self._tell(answer)
        except PltfrmsError as error:
            self._refuse(HTTPStatus(error.status_code), str(error))

    def _tell(self, answer: RawAnswer) -> None:
        self.send_response(answer.status)
        for name in _PASSED_BACK:
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self._end_head()
        for part in answer.parts():
            try:
                self.wfile.write(part)
            except OSError:
                return  # the browser has gone

    def _file(self, path: str) -> None:
        """Answer a file of the page; only names that are there can be asked for."""
        names = {
            f"/{each.relative_to(self.server.files)}": each
            for each in self.server.files.rglob("*")
            if each.is_file()
        }
        file = names.get("/index.html" if path == "/" else path)
        if file is None or file.suffix not in _KINDS:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such file")
            return
        content = file.read_bytes()
        self.send_response(HTTPStatus.OK)
        self.send_header("content-type", _KINDS[file.suffix])
        self.send_header("content-length", str(len(content)))
        self._end_head("no-cache" if file.suffix == ".html" else "max-age=31536000, immutable")
        self.wfile.write(content)

    def _refuse(self, status: HTTPStatus, words: str) -> None:
        content = f"{words}\n".encode()
        self.send_response(status)
        self.send_header("content-type", "text/plain; charset=utf-8")
        self.send_header("content-length", str(len(content)))
        self._end_head("no-store")
        self.wfile.write(content)

    def _end_head(self, caching: str = "") -> None:
        if caching:
            self.send_header("cache-control", caching)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
