"""Words of the model in requests and answers of HTTP."""

from typing import TypeVar

from fastapi import Request, Response

from pltfrms.codec import decode, encode
from pltfrms.errors import UsageError

JSON = "application/json"
BODY_BYTES_MAX = 4 * 1024 * 1024
"""More than any change that fits into one transaction of the store."""

_T = TypeVar("_T")


async def body_of(kind: type[_T], request: Request) -> _T:
    """Return the word of type `kind` in a request's body; UsageError if it is none."""
    text = bytearray()
    async for chunk in request.stream():
        text += chunk
        if len(text) > BODY_BYTES_MAX:
            raise UsageError(f"the request is larger than {BODY_BYTES_MAX} bytes")
    return decode(kind, bytes(text))


def json_of(value: object) -> Response:
    """Return an answer that holds a word of the model."""
    return Response(encode(value), media_type=JSON)
