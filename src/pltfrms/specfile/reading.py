"""Document -> shape. Says every wrong field, and reads on around the wrong ones."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pltfrms.errors import Problem
from pltfrms.specfile.document import Document
from pltfrms.specfile.findings import Finding, Where, nearest
from pltfrms.specfile.shapes.shapes import Shape

_T = TypeVar("_T", bound=Shape)

_PLAIN_WORDS = re.compile(r"[A-Za-z0-9./_-][A-Za-z0-9./_ -]{0,59}\Z")
"""What may stand between brackets as it is, with a comma for each space."""
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


@dataclass(frozen=True, slots=True)
class Reading(Generic[_T]):
    """What could be read of a document."""

    shape: _T | None
    """Without the parts that are wrong; None if too little is left to make sense of."""
    problems: tuple[Problem, ...]
    removed: frozenset[Where] = frozenset()
    """Parts that had to be left out, as they stand in the document."""
    unread: frozenset[str] = frozenset()
    """Words in those parts."""
    short: frozenset[Where] = frozenset()
    """Lists that lack entries for another reason: findings that there are too few of them
    are not believed."""

    def believes(self, finding: Finding) -> bool:
        """Return False if the finding may only follow from a part that was left out."""
        where = finding.where
        if any(where[: len(path)] == path for path in self.removed):
            return False
        under = where if finding.absent == "" else finding.absent
        if under in self.short:
            return False
        if isinstance(under, tuple):
            return all(path[: len(under)] != under for path in self.removed)
        return under is None or under not in self.unread

    def in_document(self, finding: Finding) -> Finding:
        """Return the finding with its path in the document instead of that in the shape."""
        return replace(finding, where=_original(finding.where, self.removed))


def read_shape(kind: type[_T], document: Document) -> Reading[_T]:
    """Return the shape of kind `kind` that the document has, and what is wrong with it."""
    first: tuple[Problem, ...] | None = None
    removed: set[Where] = set()
    harmless: set[Where] = set()
    while True:
        try:
            shape = kind.model_validate(_without(kind, document.data, removed))
        except ValidationError as error:
            errors = error.errors(include_url=False)
            if first is None:
                first = tuple(_problem(kind, document, one) for one in errors)
            before = frozenset(removed)
            for one in errors:
                where = _original(tuple(one["loc"]), before)
                path = _to_remove(document.data, one["type"], where)
                removed.add(path)
                if one["type"] == "extra_forbidden":
                    harmless.add(path)
            if () in removed or removed == before:
                return Reading(None, first)
            continue
        lost = frozenset(removed - harmless)
        unread = frozenset(word for path in lost for word in _words(document.data, path))
        return Reading(shape, first or (), lost, unread)


def _to_remove(data: Any, error: str, where: Where) -> Where:
    """Return the path of the wrong value, or of what it is a necessary part of.

    A missing field makes its entry unreadable (a required field that was left out comes back
    as missing); top fields have stand-ins. A text may stand for a mapping, so the path is cut
    to what is there.
    """
    if len(where) <= 1:
        return where
    if error == "missing":
        return where[:-1]
    for length, part in enumerate(where):
        inside = isinstance(data, dict) and part in data
        if not inside and not (isinstance(data, list) and isinstance(part, int)):
            return where[:length]
        data = data[part]
    return where


def _without(kind: type[Shape], data: Any, removed: set[Where]) -> Any:
    kept = _copy(data, (), removed)
    if not isinstance(kept, dict):
        return kept
    stand_ins = {key: value for key, value in kind.stand_ins.items() if (key,) in removed}
    return {**kept, **stand_ins}


def _copy(value: Any, where: Where, removed: set[Where]) -> Any:
    if isinstance(value, dict):
        return {
            key: _copy(entry, (*where, key), removed)
            for key, entry in value.items()
            if (*where, key) not in removed
        }
    if isinstance(value, list):
        return [
            _copy(entry, (*where, index), removed)
            for index, entry in enumerate(value)
            if (*where, index) not in removed
        ]
    return value


def _original(where: Where, removed: frozenset[Where]) -> Where:
    """Undo the shift of list indexes that removed entries before them caused."""
    path: Where = ()
    for part in where:
        index = part
        if isinstance(part, int):
            gone = {p[-1] for p in removed if len(p) == len(path) + 1 and p[:-1] == path}
            kept = (i for i in range(part + len(gone) + 1) if i not in gone)
            index = next(i for count, i in enumerate(kept) if count == part)
        path = (*path, index)
    return path


def _words(data: Any, where: Where) -> set[str]:
    """Return all keys and texts at and below a path, with the last key of the path."""
    for part in where:
        known = isinstance(data, list) or (isinstance(data, dict) and part in data)
        data = data[part] if known else None
    return {str(where[-1])} | _texts(data)


def _texts(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(_texts(entry) for entry in value.values()))
    if isinstance(value, list):
        return set().union(*(_texts(entry) for entry in value))
    return {str(value)}


def _problem(kind: type[Shape], document: Document, error: ErrorDetails) -> Problem:
    where = tuple(error["loc"])
    what, hint = _words_of(error)
    if error["type"] == "extra_forbidden":
        what = "unknown field"
        schema = kind.model_json_schema()
        elsewhere = _field_of(schema, where)
        hint = (
            f"it is a field of {elsewhere}"
            if elsewhere
            else nearest(str(where[-1]), _fields_at(schema, where[:-1]))
        )
    elif error["type"] == "model_type":
        hint = _example(_level_at(kind.model_json_schema(), where))
    return document.problem(Finding(where, what, hint))


def _words_of(error: ErrorDetails) -> tuple[str, str]:
    value = error["input"]
    if error["type"] == "spec":
        context = error["ctx"]
        return str(context["what"]), str(context["hint"])
    if error["type"] == "missing":
        return "is missing", f"add {error['loc'][-1]}:"
    if error["type"] in {"too_short", "string_too_short"}:
        return "is empty, which does not mean none", "give it a value or leave it out"
    expected = _EXPECTED.get(error["type"])
    if expected is None:
        return error["msg"], ""
    plain = isinstance(value, int | float)
    hint = "write it in quotes" if expected == "text" and plain else ""
    if expected == "a list" and _PLAIN_WORDS.match(str(value)):
        hint = f"such as [{', '.join(str(value).split())}]"
    return f"must be {expected}, not {_described(value)}", hint


def _described(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"the text {value!r}" if isinstance(value, str) else f"the number {value}"


def _field_of(schema: Mapping[str, Any], where: Where) -> str:
    """Return which part of the document has a field of that name; empty: none has."""
    parts = [str(where[0]), *schema.get("properties", {})] if len(where) > 1 else []
    name, own = str(where[-1]), where[:-1]
    return next((p for p in parts if (p,) != own and name in _fields_at(schema, (p,))), "")


def _example(level: Sequence[Mapping[str, Any]]) -> str:
    """Return how a mapping is written."""
    needed = [name for choice in level for name in choice.get("required", ())]
    if needed:
        return f"such as {{{', '.join(f'{name}: ...' for name in needed)}}}"
    known = sorted(name for choice in level for name in choice.get("properties", {}))
    return f"with some of {', '.join(known)}" if known else ""


def _fields_at(schema: Mapping[str, Any], where: Where) -> set[str]:
    """Return the fields that the JSON schema knows at a path."""
    level = _level_at(schema, where)
    return {name for choice in level for name in choice.get("properties", {})}


def _level_at(schema: Mapping[str, Any], where: Where) -> list[Mapping[str, Any]]:
    """Return what the JSON schema says may be at a path."""
    level = _choices(schema, schema)
    for part in where:
        below: list[Mapping[str, Any]] = []
        for choice in level:
            named = choice.get("properties", {}).get(part)
            other = choice.get("items" if isinstance(part, int) else "additionalProperties")
            following = named or other
            if isinstance(following, dict):
                below += _choices(schema, following)
        level = below
    return level


def _choices(root: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what a schema may be, with references followed."""
    if "$ref" in schema:
        return _choices(root, root["$defs"][schema["$ref"].rsplit("/", 1)[-1]])
    if "anyOf" in schema:
        return [found for choice in schema["anyOf"] for found in _choices(root, choice)]
    return [schema]
