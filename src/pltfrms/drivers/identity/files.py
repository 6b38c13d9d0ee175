"""The identity of this machine on its disk: one file, so that its parts always fit together.

`identity.pem` has, after a line of JSON, the private key, the certificate, and the controller's
that has signed it. OpenSSL skips the first line.
"""

import base64
import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from pltfrms.drivers.identity.der import CertificateWords, read_words
from pltfrms.drivers.private import locked, make_directory, replace_file
from pltfrms.errors import UsageError
from pltfrms.model.identity.lives import Life
from pltfrms.model.identity.words import IDENTITY_FILE, Certified, RootDrop

DIRECTORY: Final = "identity"
"""In the directory of a machine's state."""
_ROOT: Final = re.compile(
    r"since ([0-9]+)(?: drop ([a-z ]+))?\n(-----BEGIN [^:]*?-----END CERTIFICATE-----\n)"
)
_OTHERS: Final = 0o077
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What this machine shows of itself, and whom it trusts."""

    platform: str
    machine: str
    roots: str
    """As PEM."""
    request: str
    """For a certificate of the same key, as PEM: what a renewal sends."""
    not_before_ms: int
    not_after_ms: int
    made_ms: int
    """When the certificate was taken, by this machine's clock."""
    joined_by: str = ""
    """SHA-256 of the secret of the token with which it has joined; empty: it needed none."""

    @property
    def life(self) -> Life:
        """Of the certificate."""
        return Life(not_before_ms=self.not_before_ms, not_after_ms=self.not_after_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedRoot:
    """A root that a controller trusts, and has machines trust."""

    since_ms: int
    """By the clock of the controller; 0: it began with it."""
    certificate: str
    """As PEM."""
    drop: RootDrop = RootDrop.NO
    """Whether it is to be trusted no more, which all controllers do together."""


class RootsFile:
    """Which roots a controller trusts; without it, that of its identity.

    Roots of an identity come with each renewal from any controller: what an operator has added
    must not go with the next one.
    """

    def __init__(self, state: Path) -> None:
        """Look in a machine's directory of state; nothing is read."""
        self.path = state / DIRECTORY / "roots.pem"

    def read(self) -> tuple[TrustedRoot, ...]:
        """Return them, oldest first; none if there is no file.

        Raises:
            UsageError: it cannot be read, or others may read it.
        """
        if not self.path.exists():
            return ()
        return tuple(
            TrustedRoot(
                since_ms=int(found[1]), certificate=found[3], drop=RootDrop(found[2] or "")
            )
            for found in _ROOT.finditer(private_text(self.path))
        )

    def write(self, roots: Sequence[TrustedRoot]) -> None:
        """Replace them, all at once; OSError if the disk refuses."""
        make_directory(self.path.parent)
        parts = (
            f"since {each.since_ms}{f' drop {each.drop}' if each.drop else ''}\n"
            f"{each.certificate.strip()}\n"
            for each in roots
        )
        replace_file(self.path, "".join(parts).encode())


class IdentityFile:
    """Where the identity of this machine is."""

    def __init__(self, state: Path) -> None:
        """Look in a machine's directory of state; nothing is read."""
        self.directory = state / DIRECTORY
        self.path = self.directory / IDENTITY_FILE
        self._roots = RootsFile(state)

    @property
    def there(self) -> bool:
        """Whether this machine has an identity: from then on it speaks by TLS alone."""
        return self.path.is_file()

    def read(self) -> Identity:
        """Return the identity.

        Raises:
            UsageError: there is none, it cannot be read, or others may read it.
        """
        head, _, _ = self._text().partition("\n")
        try:
            word: dict[str, Any] = json.loads(head)
            own = Identity(**word)
        except (ValueError, TypeError) as error:
            raise UsageError(f"{self.path} is no identity: {error}; join again") from error
        roots = "".join(each.certificate for each in self._roots.read())
        return replace(own, roots=roots) if roots else own

    def key(self) -> str:
        """Return the private key as PEM; UsageError as `read`."""
        text = self._text().partition("\n")[2]
        return text[: text.index(_BEGIN)]

    def roots(self) -> tuple[TrustedRoot, ...]:
        """Return the roots that are trusted here, as `RootsFile` keeps them; UsageError."""
        return self._roots.read() or tuple(
            TrustedRoot(since_ms=0, certificate=each) for each in _each_of(self.read().roots)
        )

    def trust(self, roots: Sequence[TrustedRoot], before: Sequence[TrustedRoot]) -> bool:
        """Trust these roots; False if they are not any more what they were `before`.

        Raises:
            UsageError: the files cannot be read.
            OSError: the disk refuses.
        """
        with locked(self.directory):
            if self.roots() != tuple(before):
                return False
            self._roots.write(roots)
        return True

    def write(
        self, key: str, request: str, made: Certified, now_ms: int, joined_by: str = ""
    ) -> None:
        """Replace the identity, all of it at once; OSError if the disk refuses."""
        make_directory(self.directory)
        with locked(self.directory):
            self._write(key, request, made, now_ms, joined_by)

    def _write(
        self, key: str, request: str, made: Certified, now_ms: int, joined_by: str
    ) -> None:
        word = Identity(
            platform=made.platform,
            machine=made.machine,
            roots=made.roots,
            request=request,
            not_before_ms=made.not_before_ms,
            not_after_ms=made.not_after_ms,
            made_ms=now_ms,
            joined_by=joined_by,
        )
        head = json.dumps(asdict(word))
        replace_file(self.path, f"{head}\n{key.strip()}\n{made.chain}".encode())

    def renew(self, made: Certified, now_ms: int) -> None:
        """Put a younger certificate of the same key in; OSError if the disk refuses.

        Raises:
            UsageError: it is of another machine, or of another key: somebody has joined
                again meanwhile.
        """
        with locked(self.directory):
            known = self.read()
            if (made.platform, made.machine) != (known.platform, known.machine):
                raise UsageError(f"a certificate for {made.machine}: this is {known.machine}")
            if _words_of(made.chain).public_key != self._words().public_key:
                raise UsageError(
                    f"the certificate is for another key than {self.path} has now: has this "
                    "machine joined again meanwhile? then it needs none; else join again"
                )
            self._write(self.key(), known.request, made, now_ms, known.joined_by)

    def issuer(self) -> str:
        """Return the name of who has signed the certificate; empty: nobody.

        Raises:
            UsageError: the file cannot be read.
        """
        return self._words().issuer

    def says(self, name: str) -> bool:
        """Return whether the certificate has a name (DNS); UsageError as `issuer`."""
        return name.encode() in _der_of(self._text().partition("\n")[2])

    def _words(self) -> CertificateWords:
        return _words_of(self._text().partition("\n")[2])  # the first line has the roots

    def changed_at(self) -> int:
        """Return what changes with every change of the files; 0: they are not there."""
        found = 0
        for path in (self.path, self._roots.path):
            with contextlib.suppress(OSError):
                found += path.stat().st_mtime_ns
        return found

    def is_signed_with(self, certificate: str) -> bool:
        """Return whether an authority's certificate (PEM) goes with ours; UsageError."""
        return certificate.strip() in self._text()

    def _text(self) -> str:
        return private_text(self.path)


def _each_of(roots: str) -> list[str]:
    return [f"{each}{_END}\n" for each in roots.replace("\r", "").split(f"{_END}\n") if each]


def _words_of(text: str) -> CertificateWords:
    """Return what the first certificate of a text (PEM) says."""
    return read_words(_der_of(text))


def _der_of(text: str) -> bytes:
    """Return the first certificate of a text (PEM); empty: it cannot be read."""
    body = text.partition(_BEGIN)[2].partition(_END)[0]
    try:
        return base64.b64decode(body)
    except ValueError:
        return b""


def private_text(path: Path) -> str:
    """Return what a file has that is for us alone.

    Raises:
        UsageError: it cannot be read, or others may read it.
    """
    try:
        mode, text = path.stat().st_mode, path.read_text()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; join with a token") from error
    if mode & _OTHERS:
        raise UsageError(f"{path} may be read by others: chmod 600 {path}")
    return text
