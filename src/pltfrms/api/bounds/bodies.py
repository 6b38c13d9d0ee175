"""Words of the model in requests and answers of HTTP."""

from typing import TypeVar

from fastapi import Request, Response

from pltfrms.codec import decode_fully, encode

JSON = "application/json"

_T = TypeVar("_T")


async def body_of(kind: type[_T], request: Request) -> _T:
    """Return what somebody wants as the word of type `kind` in a request's body.

    Raises:
        UsageError: it is none, or says what this version does not know and would not do.
    """
    return decode_fully(kind, await request.body())


def json_of(value: object) -> Response:
    """Return an answer that holds a word of the model."""
    return Response(encode(value), media_type=JSON)
