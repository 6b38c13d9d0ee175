"""The seam to what people have signed."""

from collections.abc import Sequence
from typing import Final, Protocol

from pltfrms.model.network.topology import Operator

NAMESPACE: Final = "pltfrms"
"""What a signature of a change is for, so that one for a file or a commit of git is none."""


class Signatures(Protocol):
    """Who has signed a text."""

    async def signer(
        self,
        text: str,
        signature: str,
        operators: Sequence[Operator],
        namespace: str = NAMESPACE,
    ) -> str:
        """Return the name of the operator whose key made this signature of this text.

        It must have been made for `namespace`.

        Raises:
            UsageError: none of them did.
            UnavailableError: it cannot be found out.
        """
        ...

    def new_secret(self) -> str:
        """Return 256 bits that nobody can guess, in hexadecimal digits."""
        ...
