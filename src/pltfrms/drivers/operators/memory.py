"""Signatures in memory, for tests: no secret is behind them."""

import hashlib
from collections.abc import Sequence

from pltfrms.drivers.operators.ports import NAMESPACE
from pltfrms.errors import UsageError
from pltfrms.model.network.topology import Operator


def memory_signature(text: str, public_key: str, namespace: str = NAMESPACE) -> str:
    """Return the signature that the owner of a key would make of a text."""
    return f"{public_key} {hashlib.sha256(f'{namespace} {text}'.encode()).hexdigest()}"


class MemorySignatures:
    """`ports.Signatures` without OpenSSH."""

    def __init__(self) -> None:
        """Have told no secret yet."""
        self._told = 0

    def new_secret(self) -> str:
        """Return another one each time."""
        self._told += 1
        return hashlib.sha256(f"{id(self)} {self._told}".encode()).hexdigest()

    async def signer(
        self,
        text: str,
        signature: str,
        operators: Sequence[Operator],
        namespace: str = NAMESPACE,
    ) -> str:
        """Return who has signed a text."""
        for operator in operators:
            for key in operator.keys:
                if signature == memory_signature(text, key, namespace):
                    return operator.name
                if signature.startswith(f"{key} "):
                    raise UsageError(f"it is not what {operator.name} has signed")
        raise UsageError("it is signed by none of the platform's operators")
