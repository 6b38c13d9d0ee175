"""How operators show who they are: with the SSH keys that the platform names.

A controller says a text, the operator signs it, and gets a token for some hours. Tokens are
sealed with a secret that all controllers know, so that each knows those of the others, also
while the store is away.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from pltfrms.model.network.topology import OperatorRole

LOGIN_NAMESPACE: Final = "pltfrms-login"
"""What such a signature is for: it is no approval of a change, nor is one of those a login."""
LOGIN_PURPOSE: Final = "pltfrms login"
LOGIN_MS: Final = 8 * 3_600_000
"""How long a token is good for: a working day."""
CHALLENGE_MS: Final = 120_000
"""How long there is to sign: a hardware key wants to be found and touched."""


def key_digest(key: str) -> str:
    """Return the SHA-256 of a public key as OpenSSH writes it, without comment."""
    return sha256(key.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginText:
    """What is signed, as JSON: so that it is good for nothing else, and nowhere else."""

    purpose: str
    platform: str
    nonce: str
    expires_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginChallenge:
    """What an operator is to sign, with `ssh-keygen -Y sign -n pltfrms-login`."""

    text: str
    seal: str
    """By which any controller knows that one of them has said it."""
    keys: tuple[str, ...]
    """SHA-256 of the keys that may sign it, in hexadecimal digits: no names to strangers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginAsk:
    """A signed challenge."""

    text: str
    seal: str
    key: str
    """The public key, as OpenSSH writes it, without comment."""
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginReply:
    """A token, and whose it is."""

    platform: str
    operator: str
    role: OperatorRole | None
    token: str
    expires_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginClaim:
    """What a token says."""

    platform: str
    operator: str
    key: str
    """Digest of the key that has signed: without it in the platform the token is void."""
    expires_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSecret:
    """In the store: what tokens are sealed with."""

    secret: str
    """256 random bits, in hexadecimal digits."""
