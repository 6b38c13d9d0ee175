"""Secrets as operators ask for them: given a value, another one, or none. Never said again."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from pltfrms.codec import encode
from pltfrms.controller.asked.operations import Operations
from pltfrms.controller.planning.judging import by_known, conditions, require_role
from pltfrms.controller.records.auditing import Asked
from pltfrms.controller.records.state import (
    SECRETS_KEY_KEY,
    commit_mark,
    secret_key,
    unchanged_since,
)
from pltfrms.drivers.sealing import is_for, make_private, public_of, seal
from pltfrms.drivers.store.ports import Delete, Put
from pltfrms.errors import ConflictError, UsageError
from pltfrms.model.messages.secrets import (
    SecretChange,
    SecretReply,
    SecretsKeyChange,
    SecretsKeyReply,
    SecretsKeyring,
    SecretVerb,
    SecretView,
)
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.secrets import (
    SECRET_BYTES_MAX,
    SealedValue,
    SecretNote,
    SecretsKey,
    StoredSecret,
    is_secret_name,
    value_words,
)
from pltfrms.planner.changes.change import Outcome
from pltfrms.planner.changes.secrets import (
    changed_secret,
    deleted_secret,
    jobs_with,
    require_secret,
    users_of,
    versions_kept,
)

_PLAIN: Final = (
    "the machines of this platform have not joined it, so whoever reaches a controller is "
    "given what he asks for, secrets too"
)


class Secrets:
    """All raise UnavailableError while the store does not answer."""

    def __init__(self, operations: Operations, *, secure: bool) -> None:
        """`secure`: who asks for targets shows who he is."""
        controller = operations.controller
        self._operations = operations
        self._name = controller.name
        self._store = controller.store
        self._clock = controller.clock
        self._view = controller.view
        self._values = controller.values
        self._warning = "" if secure else _PLAIN

    async def all(self) -> tuple[SecretView, ...]:
        """Return every secret, without values."""
        snapshot = await self._view.linearized()
        return tuple(
            SecretView(
                note=note,
                services=tuple(each.name for each in users_of(snapshot, name)),
                jobs=jobs_with(snapshot, name),
            )
            for name, note in sorted(snapshot.secrets.items())
        )

    async def change(self, said: SecretChange, asked: Asked) -> SecretReply:
        """Give a secret a value; services that restart for it get a new version.

        Raises:
            UsageError: that is no name, or no value.
            ForbiddenError: it is not for the role of who asks.
            ConflictError: it is to be new, and is there.
            NotFoundError: it is to get another value, and is not there.
            UnavailableError: this controller has not got the controllers' key.
        """
        change = by_known(asked, said)
        value = _value_of(change)

        async def attempt() -> SecretReply | None:
            snapshot, stored = await self._view.linearized_stored()
            outcome = changed_secret(
                snapshot, self._note(snapshot, change, stored.secrets_last)
            )
            note = outcome.snapshot.secrets[change.name]
            public = stored.secrets_key or public_of(self._values.file.first())
            self._values.require(public)  # else it might be lost, and nobody would say so
            words = value_words(note.name, note.version)
            known = stored.secrets.get(note.name)
            kept = versions_kept(outcome.snapshot, note.name)
            before = (each for each in known.values if each.version in kept) if known else ()
            fresh = SealedValue(version=note.version, text=seal(public, value, words))
            secret = StoredSecret(note=note, values=(fresh, *before))
            beside = [Put(key=secret_key(note.name), value=encode(secret))]
            if not stored.secrets_key:
                key = SecretsKey(public=public)
                beside.append(Put(key=SECRETS_KEY_KEY, value=encode(key)))
            who = replace(asked, by=asked.by or change.by, why=change.why)
            what = f"secret {change.verb}"
            return await self._committed(snapshot, outcome, what, who, beside)

        return await self._operations.controller.insisting.until_done(attempt)

    async def delete(self, name: str, asked: Asked) -> SecretReply:
        """Remove a secret; NotFoundError, ForbiddenError, ConflictError if it is used."""

        async def attempt() -> SecretReply | None:
            snapshot, stored = await self._view.linearized_stored()
            outcome = deleted_secret(snapshot, name)
            # A node that did not hear of it would take another value for the one that it has.
            last = max(stored.secrets_last, snapshot.secrets[name].version)
            key = SecretsKey(public=stored.secrets_key, last=last)
            gone: list[Put | Delete] = [
                Delete(key=secret_key(name)),
                Put(key=SECRETS_KEY_KEY, value=encode(key)),
            ]
            return await self._committed(snapshot, outcome, "secret delete", asked, gone)

        return await self._operations.controller.insisting.until_done(attempt)

    async def _committed(
        self,
        snapshot: Snapshot,
        outcome: Outcome,
        what: str,
        asked: Asked,
        beside: Sequence[Put | Delete],
    ) -> SecretReply | None:
        about = (line.about for line in outcome.lines)
        require_role(snapshot.platform, asked, None, about, overrides=False)
        unchanged = conditions(snapshot, None)
        await self._operations.versions.keep(snapshot.services, outcome.services, unchanged)
        commit = self._operations.commit
        committed = await commit(what, outcome, unchanged, asked, beside)
        if committed is None:
            return None
        return SecretReply(revision=committed, changes=outcome.lines, warning=self._warning)

    def _note(self, snapshot: Snapshot, change: SecretChange, last: int) -> SecretNote:
        known = snapshot.secrets.get(change.name)
        if change.verb is SecretVerb.ROTATE:
            known = require_secret(snapshot, change.name)
        elif known is not None:
            raise ConflictError(
                f"there is a secret {change.name} already; to give it another value: pltfrms "
                f"secret rotate {change.name}"
            )
        return SecretNote(
            name=change.name,
            version=(known.version if known else last) + 1,
            changed_ms=self._clock.unix_ms(),
            by=change.by,
        )

    # ---- the controllers' key --------------------------------------------------------------

    def keyring(self) -> SecretsKeyring:
        """Return the keys, for another controller."""
        return SecretsKeyring(keys=self._values.file.read())

    async def rotate_key(self, said: SecretsKeyChange, asked: Asked) -> SecretsKeyReply:
        """Have a new key, and all values sealed to it; ConflictError if others were faster.

        Done again after it broke off, it does the rest, with yet another key.
        """
        change = by_known(asked, said)
        keys = self._values.file.add((make_private(),))
        public = public_of(keys[0])
        who = replace(asked, by=asked.by or change.by, why=change.why)

        async def begin() -> tuple[str, ...] | None:
            _, stored = await self._view.linearized_stored()
            sealed = await self._operations.records.seal(
                "secret rotate-key", ("the controllers have another key for secrets",), who
            )
            key = SecretsKey(public=public, last=stored.secrets_last)
            put = Put(key=SECRETS_KEY_KEY, value=encode(key))
            writes = [self._mark(), put, *sealed.writes]
            unchanged = (unchanged_since(stored.commit), sealed.condition)
            done = await self._store.commit(writes, unchanged)
            return None if done is None else tuple(sorted(stored.secrets))

        insisting = self._operations.controller.insisting
        names = await insisting.until_done(begin)
        opened = {
            name: await insisting.until_done(partial(self._resealed, name, public))
            for name in names
        }
        return SecretsKeyReply(
            sealed=tuple(name for name in names if opened[name]),
            lost=tuple(name for name in names if not opened[name]),
        )

    async def _resealed(self, name: str, public: str) -> bool | None:
        """Seal all values of a secret to a key; False: not all of them can be opened here."""
        _, stored = await self._view.linearized_stored()
        if stored.secrets_key != public:
            raise ConflictError("somebody has made another key meanwhile, and seals to that")
        secret = stored.secrets.get(name)
        if secret is None or all(is_for(each.text, public) for each in secret.values):
            return True
        if not self._values.opens(secret):
            return False
        values = tuple(
            SealedValue(
                version=each.version,
                text=seal(
                    public,
                    self._values.opened(secret, each.version),
                    value_words(name, each.version),
                ),
            )
            for each in secret.values
        )
        put = Put(key=secret_key(name), value=encode(replace(secret, values=values)))
        unchanged = (unchanged_since(stored.commit),)
        return True if await self._store.commit([self._mark(), put], unchanged) else None

    def _mark(self) -> Put:
        return commit_mark(self._name, self._clock.unix_ms())


def _value_of(change: SecretChange) -> bytes:
    """Return the value that is to be kept; UsageError says nothing of it."""
    if not is_secret_name(change.name):
        raise UsageError(
            f"{change.name[:70]!r} is not the name of a secret: a-z, 0-9 and -, with a letter "
            "first, 63 characters at most"
        )
    try:
        value = base64.b64decode(change.value, validate=True)
    except (binascii.Error, ValueError):
        raise UsageError("the value is not in base64") from None
    if not 0 < len(value) <= SECRET_BYTES_MAX:
        raise UsageError(
            f"the value has {len(value)} bytes: 1 to {SECRET_BYTES_MAX} can be kept"
        )
    return value
