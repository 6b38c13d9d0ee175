"""Whether a token lets a machine join."""

from typing import Final

from pltfrms.model.identity.words import TokenNote

TOKEN_MS: Final = 3_600_000
"""How long a token is good for."""


def why_no_join(note: TokenNote | None, digest: str, public_key: str, now_ms: int) -> str:
    """Return why a token of this digest does not let in who has this key; empty: it does.

    Who has joined with it may ask again within its hour, as the answer may have been lost.
    Wrong secrets are told apart from nothing else: who guesses learns nothing.
    """
    if note is None or note.digest != digest:
        return "the token is not valid: there is a newer one, or it is for another machine"
    if now_ms >= note.expires_ms:
        return "the token has expired: it is good for one hour"
    if note.used_by and note.used_by != public_key:
        return "the token has been used: it is good for one machine, once"
    return ""
