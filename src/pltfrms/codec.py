"""JSON text <-> words of the model. The one door through which documents are decoded.

`decode` judges what others wrote. `read` takes what a program of ours has just encoded, and
starts ten times as fast: pydantic is imported by those alone who encode or decode.
"""

import functools
import json
import math
import re
import types
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import EnumType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, cast, get_args, get_origin

from pltfrms.errors import UsageError

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

_T = TypeVar("_T")
_Reader = Callable[[Any], Any]
_UNKNOWN_FIELD = frozenset({"unexpected_keyword_argument", "extra_forbidden"})
_PERHAPS_ENDLESS = re.compile(rb"NaN|Infinity|[0-9.][eE]\+?[0-9]{3,}(?:[\s,\]}]|$)|[0-9]{300}")
"""What a text has in it that says a number which is none, or too large for one."""
_ERRORS_SAID = 3
"""A wrong document may have thousands."""


@functools.cache
def _adapter(kind: Hashable) -> "TypeAdapter[Any]":
    # 0.2 s: not for who only reads.
    from pydantic import TypeAdapter  # noqa: PLC0415

    return TypeAdapter(cast("type[Any]", kind))


def prepare(*kinds: Hashable) -> None:
    """Make ready to encode and decode these types, which takes up to 0.1 s the first time."""
    for kind in kinds:
        _adapter(kind)


def encode(value: object, kind: Hashable | None = None) -> bytes:
    """Return `value` as compact JSON; `kind` is its type when that is not its class."""
    return _adapter(kind or cast("Hashable", type(value))).dump_json(value)


def first_that_fits(words: Iterable[_T], most: int) -> tuple[_T, bytes]:
    """Return the first of some words whose JSON has at most `most` bytes, and that JSON.

    If none has, it is the last one.
    """
    word, text = None, b""
    for word in words:
        text = encode(word)
        if len(text) <= most:
            break
    return cast("_T", word), text


def decode(kind: type[_T], text: bytes | str) -> _T:
    """Return the word of type `kind` that `text` says. Unknown fields are ignored.

    Raises:
        UsageError: the text is not such a document.
    """
    _require_numbers(kind, text)
    adapter = _adapter(cast("Hashable", kind))
    from pydantic import ValidationError  # noqa: PLC0415 - as above

    try:
        return cast("_T", adapter.validate_json(text))
    except ValidationError as error:
        raise _refusal(kind, error.errors(include_url=False)) from error


def decode_fully(kind: type[_T], text: bytes | str) -> _T:
    """Return the word of type `kind` that `text` says, if this version knows all that it says.

    For what is wanted: who leaves out a part of it does something else. An unknown field is
    ignored only if it is null, false, 0 or empty, which says nothing.

    Raises:
        UsageError: the text is not such a document, or says what this version does not know.
    """
    _require_numbers(kind, text)
    adapter = _adapter(cast("Hashable", kind))
    from pydantic import ValidationError  # noqa: PLC0415 - as above

    try:
        return cast("_T", adapter.validate_json(text, extra="forbid"))
    except ValidationError as error:
        wrong = [each for each in error.errors(include_url=False) if not _says_nothing(each)]
        if wrong:
            raise _refusal(kind, wrong) from error
    return decode(kind, text)


def _require_numbers(kind: object, text: bytes | str) -> None:
    """Refuse numbers without an end: pydantic takes them, and nobody can count with them."""
    said = text.encode(errors="replace") if isinstance(text, str) else text
    if not _PERHAPS_ENDLESS.search(said):
        return
    try:
        json.loads(said, parse_constant=_finite, parse_float=_finite, parse_int=_finite)
    except OverflowError as error:
        name = getattr(kind, "__name__", kind)
        raise UsageError(f"not a valid {name}: {error}") from None
    except (ValueError, RecursionError):
        return  # it is no JSON, as will be said


def _finite(said: str) -> None:
    if not math.isfinite(float(said)):
        raise OverflowError(f"{said[:20]} is not a finite number")


def _says_nothing(error: "ErrorDetails") -> bool:
    return error["type"] in _UNKNOWN_FIELD and _is_empty(error["input"])


def _is_empty(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_empty, value.values()))
    return not value


def _refusal(kind: object, errors: Sequence["ErrorDetails"]) -> UsageError:
    said = [_sentence(error) for error in errors[:_ERRORS_SAID]]
    more = [f"and {len(errors) - _ERRORS_SAID} more"] if len(errors) > _ERRORS_SAID else []
    return UsageError(
        f"not a valid {getattr(kind, '__name__', kind)}: {'; '.join(said + more)}"
    )


def _sentence(error: "ErrorDetails") -> str:
    where = ".".join(map(str, error["loc"]))
    unknown = error["type"] in _UNKNOWN_FIELD
    what = "this version does not know this field" if unknown else error["msg"]
    return f"{where}: {what}" if where else what


def read(kind: type[_T], text: bytes | str) -> _T:
    """Return the word of type `kind` that a program of ours has encoded, as `decode` does.

    Raises:
        UsageError: the text is not such a document; only the first fault is told.
    """
    try:
        return cast("_T", _reader(cast("Hashable", kind))(json.loads(text)))
    except (ValueError, TypeError) as error:
        raise UsageError(f"not a valid {kind}: {error}") from error


# ---- reading without pydantic --------------------------------------------------------------


@functools.cache
def _reader(kind: Hashable) -> _Reader:
    """Return what makes a value of type `kind` of parsed JSON, or raises ValueError."""
    if is_dataclass(kind):
        return _read_dataclass(cast("type[Any]", kind))
    if arguments := get_args(kind):
        return _read_generic(get_origin(kind), arguments)
    wanted = _PLAIN.get(kind)
    if wanted:
        return lambda value: _checked(value, type(value) in wanted)
    make = cast("_Reader", kind)
    if isinstance(kind, EnumType):
        return make
    return lambda text: make(_checked(text, isinstance(text, str)))


def _read_generic(origin: Any, arguments: tuple[Any, ...]) -> _Reader:
    if origin in {Union, types.UnionType}:
        return _read_union([_reader(each) for each in arguments])
    if origin is Literal:
        return lambda value: _checked(value, value in arguments)
    if origin in {tuple, list}:
        return _read_sequence(origin, arguments)
    return _read_mapping(arguments[0], _reader(arguments[1]))


_PLAIN: Mapping[Hashable, tuple[type[Any], ...]] = {
    str: (str,),
    int: (int,),
    bool: (bool,),
    float: (float, int),
    cast("Hashable", types.NoneType): (types.NoneType,),
}


def _checked(value: Any, good: bool) -> Any:  # noqa: FBT001 - reads like `assert`
    if not good:
        raise ValueError(f"{value!r} is not of the right type")
    return value


def _read_dataclass(kind: type[Any]) -> _Reader:
    readers = {each.name: _reader(cast("Hashable", each.type)) for each in fields(kind)}

    def take(value: Any) -> Any:
        said = _checked(value, isinstance(value, dict)).items()
        return kind(**{name: readers[name](each) for name, each in said if name in readers})

    return take


def _read_union(readers: list[_Reader]) -> _Reader:
    def take(value: Any) -> Any:
        for reader in readers:
            try:
                return reader(value)
            except (ValueError, TypeError):
                continue
        raise ValueError(f"{value!r} is of none of the right types")

    return take


def _read_sequence(origin: type[Any], arguments: tuple[Any, ...]) -> _Reader:
    if origin is list or arguments[-1] is ...:
        each = _reader(arguments[0])
        return lambda value: origin(map(each, _checked(value, isinstance(value, list))))
    readers = [_reader(argument) for argument in arguments]
    return lambda value: tuple(
        reader(said) for reader, said in zip(readers, value, strict=True)
    )


def _read_mapping(key_kind: type[Any], reader: _Reader) -> _Reader:
    """Return the reader of a mapping; JSON writes every key as a text."""
    return lambda value: {
        key_kind(key): reader(said)
        for key, said in _checked(value, isinstance(value, dict)).items()
    }
