"""Questions to several servers: a POST of JSON each, so many at once."""

import asyncio
import time
from collections.abc import Mapping

from pltfrms.drivers.failover import SilentError
from pltfrms.drivers.kept_http import HttpQuestion, KeptHttp


class NotSentError(Exception):
    """The server certainly did not do what was asked."""


class BrokenError(Exception):
    """The server may have done what was asked."""


class Posts:
    """A client of some servers."""

    def __init__(
        self, headers: Mapping[str, str], connect_timeout_seconds: float, at_once: int
    ) -> None:
        """Connect when asked; of more than `at_once` questions the others wait."""
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

    def _server(self, server: str) -> KeptHttp:
        if server not in self._servers:
            self._servers[server] = KeptHttp(
                server, self._connect_timeout_seconds, headers=self._headers
            )
        return self._servers[server]
