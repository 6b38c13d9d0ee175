"""Signatures of OpenSSH: with the keys that people have, also in agents and hardware."""

import secrets
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pltfrms.drivers.operators.ports import NAMESPACE
from pltfrms.drivers.tool import ToolFailedError, run_tool
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.network.topology import Operator

_PROGRAM = "ssh-keygen"
_SECRET_BYTES = 32


class SshSignatures:
    """`ports.Signatures` by `ssh-keygen -Y`."""

    def new_secret(self) -> str:
        """Return 256 bits that nobody can guess, in hexadecimal digits."""
        return secrets.token_hex(_SECRET_BYTES)

    async def signer(
        self,
        text: str,
        signature: str,
        operators: Sequence[Operator],
        namespace: str = NAMESPACE,
    ) -> str:
        """Return who has signed a text."""
        with _files(signature, operators, namespace) as files:
            found = await _asked("find-principals", *files)
            name = found.strip()
            if name not in {operator.name for operator in operators}:
                raise UsageError("it is signed by none of the platform's operators")
            said = await _asked("verify", "-I", name, "-n", namespace, *files, text=text)
        if not said:
            raise UsageError(f"it is not what {name} has signed")
        return name


@contextmanager
def _files(
    signature: str, operators: Sequence[Operator], namespace: str
) -> Iterator[tuple[str, ...]]:
    """Have the signature, and whose keys are allowed, in files; yield the words for them."""
    allowed = "".join(
        f'{operator.name} namespaces="{namespace}" {key}\n'
        for operator in operators
        for key in operator.keys
    )
    with TemporaryDirectory(prefix="pltfrms-") as directory:
        signers, signed = Path(directory, "signers"), Path(directory, "signature")
        signers.write_text(allowed)
        signed.write_text(signature)
        yield "-f", str(signers), "-s", str(signed)


async def _asked(verb: str, *words: str, text: str = "") -> str:
    """Return what ssh-keygen says; empty if it says no."""
    try:
        return await run_tool(_PROGRAM, "-Y", verb, *words, text=text)
    except ToolFailedError:
        return ""


def sign(text: str, key: Path, namespace: str = NAMESPACE) -> str:
    """Return the signature of a text with a key; asks the user for its passphrase.

    `key` is a private key, or a public one whose private half an agent has.

    Raises:
        UnavailableError: there is no such key, or it cannot sign.
    """
    command = (_PROGRAM, "-q", "-Y", "sign", "-f", str(key), "-n", namespace)
    try:
        # A person may be asked for a passphrase, and may take any time for it.
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, timeout=None
        )
    except FileNotFoundError as error:
        raise UnavailableError(f"{_PROGRAM} is not installed") from error
    if done.returncode:
        why = done.stderr.strip() or f"exit code {done.returncode}"
        raise UnavailableError(f"cannot sign with {key}: {why}")
    return done.stdout
