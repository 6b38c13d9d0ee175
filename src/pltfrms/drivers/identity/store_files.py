"""What a controller's machine shows to members of the store, and its own member to others.

`store-authority.pem` in the directory of the identity is the same on all controllers; without
it the store speaks plainly. Who signs machines has nothing to do with it: a machine is nobody
to the store. The library of certificates is loaded when one is made: it is 10 MB.
"""

import contextlib
import os
import ssl
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pltfrms.drivers.identity.files import DIRECTORY, private_text
from pltfrms.drivers.identity.tls import trusting_context
from pltfrms.drivers.private import make_directory, replace_file
from pltfrms.errors import UsageError

if TYPE_CHECKING:
    from pltfrms.drivers.identity.authority import Pair

RECOVERING_FILE: Final = "store-recovering"
"""In a machine's directory of state: the store is being recovered here, and is not to be used
before that is done."""
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"
_ASKS: Final = "controller"
_KNOWN_MAX: Final = 16
"""Authorities that one names, with itself."""


class StoreFiles:
    """Where they are, in a machine's directory of state."""

    def __init__(self, state: Path) -> None:
        """Nothing is read."""
        self._directory = state / DIRECTORY
        self._recovering = state / RECOVERING_FILE
        self.path = self._directory / "store-authority.pem"
        self.member = self._directory / "store.pem"
        """Key and certificate of this machine's member."""
        self.trusted = self._directory / "store-roots.pem"
        """Whom it believes."""

    @property
    def there(self) -> bool:
        """Whether members of the store speak by TLS, as far as this machine knows."""
        return self.path.is_file()

    def changed_at(self) -> int:
        """Return what changes with the authority; 0: there is none."""
        with contextlib.suppress(OSError):
            found = self.path.stat()
            return found.st_mtime_ns + found.st_ino  # clocks of disks tick every few ms only
        return 0

    @property
    def superseded(self) -> bool:
        """Whether our member believes, since it started, what a recovery has replaced.

        Raises:
            UsageError: see `text`.
            OSError: it is not known what it believes.
        """
        return follows(self.text(), self.trusted.read_text())

    def text(self) -> str:
        """Return the authority, as another controller keeps it; empty: there is none.

        Raises:
            UsageError: it cannot be read, or others may read it.
        """
        return private_text(self.path) if self.there else ""

    def offered(self) -> str:
        """Return it for another controller; empty also while a recovery here is not done.

        It may never be: who took it would not follow one that is done elsewhere.

        Raises:
            UsageError: see `text`.
        """
        return "" if self._recovering.exists() else self.text()

    def begin(self, platform: str) -> None:
        """Make an authority, unless there is one; OSError if the disk refuses."""
        if not self.there:
            self.begin_anew(platform)

    def begin_anew(self, platform: str) -> None:
        """Make an authority, which names those that were here before it.

        Raises:
            UsageError: that of before cannot be read.
            OSError: the disk refuses.
        """
        from pltfrms.drivers.identity.authority import make_store_authority  # noqa: PLC0415

        made, before = make_store_authority(platform), _certificates(self.text())
        kept = (made.key.strip(), made.certificate.strip(), *before[: _KNOWN_MAX - 1])
        self.keep("\n".join((*kept, "")))

    def keep(self, text: str) -> None:
        """Take an authority for ours.

        Raises:
            UsageError: it is none.
            OSError: the disk refuses.
        """
        from pltfrms.drivers.identity.authority import issue_for_store  # noqa: PLC0415

        issue_for_store(_pair(text), _ASKS, ())
        make_directory(self._directory)
        replace_file(self.path, text.encode())

    def furnish_member(
        self, machine: str, addresses: Sequence[IPv4Address | IPv6Address]
    ) -> None:
        """Write what this machine's member shows at its addresses, and whom it believes.

        What a disk has that takes no more is good enough: etcd may well go on with it.

        Raises:
            UsageError: the authority cannot be used.
            OSError: the disk refuses, and has nothing that goes with the authority.
        """
        from pltfrms.drivers.identity.authority import issue_for_store  # noqa: PLC0415

        authority = _pair(private_text(self.path))
        made = issue_for_store(authority, machine, addresses)
        trusted = f"{_certificates(authority.certificate)[0]}\n".encode()
        try:
            replace_file(self.member, f"{made.key.strip()}\n{made.certificate}".encode())
            replace_file(self.trusted, trusted)  # last: it says that the other one goes with it
        except OSError:
            if not self.trusted.is_file() or self.trusted.read_bytes() != trusted:
                raise

    def context(self) -> ssl.SSLContext:
        """Return what asks members: who that is, is made anew each time, and on no disk.

        So a disk that is full or takes no writes keeps nobody from the store.

        Raises:
            UsageError: the authority cannot be used.
        """
        from pltfrms.drivers.identity.authority import issue_for_store  # noqa: PLC0415

        authority = _pair(private_text(self.path))
        made = issue_for_store(authority, _ASKS, ())
        context = trusting_context(_certificates(authority.certificate)[0])
        try:
            with os.fdopen(os.memfd_create("store"), "wb") as file:  # OpenSSL reads files alone
                file.write(f"{made.key.strip()}\n{made.certificate}".encode())
                file.flush()
                context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
        except OSError as error:
            raise UsageError(f"{self.path} cannot be used: {error}") from error
        return context


def follows(text: str, before: str) -> bool:
    """Return whether an authority was made after another one, where that was."""
    own, *others = _certificates(text) or ("",)
    named = _certificates(before)[:1]
    return bool(named) and named[0] != own and named[0] in others


def _certificates(text: str) -> list[str]:
    """Return what PEM has, newest first."""
    _, *found = text.replace("\r", "").split(_BEGIN)
    return [f"{_BEGIN}{each.partition(_END)[0]}{_END}" for each in found]


def _pair(text: str) -> "Pair":
    from pltfrms.drivers.identity.authority import Pair  # noqa: PLC0415

    key, mark, certificate = text.partition(_BEGIN)
    return Pair(certificate=mark + certificate, key=key)
