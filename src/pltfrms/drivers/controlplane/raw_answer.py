"""An answer of a controller that is passed on as it comes."""

from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from types import TracebackType
from typing import Final, Self

_PART_BYTES: Final = 1 << 16


class RawAnswer:
    """An answer that is passed on as it comes."""

    def __init__(self, connection: HTTPConnection, response: HTTPResponse) -> None:
        """Be of an open connection."""
        self._connection = connection
        self._response = response
        self.status = response.status
        self.headers = response.headers

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self._response.close()
        self._connection.close()

    def parts(self) -> Iterator[bytes]:
        """Yield what comes, until its end or until nothing comes for too long."""
        with suppress(OSError, HTTPException):
            while part := self._response.read1(_PART_BYTES):
                yield part
