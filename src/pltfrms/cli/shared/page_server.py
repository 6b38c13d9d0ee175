"""A web server on loopback for one browser: the page's files, and what it asks controllers.

All of it is below a folder whose name only this browser has been told, with a cookie for that
folder: browsers send the cookies of a host to all its ports, where somebody else may listen.
What changes something is a POST with the token that only this page can read, from this very
origin: a page of another site in the same browser can do nothing.
"""

import hmac
import os
import re
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qs

from pltfrms import codec
from pltfrms.cli.shared.page_actions import PageAction, PageActions, PageWish
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.drivers.controlplane.raw_answer import RawAnswer
from pltfrms.errors import ForbiddenError, PltfrmsError, UnavailableError, UsageError

_ASKED: Final = re.compile(r"/v1/(view|stream|requests|services/[a-z][a-z0-9-]*/logs)")
"""What the page may ask of controllers; all of it only looks."""
_PARAMETERS: Final = frozenset({"instance", "lines", "after"})
"""With what it may ask for logs."""
TOKEN: Final = "x-pltfrms-token"  # noqa: S105 - its name
"""The header in which the page shows that it is this page."""
_BODY_MAX: Final = 4096
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
_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_OTHER_NAME: Final = "this is not the name of this machine"
_NOT_OPENED: Final = (
    "open the address that `pltfrms ui` has written; it opens once: run `pltfrms ui` again for "
    "another one"
)


class PageServer(ThreadingHTTPServer):
    """Serves one browser: the first that shows the code of `address`."""

    daemon_threads = True

    def __init__(
        self,
        files: Path,
        client: OperatorClient,
        port: int,
        secret: Callable[[], str],
        actions: PageActions | None = None,
    ) -> None:
        """Listen on loopback; `secret` returns words that nobody guesses.

        Without actions it only looks.

        Raises:
            UnavailableError: the port is taken.
        """
        self.files = files
        self.client = client
        self.actions = actions
        self._code, self._own_code, self._cookie, self.token = (secret() for _ in range(4))
        self._folder = secret()
        self._opening = threading.Lock()
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
    def own_address(self) -> str:
        """The same for a program that is started: all users of this machine see its words.

        So nobody opens it but who runs as we do.
        """
        return f"http://{_LOOPBACK}:{self.server_port}/open?code={self._own_code}"

    @property
    def folder(self) -> str:
        """Below which all is, but what opens it."""
        return f"/{self._folder}/"

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

    def opened_by(self, code: str, port: int) -> str:
        """Return the cookie for who shows a code from a port; both codes are void then.

        Empty: it is wrong.
        """
        with self._opening:
            own = _same(code, self._own_code) and uid_of(port, self.server_port) == os.getuid()
            if not self._code or not (own or _same(code, self._code)):
                return ""
            self._code = self._own_code = ""
            return self._cookie

    def knows(self, folder: str, cookie: str) -> bool:
        """Return whether it is the browser that has opened the page."""
        return _same(cookie, self._cookie) and _same(folder, self._folder)


def _same(shown: str, secret: str) -> bool:
    return hmac.compare_digest(shown.encode(), secret.encode())


def uid_of(port: int, server_port: int) -> int | None:
    """Return who has the other end of a connection on loopback; None: the kernel does not say.

    As in proc_pid_net(5); mapped addresses end as others do.
    """
    here, there = (f"0100007F:{each:04X}" for each in (port, server_port))
    for table in _TABLES:
        for line in table.read_text().splitlines() if table.exists() else ():
            _, local, remote, *rest = line.split()
            if local.endswith(here) and remote.endswith(there):
                return int(rest[4])
    return None


class _Handler(BaseHTTPRequestHandler):
    """One connection of the browser."""

    server: PageServer
    timeout = _PATIENCE_SECONDS
    protocol_version = "HTTP/1.0"
    """One question per connection: a stream has no length, and ends with its connection."""

    def do_GET(self) -> None:
        """Answer one question."""
        parts = self._asked()
        if self.headers.get("host", "") not in self.server.hosts:
            self._refuse(HTTPStatus.FORBIDDEN, _OTHER_NAME)
        elif self.path.startswith("/open?"):
            self._open(parse_qs(parts.query).get("code", [""])[0])
        elif not self._ours():
            self._refuse(HTTPStatus.FORBIDDEN, _NOT_OPENED)
        elif parts.path == "/me":
            self._me()
        elif _ASKED.fullmatch(parts.path):
            self._pass_on(parts.path, parse_qs(parts.query))
        else:
            self._file(parts.path)

    def do_POST(self) -> None:
        """Look at what would be done, or do it."""
        actions = self.server.actions
        try:
            self._require_page()
            if actions is None:
                raise ForbiddenError("this page only looks: `pltfrms ui` runs with --read-only")
            body = self._body()
            path = self._asked().path
            if path == "/actions/look":
                said: object = actions.look(codec.decode_fully(PageAction, body))
            elif path == "/actions/do":
                said = actions.do(codec.decode_fully(PageWish, body))
            else:
                raise ForbiddenError("nothing else is done from the page")
        except PltfrmsError as error:
            self._refuse(HTTPStatus(error.status_code), str(error))
        else:
            self._say(codec.encode(said))

    def _asked(self) -> SplitResult:
        """Return what is asked for, below our folder if it is there."""
        path, _, query = self.path.partition("?")
        folder = self.server.folder
        below = path.removeprefix(folder.rstrip("/")) if path.startswith(folder) else path
        return SplitResult("", "", below, query, "")

    def _ours(self) -> bool:
        """Return whether the browser that has opened the page asks, and for no other site."""
        site = self.headers.get("sec-fetch-site", "none")
        folder = self.path[1:].partition("/")[0]
        return site in {"none", "same-origin"} and self.server.knows(folder, self._shown())

    def _require_page(self) -> None:
        """Raise ForbiddenError unless our page asks, in the browser that has opened it."""
        host = self.headers.get("host", "")
        if host not in self.server.hosts:
            raise ForbiddenError(_OTHER_NAME)
        if not self._ours():
            raise ForbiddenError(_NOT_OPENED)
        if self.headers.get("origin", "") != f"http://{host}":
            raise ForbiddenError("this page does not ask for other sites")
        shown = self.headers.get(TOKEN, "").encode()
        if not hmac.compare_digest(shown, self.server.token.encode()):
            raise ForbiddenError("the page is of an earlier `pltfrms ui`: open it anew")

    def _body(self) -> bytes:
        length = self.headers.get("content-length", "")
        if self.headers.get("content-type") != "application/json":
            raise UsageError("what is asked for is JSON")
        if not (length.isascii() and length.isdigit()) or int(length) > _BODY_MAX:
            raise UsageError(f"what is asked for has at most {_BODY_MAX} bytes")
        return self.rfile.read(int(length))

    def _me(self) -> None:
        """Say who acts here, and how the page shows that it is this page."""
        actions = self.server.actions
        by, token = (actions.by, self.server.token) if actions else ("", "")
        self._say(codec.encode({"by": by, "token": token}))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing: what the browser asks is no news."""

    def _shown(self) -> str:
        """Return our cookie; those of other ports stand beside it, in any form."""
        parts = self.headers.get("cookie", "").split(";")
        named = (each.strip().partition("=") for each in parts)
        return next((word for name, _, word in named if name == self.server.cookie_name), "")

    def _open(self, code: str) -> None:
        cookie = self.server.opened_by(code, self.client_address[1])
        if not cookie:
            self._refuse(
                HTTPStatus.FORBIDDEN,
                "this address was opened before; run `pltfrms ui` again",
            )
            return
        self.send_response(HTTPStatus.SEE_OTHER)
        folder = self.server.folder
        self.send_header("location", folder)
        said = f"{self.server.cookie_name}={cookie}; HttpOnly; SameSite=Strict; Path={folder}"
        self.send_header("set-cookie", said)
        self._end_head("no-store")

    def _pass_on(self, path: str, query: dict[str, list[str]]) -> None:
        asked = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
        parameters = {name: said[0] for name, said in query.items() if name in _PARAMETERS}
        try:
            with self.server.client.raw(path, asked, parameters) as answer:
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
        self._say(f"{words}\n".encode(), status, "text/plain; charset=utf-8")

    def _say(
        self,
        content: bytes,
        status: HTTPStatus = HTTPStatus.OK,
        kind: str = _KINDS[".json"],
    ) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self._end_head("no-store")
        self.wfile.write(content)

    def _end_head(self, caching: str = "") -> None:
        if caching:
            self.send_header("cache-control", caching)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
