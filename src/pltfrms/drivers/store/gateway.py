"""What etcd's JSON gateway is asked, and what its answers and refusals mean."""

import json
import ssl
from base64 import b64encode
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import httpx2

from pltfrms.drivers.store.posts import BrokenError, NotSentError
from pltfrms.errors import InvariantError, NotFoundError, StoreFullError

HEADERS = {"Grpc-Metadata-hasleader": "true"}
_NO_LEADER = "etcdserver: no leader"
"""The one refusal after which nothing was done for sure: it is checked before proposing."""
_COMPACTED = "mvcc: required revision has been compacted"
_LEASE_NOT_FOUND = "etcdserver: requested lease not found"
_NO_SPACE = "mvcc: database space exceeded"
_INVALID_ARGUMENT_CODES = {400}


def make_client(tls: ssl.SSLContext | None) -> httpx2.AsyncClient:
    """Return a client in which what lasts has a connection for as long as that."""
    # Plainly, an empty TLS context saves reading the machine's CA certificates.
    verify = tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    limits = httpx2.Limits(max_connections=None)
    transport = httpx2.AsyncHTTPTransport(verify=verify, limits=limits)
    return httpx2.AsyncClient(transport=transport, headers=HEADERS, trust_env=False)


def encode_bytes(raw: bytes) -> str:
    """Return bytes as they stand in JSON."""
    return b64encode(raw).decode()


def document_of(text: str) -> Mapping[str, Any]:
    """Return a JSON object; InvariantError if it is none."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InvariantError(f"etcd answered no JSON: {text[:200]!r}") from error
    if not isinstance(document, dict):
        raise InvariantError(f"etcd answered no JSON object: {text[:200]!r}")
    return document


def answers_of(status: int, raw: bytes) -> Sequence[Mapping[str, Any]]:
    """Return what etcd answered to a stream of requests, each in a line of its own."""
    return [answer_of(status, line) for line in raw.splitlines() or [raw]]


def answer_of(status: int, raw: bytes) -> Mapping[str, Any]:
    """Return what etcd answered; raise what it refused with."""
    text = raw.decode(errors="replace")
    if status != HTTPStatus.OK:
        raise refusal(status, text)
    answer = document_of(text)
    if "error" in answer:  # a streaming method (keep_alive) says errors after the headers
        raise refusal(status, text)
    return answer


def refusal(status_code: int, text: str) -> Exception:
    """Return the error that an answer other than 200 means."""
    if _NO_LEADER in text:
        return NotSentError(_NO_LEADER)
    if _COMPACTED in text:  # between two pages of a list, which is begun anew
        return BrokenError(_COMPACTED)
    if _NO_SPACE in text:  # from the member that notices, of a write that it has just done
        return StoreFullError(
            "the store is full and takes no writes; this one may or may not be done. The "
            "controllers make room: `pltfrms status` says how far they are"
        )
    if _LEASE_NOT_FOUND in text:
        return NotFoundError("the lease does not exist any more; grant a new one")
    if status_code in _INVALID_ARGUMENT_CODES:
        return InvariantError(f"etcd refuses the request: {text[:300]}")
    return BrokenError(f"HTTP {status_code}: {text[:300]}")
