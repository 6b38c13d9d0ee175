"""Errors as a controller answers them."""

import json
from math import ceil
from typing import Final

from fastapi import Response

from pltfrms.api.bounds.bodies import JSON
from pltfrms.codec import encode
from pltfrms.errors import (
    InvariantError,
    LaterError,
    NotFoundError,
    PltfrmsError,
    StoreFullError,
    TooLargeError,
    TooManyError,
    UnavailableError,
    UnclearError,
    UsageError,
)
from pltfrms.model.messages.api import ErrorBody
from pltfrms.planner.parts.refusals import (
    EXHAUSTED,
    INVALID,
    LEASE_NOT_FOUND,
    NOT_FOUND,
    STATUS,
    UNAVAILABLE,
    UNKNOWN,
)

RETRY_AFTER_SECONDS = 1
_TOLD_AS: tuple[tuple[type[PltfrmsError], type[PltfrmsError]], ...] = (
    (UnclearError, UnavailableError),
    (TooManyError, UnavailableError),
    (LaterError, UnavailableError),
    (TooLargeError, UsageError),
)
"""Classes that clients of the release before do not know, or need not tell apart."""
_NUMBERS: Final[tuple[tuple[type[PltfrmsError], int], ...]] = (
    (TooManyError, EXHAUSTED),
    (TooLargeError, INVALID),
    (StoreFullError, EXHAUSTED),
    (NotFoundError, NOT_FOUND),
    (InvariantError, INVALID),
    (UnavailableError, UNAVAILABLE),
)
"""As what etcd's clients are told an error."""


def refusal(error: PltfrmsError) -> Response:
    """Return the answer that says an error, and when to ask again where that may help."""
    headers: dict[str, str] = {}
    if isinstance(error, UnavailableError):
        told = isinstance(error, TooManyError | LaterError) and error.retry_seconds
        headers = {"Retry-After": str(ceil(told or RETRY_AFTER_SECONDS))}
    return Response(
        encode(_body(error)), status_code=error.status_code, media_type=JSON, headers=headers
    )


def as_etcd(error: PltfrmsError) -> Response:
    """Return the answer that says an error as etcd's gateway does."""
    code = next((each for kind, each in _NUMBERS if isinstance(error, kind)), UNKNOWN)
    said = LEASE_NOT_FOUND if code == NOT_FOUND else str(error)
    body = {"error": said, "message": said, "code": code}
    return Response(json.dumps(body), status_code=STATUS[code], media_type=JSON)


def _body(error: PltfrmsError) -> ErrorBody:
    nothing_done = not isinstance(error, UnclearError | InvariantError)
    told = (as_what for kind, as_what in _TOLD_AS if isinstance(error, kind))
    name = next(told, type(error)).__name__
    retry_ms = ceil(1000 * error.retry_seconds) if isinstance(error, LaterError) else 0
    return ErrorBody(
        error=name, message=str(error), nothing_done=nothing_done, retry_ms=retry_ms
    )
