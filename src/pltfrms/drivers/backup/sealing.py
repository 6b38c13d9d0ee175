"""Seals by OpenSSL: CMS (RFC 5652) with AES-256 in GCM (RFC 5083, RFC 5084).

Who has the certificate can seal; to open takes the private key, which no machine of the
platform needs to have.
"""

from pathlib import Path
from typing import Final

from pltfrms.drivers.tool import ToolFailedError, run_tool
from pltfrms.errors import UnavailableError, UsageError

_SECONDS: Final = 60.0
_DAYS: Final = "36500"


class OpensslSeal:
    """`ports.Seal` by the program `openssl`."""

    def __init__(self, certificate: Path, key: Path | None = None) -> None:
        """Seal with a certificate; open with its private key."""
        self._certificate = certificate
        self._key = key

    async def close(self, text: str) -> str:
        """See `ports.Seal`."""
        words = ("-encrypt", "-aes-256-gcm", "-outform", "PEM")
        return await self._cms(*words, "-recip", str(self._certificate), text=text)

    async def open(self, sealed: str) -> str:
        """See `ports.Seal`."""
        if self._key is None:
            raise UsageError("it takes the private key to open a backup")
        words = ("-decrypt", "-inform", "PEM", "-recip", str(self._certificate))
        try:
            return await self._cms(*words, "-inkey", str(self._key), text=sealed)
        except ToolFailedError as error:
            raise UsageError(
                "it was not sealed for this key, or is damaged; nothing of it is used"
            ) from error

    async def _cms(self, *words: str, text: str) -> str:
        command = ("openssl", "cms", "-binary", *words)
        return await run_tool(*command, text=text, seconds=_SECONDS)


async def make_key(directory: Path, platform: str) -> tuple[Path, Path]:
    """Write a new private key and its certificate into a directory; return their paths.

    Raises:
        UsageError: there is one already.
        UnavailableError: OpenSSL says no.
    """
    key, certificate = directory / "backup.key", directory / "backup.crt"
    for path in (key, certificate):
        if path.exists():
            raise UsageError(f"{path} exists; a backup can be opened by its own key alone")
    key.touch(mode=0o600)
    words = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-x509")
    files = ("-keyout", str(key), "-out", str(certificate))
    name = ("-subj", f"/CN=backups of {platform}", "-days", _DAYS)
    try:
        await run_tool("openssl", "req", *words, *files, *name)
    except UnavailableError:
        key.unlink(missing_ok=True)
        raise
    return key, certificate
