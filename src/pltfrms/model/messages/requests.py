"""Changes that need two people: one operator asks for them, another one approves them."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from pltfrms.model.messages.api import (
    Change,
    InterventionChange,
    InterventionReply,
    PlanPreview,
)

LONGEST_MS = 24 * 3600 * 1000
"""No request is open for longer: who approves must know what it was about."""
REQUESTS_MAX = 100
"""Requests that are kept at once: one may be as large as a transaction of the store."""
TEXT_BYTES_MAX = 700_000
"""More would not fit into one transaction of the store, inside JSON once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody wants: a change or an intervention. Its JSON text is what both sign."""

    platform: str
    """Name of the platform, so that it means nothing elsewhere."""
    expires_ms: int
    """Unix time from which on it means nothing any more."""
    change: Change | None = None
    intervention: InterventionChange | None = None


def request_id(text: str) -> str:
    """Return what a request is called: the beginning of the SHA-256 of its text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class RequestState(StrEnum):
    """What became of a request."""

    OPEN = "open"
    APPROVED = "approved"
    WITHDRAWN = "withdrawn"
    UNREADABLE = "unreadable"
    """What is stored cannot be read by the controller that was asked: another release may. It
    says nothing but the id; nobody can approve it there, and anybody can withdraw it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRequest:
    """A change that waits for a second operator, or did. Kept until it expires."""

    id: str
    """Of its text: the same text is the same request, and is done once at most."""
    text: str
    """`Wanted` as JSON, as it was signed; empty in lists."""
    signature: str
    """Of the operator who asks, as `ssh-keygen -Y sign -n pltfrms` writes it."""
    by: str
    """Name of that operator."""
    about: str
    """What it would do, in a sentence."""
    basis: str
    """Fingerprint of what it changes, as it was when this was asked for."""
    at_ms: int
    expires_ms: int
    state: RequestState = RequestState.OPEN
    closed_by: str = ""
    """Who approved it or withdrew it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A text and an operator's signature of it."""

    text: str
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A second operator's yes."""

    signature: str
    """Of the request's text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """Somebody's no. It needs no signature: nothing happens."""

    by: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestReply:
    """A request, and what it would do now, or did."""

    request: ChangeRequest
    preview: PlanPreview | None = None
    """Of a change."""
    reply: InterventionReply | None = None
    """Of an intervention."""
