"""Who is who: what machines show and ask for, and what the store keeps of it.

A certificate says the name of a machine and nothing of what it may do: that stands in the
platform. Its serial number begins with how often the machine has joined, so that one number in
the store makes all older certificates of a machine void.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from pltfrms.errors import UsageError

IDENTITY_FILE: Final = "identity.pem"
"""In the directory `identity` of a machine's state: key, certificate, and what it is for."""
LEAVING_FILE: Final = "leaving"
"""In the directory of a machine's state: it was found that it may leave; a join ends that."""
_RANDOM_BITS: Final = 64
"""Of a serial number; with how often the machine has joined it is well below 20 octets."""
_AUTHORITY: Final = " authority"
_MACHINE: Final = r"[a-zA-Z0-9][a-zA-Z0-9.-]{0,39}"
_URI: Final = re.compile(rf"pltfrms://([a-z][a-z0-9-]{{0,31}})/machine/({_MACHINE})")
_TOKEN: Final = re.compile(rf"({_MACHINE})\.([0-9a-f]{{32}})\.([0-9a-f]{{64}})")


def machine_uri(platform: str, machine: str) -> str:
    """Return the name of a machine in its certificate."""
    return f"pltfrms://{platform}/machine/{machine}"


def machine_of(uri: str, platform: str) -> str:
    """Return which machine of a platform a certificate names; empty: none."""
    found = _URI.fullmatch(uri)
    return found[2] if found and found[1] == platform else ""


def machine_server_name(platform: str, machine: str) -> str:
    """Return the name under which a machine answers by TLS; it is in no DNS (RFC 9525)."""
    return f"{machine}.machine.{platform}.pltfrms.internal"


def controllers_server_name(platform: str) -> str:
    """Return the name under which every controller answers by TLS, and nobody else."""
    return f"controllers.{platform}.pltfrms.internal"


def machines_server_name(platform: str) -> str:
    """Return the name under which every machine answers by TLS, for who reads metrics of all.

    No machine of ours asks another one by it: each answers to it.
    """
    return f"machines.{platform}.pltfrms.internal"


def authority_name(controller: str) -> str:
    """Return what certificates call a controller that has signed them."""
    return f"{controller}{_AUTHORITY}"


def controller_of(authority: str) -> str:
    """Return which controller an authority is of; empty: of none."""
    name = authority.removesuffix(_AUTHORITY)
    return name if name != authority else ""


def serial_of(joins: int, random: int) -> int:
    """Return a serial number: how often the machine has joined, and 64 random bits."""
    return (joins << _RANDOM_BITS) | (random & ((1 << _RANDOM_BITS) - 1))


def joins_of(serial: int) -> int:
    """Return how often a machine had joined when a certificate was made."""
    return serial >> _RANDOM_BITS


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinToken:
    """What lets one machine join once: `NAME.SECRET.PIN`."""

    machine: str
    secret: str
    """128 random bits, in hexadecimal digits."""
    pin: str
    """SHA-256 of the public key (SubjectPublicKeyInfo) of the platform's root."""

    @property
    def text(self) -> str:
        """The token as people carry it."""
        return f"{self.machine}.{self.secret}.{self.pin}"

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the token that a text says; UsageError if it says none."""
        found = _TOKEN.fullmatch(text.strip())
        if found is None:
            raise UsageError(
                "that is no token: it has the form NAME.SECRET.PIN; "
                "make one on a controller: pltfrms machine token NAME"
            )
        return cls(machine=found[1], secret=found[2], pin=found[3])


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCertificate:
    """What a certificate says that TLS has verified: by whom it is made, and its dates."""

    uris: tuple[str, ...]
    serial: int
    issuer: str
    """Name of the authority that has signed it."""
    public_key: str
    """SubjectPublicKeyInfo, in base64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineKey:
    """In the store: the key of a machine, from when it joined last."""

    machine: str
    joins: int
    """How often it has joined; certificates of fewer are void."""
    public_key: str
    """SubjectPublicKeyInfo, as PEM; empty: revoked, it must join again."""
    at_ms: int

    def has(self, public_key: str) -> bool:
        """Return whether this is its key, in base64."""
        own = "".join(self.public_key.splitlines()[1:-1])
        return bool(public_key) and own == public_key


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningNote:
    """In the store: that a controller can sign certificates."""

    controller: str
    until_ms: int
    since_ms: int = 0
    """From when it signs by this root: what it signed with first is good from a day before it
    was made; another root counts from when the controller that runs has it."""
    root: str = ""
    """Pin of the root that has signed that; empty: the controller does not say."""


class RootDrop(StrEnum):
    """How far it is that a root is trusted no more."""

    NO = ""
    WANTED = "wanted"
    """As soon as no machine needs it."""
    AT_ONCE = "at once"
    """Although machines may need it."""
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class RootNote:
    """A root that controllers trust, or have trusted."""

    pin: str
    """SHA-256 of its public key."""
    certificate: str
    """As PEM."""
    since_ms: int
    """When the last controller was told of it; 0: all began with it."""
    drop: RootDrop = RootDrop.NO


@dataclass(frozen=True, slots=True, kw_only=True)
class RootNotes:
    """In the store: all of them, so that they change together."""

    roots: tuple[RootNote, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenNote:
    """In the store: the last token of a machine, without what makes it work."""

    machine: str
    digest: str
    """SHA-256 of its secret."""
    expires_ms: int
    used_by: str = ""
    """Public key that has joined with it, as PEM; empty: nobody has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAsk:
    """Somebody wants a token for a machine."""

    machine: str
    by: str = ""
    void: bool = False
    """What the machine has is void at once, and not only when somebody joins with the token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenReply:
    """A new token. It cannot be shown again."""

    token: str
    expires_ms: int
    void: bool = False
    """What the machine had is void, as was asked for. A controller of a release that does not
    know that leaves it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinAsk:
    """A machine joins."""

    machine: str
    secret: str
    request: str
    """Certificate signing request (RFC 2986), as PEM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveAsk:
    """A machine that TLS knows leaves: what it has is to be void."""

    machine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """All that a machine needs to join which reaches nobody yet, in one file."""

    token: str
    """As people carry it: whose machine it is, its secret, and the pin of the root."""
    roots: str
    """Whom machines of the platform trust, as PEM."""
    controllers: tuple[str, ...]
    """Addresses inside the platform, those of the machine's datacenter first."""
    platform: str
    """The text of platform.yaml: how to reach them."""
    backbone_secret: str = ""
    """Of tunnels; empty: it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalAsk:
    """A machine that TLS knows wants a younger certificate."""

    machine: str
    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NonceReply:
    """What a machine is to sign, to show that it has a key."""

    nonce: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnAsk:
    """A machine whose certificate has expired shows that it has the recorded key."""

    machine: str
    nonce: str
    request: str
    signature: str
    """Of `return_text`, by ECDSA with SHA-256, in hexadecimal digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """A certificate, and what goes with it."""

    platform: str
    machine: str
    chain: str
    """The certificate, then the controller's that has signed it, as PEM."""
    roots: str
    """What they are verified with, as PEM."""
    not_before_ms: int
    not_after_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Roots:
    """Whom machines of a platform trust; who asks compares with the pin of a token."""

    platform: str
    roots: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAuthority:
    """What members of the store, and who asks them, show and believe."""

    authority: str
    """Key and certificate, as PEM; empty: they speak plainly."""


def return_text(ask_machine: str, nonce: str) -> str:
    """Return the text that a machine signs that comes back."""
    return f"pltfrms return {ask_machine} {nonce}"
