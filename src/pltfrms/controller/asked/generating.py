"""Make the secrets that a change has services use, and that are not there: nobody sees them."""

import secrets
from collections.abc import Iterator, Sequence
from typing import Final

from pltfrms.codec import encode
from pltfrms.controller.records.state import SECRETS_KEY_KEY, Stored, secret_key
from pltfrms.controller.records.values import Values
from pltfrms.drivers.sealing import public_of, seal
from pltfrms.drivers.store.ports import Put
from pltfrms.model.services.secrets import (
    Generate,
    SealedValue,
    SecretNote,
    SecretsKey,
    StoredSecret,
    value_words,
)
from pltfrms.planner.changes.generating import GeneratedSecret

_PASSWORD_BYTES: Final = 24


def generated_writes(
    values: Values, stored: Stored, made: Sequence[GeneratedSecret]
) -> list[Put]:
    """Return what puts new secrets into the store, sealed to the controllers' key.

    They are made anew by each who tries: what is committed is what counts.

    Raises:
        UnavailableError: this controller has not got the controllers' key.
    """
    if not made:
        return []
    public = stored.secrets_key or public_of(values.file.first())
    values.require(public)  # else it might be lost, and nobody would say so
    writes = [Put(key=SECRETS_KEY_KEY, value=encode(SecretsKey(public=public)))]
    if stored.secrets_key:
        writes = []
    for note, value in (pair for each in made for pair in _values(each)):
        sealed = seal(public, value, value_words(note.name, note.version))
        fresh = SealedValue(version=note.version, text=sealed)
        secret = StoredSecret(note=note, values=(fresh,))
        writes.append(Put(key=secret_key(note.name), value=encode(secret)))
    return writes


def _values(each: GeneratedSecret) -> Iterator[tuple[SecretNote, bytes]]:
    if each.kind is Generate.PASSWORD:
        yield each.note, secrets.token_urlsafe(_PASSWORD_BYTES).encode()
        return
    from pltfrms.drivers.identity.authority import make_lasting_authority  # noqa: PLC0415 - 10 MB

    pair = make_lasting_authority(each.note.name)
    yield each.note, f"{pair.key.strip()}\n{pair.certificate}".encode()
    if each.half:
        yield each.half, pair.certificate.encode()
