"""The seam to what people have signed."""

from collections.abc import Sequence
from typing import Protocol

from pltfrms.model.network.topology import Operator


class Signatures(Protocol):
    """Who has signed a text."""

    async def signer(self, text: str, signature: str, operators: Sequence[Operator]) -> str:
        """Return the name of the operator whose key made this signature of this text.

        Raises:
            UsageError: none of them did.
            UnavailableError: it cannot be found out.
        """
        ...
