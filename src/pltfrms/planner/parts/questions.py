"""Which questions to etcd's JSON gateway a service may ask about its part of the store. Pure.

A question is never passed on as it came: what is asked is made anew of the words that are known
here, so that none means something else to etcd than to us. JSON may say a field twice, or by a
second name (`rangeEnd`), and a number in two ways.
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from pltfrms.model.services.parts import part_of
from pltfrms.planner.parts.refusals import INVALID, PERMISSION, PartError
from pltfrms.planner.parts.room import BYTES_MAX

KEY_BYTES_MAX: Final = 1024
VALUE_BYTES_MAX: Final = 65_536
OPERATIONS_MAX: Final = 32
"""Of one transaction, with those within it, and as many comparisons."""
ANSWER_BYTES_MAX: Final = 4 * BYTES_MAX
"""That one question can make: a transaction could ask for the whole part in each operation."""
_DEPTH_MAX: Final = 3
_NUMBER_MAX: Final = 2**63 - 1
_RESULTS: Final = ("EQUAL", "GREATER", "LESS", "NOT_EQUAL")
_TARGETS: Final = {
    "VERSION": "version",
    "CREATE": "create_revision",
    "MOD": "mod_revision",
    "VALUE": "value",
    "LEASE": "lease",
}
_FILTERS: Final = ("NOPUT", "NODELETE")
_FORBIDDEN: Final = "etcdserver: permission denied"


@dataclass(slots=True)
class PartQuestion:
    """A question as it may be asked, and what it would do."""

    question: dict[str, Any] = field(default_factory=dict)
    puts: list[tuple[bytes, int]] = field(default_factory=list)
    """Keys that it may write, each with the bytes of key and value."""
    leases: set[int] = field(default_factory=set)
    """That it names: each must be one of the part."""
    deletes: bool = False
    reads: int = 0
    """Bytes of keys and values that the answer may have."""

    @property
    def changes(self) -> bool:
        """Whether it may write or delete anything."""
        return self.deletes or bool(self.puts)


class PartJudge:
    """Judges the questions of one service."""

    def __init__(self, service: str) -> None:
        """Know its part by its name."""
        self._begin = part_of(service).encode()
        self._end = self._begin[:-1] + bytes([self._begin[-1] + 1])

    def range(self, said: object) -> PartQuestion:
        """Judge `kv/range`; PartError."""
        return self._whole(self._range, said)

    def put(self, said: object) -> PartQuestion:
        """Judge `kv/put`; PartError."""
        return self._whole(self._put, said)

    def delete_range(self, said: object) -> PartQuestion:
        """Judge `kv/deleterange`; PartError."""
        return self._whole(self._delete, said)

    def txn(self, said: object) -> PartQuestion:
        """Judge `kv/txn`, with every branch of it; PartError."""
        return self._whole(self._txn, said)

    def watch(self, said: object) -> PartQuestion:
        """Judge `watch`; PartError."""
        request = _fields(said, "create_request")
        words = _fields(request.get("create_request"), *_WATCH)
        asked = PartQuestion()
        question = self._place(words) | _numbers(words, "start_revision")
        question |= _switches(words, "progress_notify", "prev_kv")
        if filters := _list(words, "filters"):
            question["filters"] = [_one_of(each, "filters", _FILTERS) for each in filters]
        question["fragment"] = True  # else all that is new may come in one answer
        asked.question = {"create_request": question}
        return asked

    # ---- parts of a question ---------------------------------------------------------------

    def _whole(
        self, judge: Callable[[object, PartQuestion], dict[str, Any]], said: object
    ) -> PartQuestion:
        asked = PartQuestion()
        asked.question = judge(said, asked)
        if asked.reads > ANSWER_BYTES_MAX:
            _invalid(f"the answer could have more than {ANSWER_BYTES_MAX} bytes: ask for less")
        return asked

    def _range(self, said: object, asked: PartQuestion) -> dict[str, Any]:
        words = _fields(said, "key", "range_end", *_RANGE_NUMBERS, *_RANGE_SWITCHES)
        numbers, switches = _numbers(words, *_RANGE_NUMBERS), _switches(words, *_RANGE_SWITCHES)
        question = self._place(words) | numbers | switches
        asked.reads += _bytes_at(question)
        return question

    def _put(self, said: object, asked: PartQuestion) -> dict[str, Any]:
        words = _fields(said, "key", "value", "lease", "prev_kv")
        key, value = self._key(words), _bytes(words, "value", VALUE_BYTES_MAX)
        question: dict[str, Any] = {"key": _text(key), "value": _text(value)}
        if lease := _number(words, "lease"):
            asked.leases.add(lease)
            question["lease"] = str(lease)
        asked.puts.append((key, len(key) + len(value)))
        question |= _switches(words, "prev_kv")
        asked.reads += _bytes_at(question) if question.get("prev_kv") else 0
        return question

    def _delete(self, said: object, asked: PartQuestion) -> dict[str, Any]:
        words = _fields(said, "key", "range_end", "prev_kv")
        asked.deletes = True
        question = self._place(words) | _switches(words, "prev_kv")
        asked.reads += _bytes_at(question) if question.get("prev_kv") else 0
        return question

    def _txn(self, said: object, asked: PartQuestion) -> dict[str, Any]:
        counted = _Counted()
        return self._branches(said, asked, counted, 1)

    def _branches(
        self, said: object, asked: PartQuestion, counted: "_Counted", depth: int
    ) -> dict[str, Any]:
        words = _fields(said, "compare", "success", "failure")
        if depth > _DEPTH_MAX:
            _invalid("transactions within transactions go too deep")
        compare = [self._compare(each) for each in counted.some(words, "compare")]
        return {
            "compare": compare,
            **{
                branch: [
                    self._operation(each, asked, counted, depth)
                    for each in counted.some(words, branch)
                ]
                for branch in ("success", "failure")
            },
        }

    def _operation(
        self, said: object, asked: PartQuestion, counted: "_Counted", depth: int
    ) -> dict[str, Any]:
        words = _fields(said, *_OPERATIONS, "request_txn")
        if len(words) != 1:
            _invalid("an operation is one request")
        ((name, inner),) = words.items()
        if name == "request_txn":
            return {name: self._branches(inner, asked, counted, depth + 1)}
        judges = dict(zip(_OPERATIONS, (self._range, self._put, self._delete), strict=True))
        return {name: judges[name](inner, asked)}

    def _compare(self, said: object) -> dict[str, Any]:
        words = _fields(said, "key", "result", "target", *_TARGETS.values())
        target = _one_of(words.get("target", "VERSION"), "target", tuple(_TARGETS))
        value = _TARGETS[target]
        if others := words.keys() - {"key", "result", "target", value}:
            _invalid(f"{min(others)} is not compared with {target}")
        question = {
            "key": _text(self._key(words)),
            "target": target,
            "result": _one_of(words.get("result", "EQUAL"), "result", _RESULTS),
        }
        if value == "value":
            return question | {value: _text(_bytes(words, value, VALUE_BYTES_MAX))}
        return question | {value: str(_number(words, value))}

    def _place(self, words: Mapping[str, Any]) -> dict[str, Any]:
        """Return a key, or a range that ends within the part."""
        question: dict[str, Any] = {"key": _text(self._key(words))}
        end = _bytes(words, "range_end", KEY_BYTES_MAX)
        if not end:
            return question
        if end != self._end and not end.startswith(self._begin):
            raise PartError(PERMISSION, _FORBIDDEN)
        return question | {"range_end": _text(end)}

    def _key(self, words: Mapping[str, Any]) -> bytes:
        """Return a key of the part; the controllers read all of the store as text."""
        key = _bytes(words, "key", KEY_BYTES_MAX)
        if not key.startswith(self._begin):
            raise PartError(PERMISSION, _FORBIDDEN)
        try:
            key.decode()
        except UnicodeDecodeError:
            _invalid("the key is not in UTF-8")
        return key


@dataclass(slots=True)
class _Counted:
    """How much a transaction has, with those within it."""

    count: int = 0

    def some(self, words: Mapping[str, Any], name: str) -> Iterator[object]:
        """Yield a list, as long as there is not too much in all."""
        for each in _list(words, name):
            self.count += 1
            if self.count > 2 * OPERATIONS_MAX:
                _invalid("etcdserver: too many operations in txn request")
            yield each


_RANGE_NUMBERS: Final = ("limit",)
_RANGE_SWITCHES: Final = ("serializable", "keys_only", "count_only")
_OPERATIONS: Final = ("request_range", "request_put", "request_delete_range")
_WATCH: Final = (
    "key",
    "range_end",
    "start_revision",
    "filters",
    "progress_notify",
    "prev_kv",
)


def _bytes_at(question: Mapping[str, Any]) -> int:
    """Return how many bytes there may be at a place: of a key, or of all that a part has."""
    return BYTES_MAX if "range_end" in question else VALUE_BYTES_MAX


def ttl_of(said: object) -> int:
    """Judge `lease/grant`: return how long it is to live (seconds); PartError."""
    words = _fields(said, "TTL", "ID")
    if _number(words, "ID"):
        _invalid("the store gives leases their numbers")
    return _number(words, "TTL")


def lease_of(said: object) -> int:
    """Judge a question about one lease: return its number; PartError."""
    return _number(_fields(said, "ID"), "ID")


def login_of(said: object) -> tuple[str, str]:
    """Judge `auth/authenticate`: return user and password; PartError."""
    words = _fields(said, "name", "password")
    name, password = words.get("name", ""), words.get("password", "")
    if not isinstance(name, str) or not isinstance(password, str):
        _invalid("name and password are texts")
    return name, password


def nothing_of(said: object) -> None:
    """Judge a question that says nothing; PartError."""
    _fields(said)


def _fields(said: object, *known: str) -> Mapping[str, Any]:
    if not isinstance(said, Mapping):
        _invalid("that is no JSON object")
    if unknown := said.keys() - set(known):
        _invalid(f"{min(unknown)[:40]!r} is not known here")
    return said


def _list(words: Mapping[str, Any], name: str) -> Sequence[object]:
    found = words.get(name, ())
    if not isinstance(found, list | tuple):
        _invalid(f"{name} is no list")
    return found


def _bytes(words: Mapping[str, Any], name: str, most: int) -> bytes:
    text = words.get(name, "")
    try:
        found = base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        found = None
    if found is None:
        _invalid(f"{name} is not in base64")
    if len(found) > most:
        _invalid(f"{name} has {len(found)} bytes, and at most {most} fit")
    return found


def _number(words: Mapping[str, Any], name: str) -> int:
    said = words.get(name, 0)
    if isinstance(said, str) and said.isascii() and said.isdecimal() and len(said) < 20:  # noqa: PLR2004 (digits of 2^63)
        said = int(said)
    if not isinstance(said, int) or isinstance(said, bool) or not 0 <= said <= _NUMBER_MAX:
        _invalid(f"{name} is no number")
    return said


def _numbers(words: Mapping[str, Any], *names: str) -> dict[str, str]:
    return {name: str(_number(words, name)) for name in names if name in words}


def _switches(words: Mapping[str, Any], *names: str) -> dict[str, bool]:
    for name in names:
        if not isinstance(words.get(name, False), bool):
            _invalid(f"{name} is neither true nor false")
    return {name: words[name] for name in names if name in words}


def _one_of(said: object, name: str, known: Sequence[str]) -> str:
    if not isinstance(said, str) or said not in known:
        _invalid(f"{name} is none of {', '.join(known)}")
    return said


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _invalid(what: str) -> NoReturn:
    raise PartError(INVALID, what)
