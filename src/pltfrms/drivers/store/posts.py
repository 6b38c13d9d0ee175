"""Questions to several servers: a POST of JSON each, so many at once."""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from pltfrms.drivers.failover import SilentError
from pltfrms.drivers.kept_http import HttpQuestion, KeptHttp, TlsEnd
from pltfrms.errors import UsageError

Tls = Callable[[], ssl.SSLContext]
"""Returns what to ask with those who answer by TLS; UsageError: there is nothing."""


class NotSentError(Exception):
    """The server certainly did not do what was asked."""


class BrokenError(Exception):
    """The server may have done what was asked."""


class Posts:
    """A client of some servers."""

    def __init__(
        self,
        headers: Mapping[str, str],
        connect_timeout_seconds: float,
        at_once: int,
        tls: Tls | None = None,
    ) -> None:
        """Connect when asked; of more than `at_once` questions the others wait."""
        self._tls = tls
        self._headers = headers
        self._connect_timeout_seconds = connect_timeout_seconds
        self._turns = asyncio.Semaphore(at_once)
        self._servers: dict[str, KeptHttp] = {}

    async def ask(
        self, server: str, path: str, body: bytes, seconds: float
    ) -> tuple[int, bytes]:
        """Return status code and body of the answer; `server` is like `http://[fd00::1]:2379`.

        Raises:
            NotSentError, BrokenError: there is no answer in `seconds`, or it is not HTTP.
        """
        deadline = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                await self._turns.acquire()
        except TimeoutError as error:
            raise NotSentError(f"{seconds:.1f} s were not enough for those before") from error
        try:
            question = HttpQuestion("POST", path, body)
            return await self._server(server).ask(question, deadline - time.monotonic())
        except SilentError as error:
            raise (BrokenError if error.sent else NotSentError)(str(error)) from error
        finally:
            self._turns.release()

    async def close(self) -> None:
        """End the connections that nobody uses."""
        for server in self._servers.values():
            await server.close()

    def forget(self) -> None:
        """Connect anew from now on, with what `tls` says then."""
        for server in self._servers.values():
            server.drop()
        self._servers = {}

    def end_of(self, server: str) -> TlsEnd | None:
        """Return whom we expect at a server; None: it speaks plainly.

        Raises:
            NotSentError: there is nothing to show.
        """
        at = urlsplit(server)
        if at.scheme != "https":
            return None
        if self._tls is None:
            raise NotSentError("it speaks by TLS, and there is nothing to show")
        try:
            return TlsEnd(self._tls(), at.hostname or "")
        except UsageError as error:
            raise NotSentError(str(error)) from error

    def _server(self, server: str) -> KeptHttp:
        if server not in self._servers:
            self._servers[server] = KeptHttp(
                server,
                self._connect_timeout_seconds,
                headers=self._headers,
                tls=self.end_of(server),
            )
        return self._servers[server]
