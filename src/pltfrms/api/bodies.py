"""Words of the model in requests and answers of HTTP."""

from typing import TypeVar

from fastapi import Request, Response

from pltfrms.codec import decode_fully, encode
from pltfrms.errors import UsageError

JSON = "application/json"
BODY_BYTES_MAX = 4 * 1024 * 1024
"""More than any change that fits into one transaction of the store."""

_T = TypeVar("_T")


async def body_of(kind: type[_T], request: Request) -> _T:
    """Return what somebody wants as the word of type `kind` in a request's body.

    Raises:
        UsageError: it is none, or says what this version does not know and would not do.
    """
    return decode_fully(kind, await text_of(request))


async def text_of(request: Request) -> bytes:
    """Return a request's body; UsageError if it is too large."""
    text = bytearray()
    async for chunk in request.stream():
        text += chunk
        if len(text) > BODY_BYTES_MAX:
            raise UsageError(f"the request is larger than {BODY_BYTES_MAX} bytes")
    return bytes(text)


def json_of(value: object) -> Response:
    """Return an answer that holds a word of the model."""
    return Response(encode(value), media_type=JSON)
