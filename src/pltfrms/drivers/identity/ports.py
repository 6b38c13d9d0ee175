"""The seam to who signs certificates."""

from typing import Protocol

from pltfrms.model.identity.lives import Life
from pltfrms.model.identity.words import Certified


class Signer(Protocol):
    """What makes certificates of a platform's machines, and judges what they have signed."""

    platform: str
    roots: str
    """As PEM."""
    pin: str
    """SHA-256 of the public key, in hexadecimal digits, of the root that has signed what it
    signs with; of the first one if it has nothing to sign with."""
    certificate: str
    """Of what it signs with, as PEM; empty: it has nothing to sign with."""
    life: Life | None
    """Of what it signs with; None: it has nothing to sign with that machines believe."""

    def trust(self, roots: str) -> None:
        """Have machines trust these roots (PEM) from now on; UsageError if there is none."""
        ...

    def pin_of_root(self, certificate: str) -> str:
        """Return the SHA-256 of the public key of a root (PEM); UsageError if it is none."""
        ...

    def issue(self, request: str, machine: str, joins: int, *, controller: bool) -> Certified:
        """Return a certificate for the key of a request; what else that asks for is ignored.

        Raises:
            UsageError: the request is none, or not signed by its own key.
            UnavailableError: nothing can be signed now, and why.
        """
        ...

    def public_key_of(self, request: str) -> str:
        """Return the key of a request as PEM; UsageError if it is none, or of another kind."""
        ...

    def is_signed(self, text: str, signature: str, public_key: str) -> bool:
        """Return whether who has this key (PEM) has signed a text."""
        ...

    def new_secret(self) -> str:
        """Return 128 random bits, in hexadecimal digits."""
        ...
