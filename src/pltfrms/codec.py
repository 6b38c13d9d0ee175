"""JSON text <-> words of the model. The one door through which documents are decoded."""

import functools
from collections.abc import Hashable
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from pltfrms.errors import UsageError

_T = TypeVar("_T")


@functools.cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast("type[Any]", kind))


def prepare(*kinds: Hashable) -> None:
    """Make ready to encode and decode these types, which takes up to 0.1 s the first time."""
    for kind in kinds:
        _adapter(kind)


def encode(value: object, kind: Hashable | None = None) -> bytes:
    """Return `value` as compact JSON; `kind` is its type when that is not its class."""
    return _adapter(kind or cast("Hashable", type(value))).dump_json(value)


def decode(kind: type[_T], text: bytes | str) -> _T:
    """Return the word of type `kind` that `text` says. Unknown fields are ignored.

    Raises:
        UsageError: the text is not such a document.
    """
    try:
        return cast("_T", _adapter(cast("Hashable", kind)).validate_json(text))
    except ValidationError as error:
        raise UsageError(f"not a valid {kind}: {error}") from error
