"""Signatures in memory, for tests: no secret is behind them."""

import hashlib
from collections.abc import Sequence

from pltfrms.errors import UsageError
from pltfrms.model.network.topology import Operator


def memory_signature(text: str, public_key: str) -> str:
    """Return the signature that the owner of a key would make of a text."""
    return f"{public_key} {hashlib.sha256(text.encode()).hexdigest()}"


class MemorySignatures:
    """`ports.Signatures` without OpenSSH."""

    async def signer(self, text: str, signature: str, operators: Sequence[Operator]) -> str:
        """Return who has signed a text."""
        for operator in operators:
            for key in operator.keys:
                if signature == memory_signature(text, key):
                    return operator.name
                if signature.startswith(f"{key} "):
                    raise UsageError(f"it is not what {operator.name} has signed")
        raise UsageError("it is signed by none of the platform's operators")
