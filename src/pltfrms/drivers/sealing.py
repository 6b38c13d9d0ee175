"""Seal values for who has a private key: X25519, HKDF-SHA256, ChaCha20-Poly1305.

Each value has a key of its own, which follows from a fresh pair and the public key that it is
sealed to (as in age, and HPKE). So the nonce is always the same. A sealed text is

    1.WHOSE.EPHEMERAL.CIPHERTEXT       each in base64url; WHOSE tells keys apart

The library is imported when it is used first: most machines never do.
"""

import base64
import binascii
import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pltfrms.drivers.private import (
    PASSED_DIRECTORY,
    PRIVATE_FILE,
    locked,
    make_directory,
    others_may,
    replace_file,
)
from pltfrms.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

CONTROLLERS_KEYS: Final = "secrets.key"
"""In the state of a controller: all of them have the same."""
MACHINE_KEY: Final = "secrets-machine.key"
"""In the state of a machine, and nowhere else."""
_FORMAT: Final = "1"
_NONCE: Final = bytes(12)
_KEY_BYTES: Final = 32
_PARTS: Final = 4


def make_private() -> str:
    """Return a new private key."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415

    return _text(X25519PrivateKey.generate().private_bytes_raw())


def public_of(private: str) -> str:
    """Return the public half of a private key; UsageError if it is none."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey  # noqa: PLC0415

    key = X25519PrivateKey.from_private_bytes(_key_bytes(private))
    return _text(key.public_key().public_bytes_raw())


def seal(public: str, value: bytes, about: str) -> str:
    """Return a value for who has the private half of a key.

    It is opened together with the same words `about` it only. UsageError: that is no key.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import (  # noqa: PLC0415
        X25519PrivateKey,
        X25519PublicKey,
    )
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305  # noqa: PLC0415

    key = X25519PublicKey.from_public_bytes(_key_bytes(public))
    fresh = X25519PrivateKey.generate()
    ephemeral = fresh.public_key().public_bytes_raw()
    try:
        shared = fresh.exchange(key)
    except ValueError as error:
        raise UsageError("that is no public key") from error
    secret = _derived(shared, ephemeral, key)
    sealed = ChaCha20Poly1305(secret).encrypt(_NONCE, value, about.encode())
    return ".".join((_FORMAT, _whose(public), _text(ephemeral), _text(sealed)))


def unseal(privates: Iterable[str], sealed: str, about: str) -> bytes:
    """Return the value of a sealed text.

    Raises:
        UsageError: it is for another key, about something else, or damaged.
    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.x25519 import (  # noqa: PLC0415
        X25519PrivateKey,
        X25519PublicKey,
    )
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305  # noqa: PLC0415

    parts = sealed.split(".")
    if len(parts) != _PARTS or parts[0] != _FORMAT:
        raise UsageError("it is not sealed as this version does it")
    private = next((each for each in privates if _whose(public_of(each)) == parts[1]), "")
    if not private:
        raise UsageError("it is sealed for a key that is not here")
    own = X25519PrivateKey.from_private_bytes(_key_bytes(private))
    try:
        ephemeral = X25519PublicKey.from_public_bytes(_key_bytes(parts[2]))
        secret = _derived(own.exchange(ephemeral), _bytes(parts[2]), own.public_key())
        return ChaCha20Poly1305(secret).decrypt(_NONCE, _bytes(parts[3]), about.encode())
    except (InvalidTag, ValueError) as error:
        raise UsageError("it is damaged, or stands in the place of another") from error


def is_for(sealed: str, public: str) -> bool:
    """Return whether a text is sealed for who has the private half of a key."""
    return sealed.split(".")[1:2] == [_whose(public)]


class KeyFile:
    """Private keys on a disk, one a line, newest first; for us alone."""

    def __init__(self, path: Path) -> None:
        """Nothing is read."""
        self.path = path

    def read(self) -> tuple[str, ...]:
        """Return the keys; none if there is no file. Nobody else may read it afterwards.

        Raises:
            UsageError: it cannot be read, or has something else in it.
        """
        try:
            if others_may(self.path):
                self.path.chmod(PRIVATE_FILE)
            keys = tuple(self.path.read_text(errors="replace").split())
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise UsageError(f"{self.path}: {error.strerror}") from error
        for key in keys:
            public_of(key)
        return keys

    def first(self) -> str:
        """Return the newest key, which is made if there is none.

        Raises:
            UsageError: see `read`.
            OSError: the disk refuses.
        """
        keys = self.read()
        return keys[0] if keys else self.add((make_private(),))[0]

    def add(self, keys: Iterable[str]) -> tuple[str, ...]:
        """Put keys before those that are there; return all of them.

        Raises:
            UsageError: see `read`; or what is to be put there is no key, and nothing is done.
            OSError: the disk refuses.
        """
        keys = tuple(keys)
        for key in keys:
            public_of(key)
        make_directory(self.path.parent, PASSED_DIRECTORY)
        with locked(self.path.parent):
            known = self.read()
            found = tuple(dict.fromkeys((*keys, *known)))
            if found != known:
                replace_file(self.path, "".join(f"{key}\n" for key in found).encode())
        return found


class NodeKey:
    """The key of one machine, both halves: the public one is said without a library."""

    def __init__(self, state: Path) -> None:
        """Look in a machine's directory of state; nothing is read."""
        self._file = state / MACHINE_KEY

    @property
    def public(self) -> str:
        """What values are sealed to; empty: there is no key yet, or the file has no keys."""
        try:
            _, public = map(_key, self._words())
        except (UsageError, ValueError):
            return ""
        return public

    def make(self) -> None:
        """Make another one; OSError if the disk refuses."""
        private = make_private()
        replace_file(self._file, f"{private}\n{public_of(private)}\n".encode())

    def open(self, sealed: str, about: str) -> bytes:
        """Return a value.

        Raises:
            UsageError: it is for another key, about something else, or damaged.
        """
        return unseal(self._words()[:1], sealed, about)

    def _words(self) -> list[str]:
        try:
            return self._file.read_text(errors="replace").split()
        except OSError as error:
            raise UsageError(f"{self._file}: {error.strerror}") from error


def _derived(shared: bytes, ephemeral: bytes, key: "X25519PublicKey") -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    salt = ephemeral + key.public_bytes_raw()
    words = b"pltfrms sealed value 1"
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=salt, info=words).derive(shared)


def _whose(public: str) -> str:
    return hashlib.sha256(public.encode()).hexdigest()[:16]


def _key(text: str) -> str:
    _key_bytes(text)
    return text


def _key_bytes(text: str) -> bytes:
    key = b""
    with contextlib.suppress(UsageError):
        key = _bytes(text)
    if len(key) != _KEY_BYTES:
        raise UsageError("that is no key")
    return key


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError("it is damaged") from error
