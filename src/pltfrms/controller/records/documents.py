"""How lists of documents are read: one that cannot be read is named, and costs itself only."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from pltfrms.codec import decode, decode_fully
from pltfrms.drivers.store.ports import KeyValue
from pltfrms.errors import UsageError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents(Generic[_T]):
    """What some entries of the store say, in their order."""

    words: Mapping[str, _T]
    """By key."""
    problems: Mapping[str, str]
    """One sentence by key, of those that cannot be read."""


def read_documents(
    kind: type[_T], entries: Iterable[KeyValue], *, fully: bool = False
) -> Documents[_T]:
    """Return the words of type `kind` that the entries hold, and which hold none.

    With `fully` one that says what this version does not know cannot be read: for what is
    wanted, of which no part may be left out.
    """
    read = decode_fully if fully else decode
    words, problems = {}, {}
    for entry in entries:
        try:
            words[entry.key] = read(cast("type[_T]", cast("Hashable", kind)), entry.value)
        except UsageError as error:
            problems[entry.key] = f"{entry.key} cannot be read: {error}"
    return Documents(words=words, problems=problems)
