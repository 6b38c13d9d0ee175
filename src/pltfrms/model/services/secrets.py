"""Secrets: what has a value that only those who use it are told. No value is in these words."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

SECRET_BYTES_MAX: Final = 65_536
SECRETS_DIRECTORY: Final = "secrets"
"""Of an instance's files; of a container, below /run/pltfrms."""
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}\Z")


class OnChange(StrEnum):
    """What becomes of instances that use a secret which gets another value."""

    RESTART = "restart"
    """The service gets a new version, which comes by stages."""
    NOTHING = "nothing"
    """They go on; who is started later has the new value."""
    SIGNAL_HUP = "signal HUP"
    """They go on with the new value in its file, and get a signal."""
    SIGNAL_USR1 = "signal USR1"
    SIGNAL_USR2 = "signal USR2"

    @property
    def signal(self) -> str:
        """Which signal instances get, such as HUP; empty: none."""
        return self.value.partition(" ")[2]


class Generate(StrEnum):
    """What controllers make of a secret that has no value when a service is applied."""

    NOTHING = ""
    """It must have been given one."""
    PASSWORD = "password"  # noqa: S105 (the name of a kind)
    """Letters that nobody guesses."""
    AUTHORITY = "authority"
    """A key and a certificate that signs others; the certificate alone is another secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretUse:
    """How an instance is given a secret; as a variable, a file, or both."""

    name: str
    variable: str = ""
    """Of its environment; empty: none."""
    file: str = ""
    """Below the directory of secrets; empty: none."""
    mode: int = 0o400
    """Of the file, which is the user's that the instance runs as."""
    on_change: OnChange = OnChange.RESTART
    registry: bool = False
    """Whoever fetches the image shows it to its registry; the instance is not given it."""
    version: int = 0
    """Which value; 0: the newest one when it is started. Never said by a spec."""
    generate: Generate = field(default=Generate.NOTHING, repr=False)
    """No part of what an instance is: fingerprints of the release before have it not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretNote:
    """What everybody may know of a secret."""

    name: str
    version: int
    """Counts its values; none has a number that a deleted secret had."""
    changed_ms: int = 0
    """Unix time at which it got this value."""
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedValue:
    """One value, for who has a key of the controllers."""

    version: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """A secret in the store."""

    note: SecretNote
    values: tuple[SealedValue, ...]
    """The newest, and those before it that a service still uses."""

    def sealed(self, version: int) -> str:
        """Return a value as it is sealed; empty: it is not kept."""
        return next((each.text for each in self.values if each.version == version), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsKey:
    """To whom controllers seal values: the public half of what they alone have."""

    public: str
    last: int = 0
    """The highest number of a value of a secret that was deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredSecret:
    """A value for one machine, which alone can open it."""

    name: str
    version: int
    sealed: str = ""


def authority_half(name: str) -> str:
    """Return what the certificate of a secret is called that is an authority."""
    return f"{name}-ca"


def is_secret_name(name: str) -> bool:
    """Return whether a secret can be called so."""
    return bool(_NAME.match(name))


def value_words(name: str, version: int) -> str:
    """Return what a value in the store is sealed together with: none stands for another."""
    return f"secret {name} {version}"


def delivery_words(machine: str, name: str, version: int) -> str:
    """Return the same of a value on its way to a machine."""
    return f"machine {machine} {value_words(name, version)}"
