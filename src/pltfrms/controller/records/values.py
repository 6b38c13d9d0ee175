"""Values of secrets: sealed for controllers in the store, for one machine on their way."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from pltfrms.drivers.sealing import KeyFile, is_for, public_of, seal, unseal
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.running.plan import Target
from pltfrms.model.services.secrets import (
    DeliveredSecret,
    StoredSecret,
    delivery_words,
    value_words,
)


class Values:
    """Opens what is sealed for the controllers, with the keys that this one has."""

    def __init__(self, file: KeyFile | None = None) -> None:
        """Read the file when it is needed; None: this controller keeps no keys."""
        self._file = file
        self._keys: dict[str, str] = {}
        """Private keys by their public halves."""

    @property
    def file(self) -> KeyFile:
        """Where the keys are; UnavailableError if they are kept nowhere."""
        if self._file is None:
            raise UnavailableError("this controller keeps no secrets; ask another one")
        return self._file

    def has(self, public: str) -> bool:
        """Return whether the private half of a key is here."""
        if public not in self._keys and self._file is not None:
            try:
                self._keys = {public_of(key): key for key in self._file.read()}
            except UsageError:
                return False
        return public in self._keys

    def problem(self, public: str, secrets: Collection[StoredSecret] = ()) -> str:
        """Return why what is sealed to a key, or a secret, is not opened; empty: all is."""
        if not public:
            return ""
        if self.has(public):
            lost = ", ".join(self.lost(secrets))
            return lost and (
                f"this controller has no key for a value of {lost}: unless another controller "
                "has it, give them another one: pltfrms secret rotate"
            )
        where = self._file.path if self._file else "no file"
        return (
            f"this controller cannot open secrets: the controllers' key is not in {where}; it "
            "is taken from other controllers, or copied from there; if none has it: pltfrms "
            "secret rotate-key"
        )

    def require(self, public: str) -> None:
        """Raise UnavailableError if what is sealed to a key could not be opened here."""
        if problem := self.problem(public):
            raise UnavailableError(problem)

    def lost(self, secrets: Collection[StoredSecret]) -> tuple[str, ...]:
        """Return the names of those that have a value whose key is not here."""
        if not all(map(self._knows, secrets)):
            self.has("")  # it may have come meanwhile
        return tuple(each.note.name for each in secrets if not self._knows(each))

    def opens(self, secret: StoredSecret) -> bool:
        """Return whether the keys of all its values are here."""
        return not self.lost((secret,))

    def _knows(self, secret: StoredSecret) -> bool:
        return all(
            any(is_for(value.text, public) for public in self._keys) for value in secret.values
        )

    def _has_key_of(self, sealed: str) -> bool:
        if not any(is_for(sealed, public) for public in self._keys):
            self.has("")  # it may have come meanwhile
        return any(is_for(sealed, public) for public in self._keys)

    def opened(self, secret: StoredSecret, version: int) -> bytes:
        """Return a value.

        Raises:
            UnavailableError: it is not kept, or this controller has not got its key.
        """
        name, sealed = secret.note.name, secret.sealed(version)
        if not sealed:
            raise UnavailableError(f"value {version} of secret {name} is not kept any more")
        self._has_key_of(sealed)
        try:
            return unseal(self._keys.values(), sealed, value_words(name, version))
        except UsageError as error:
            raise UnavailableError(f"secret {name} cannot be opened here: {error}") from error

    def delivered(
        self,
        target: Target,
        secrets: Mapping[str, StoredSecret],
        machine_key: str,
        public: str,
    ) -> Target:
        """Return a target with the values that it names, sealed to the machine's public key.

        What nobody opens any more is left out, and so is all if the machine has no key: that
        must not keep it from what else is wanted. `public` is the controllers' key.

        Raises:
            UnavailableError: one cannot be had here; another controller may have it.
            UsageError: that is no key.
        """
        if not target.secrets or not machine_key:
            return target
        found = (
            self._delivered(target, secrets, each, machine_key, public)
            for each in target.secrets
        )
        return replace(target, secrets=tuple(found))

    def _delivered(
        self,
        target: Target,
        secrets: Mapping[str, StoredSecret],
        wanted: DeliveredSecret,
        machine_key: str,
        public: str,
    ) -> DeliveredSecret:
        secret = secrets.get(wanted.name)
        if secret is None:
            return wanted
        try:
            value = self.opened(secret, wanted.version)
        except UnavailableError:
            self.require(public)  # else another controller may have what opens it
            return wanted
        words = delivery_words(target.machine, wanted.name, wanted.version)
        return replace(wanted, sealed=seal(machine_key, value, words))
