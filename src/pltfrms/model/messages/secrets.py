"""What operators and controllers say to each other about secrets.

GET    /v1/secrets         -> tuple[SecretView, ...]
POST   /v1/secrets         SecretChange -> SecretReply
DELETE /v1/secrets/{name}  -> SecretReply
POST   /v1/secrets-key     SecretsKeyChange -> SecretsKeyReply
GET    /v1/identity/secrets -> SecretsKeyring, for controllers alone
"""

from dataclasses import dataclass, field
from enum import StrEnum

from pltfrms.model.messages.api import ChangeLine
from pltfrms.model.services.secrets import SecretNote


class SecretVerb(StrEnum):
    """What becomes of a secret."""

    SET = "set"
    """It is new."""
    ROTATE = "rotate"
    """It gets another value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretChange:
    """A value, which no controller ever says again."""

    verb: SecretVerb
    name: str
    value: str = field(repr=False)
    """In base64."""
    by: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReply:
    """What was done."""

    revision: int
    changes: tuple[ChangeLine, ...]
    """The secret, and the services that get a new version for it."""
    warning: str = ""
    """Who else may see it, as things are here; empty: nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretView:
    """A secret, for readers."""

    note: SecretNote
    services: tuple[str, ...] = ()
    """Who uses it, sorted."""
    jobs: tuple[str, ...] = ()
    """Likewise; their next runs have its newest value."""

    @property
    def users(self) -> tuple[str, ...]:
        """Services by their names, and jobs as such."""
        return (*self.services, *(f"job {name}" for name in self.jobs))


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsKeyChange:
    """Controllers are to have another key."""

    by: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsKeyReply:
    """What was sealed anew."""

    sealed: tuple[str, ...]
    lost: tuple[str, ...] = ()
    """Secrets that no key here opens: they must be given a value again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretsKeyring:
    """The keys of the controllers, newest first; from one to another."""

    keys: tuple[str, ...] = field(repr=False)
