"""Answers of which most is the same for all who ask: that is made once for each change."""

from collections.abc import Hashable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, cast, get_type_hints

from pltfrms.codec import encode
from pltfrms.drivers.ports import Aside
from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.running.plan import Target, TargetNews
from pltfrms.model.running.state import Snapshot

_SHORT = frozenset({"now_ms", "machines"})
"""Of a snapshot: what passes with time, and is short."""
_ALIKE = frozenset({"platform", "interventions", "services", "balanced", "guests", "placed"})
"""Of a target: what many machines are told in the same words."""
_REMEMBERED = 16
"""Words of each kind: there is one for all, or one for each datacenter."""


class SnapshotAnswers:
    """Encodes the state. What is equal to what was encoded before is not encoded again."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._ready: dict[str, tuple[object, bytes]] = {}

    async def text_of(self, view: SnapshotView, aside: Aside) -> bytes:
        """Return the state as JSON, as `codec.encode` would; encode in `aside`."""
        snapshot = view.snapshot
        names = [each.name for each in fields(snapshot) if each.name not in _SHORT]
        words = {name: getattr(snapshot, name) for name in names}
        new = {name: word for name, word in words.items() if not self._knows(name, word)}
        texts = {name: self._ready[name][1] for name in words.keys() - new.keys()}
        if new:
            size = len(snapshot.allocations) + len(snapshot.statuses)
            made = await aside.run(size, lambda: _encode_all(new))
            texts |= made
            self._ready |= {name: (new[name], text) for name, text in made.items()}
        return _encode_rest(view, {"snapshot": _encode_rest(snapshot, texts)})

    def _knows(self, name: str, word: object) -> bool:
        known = self._ready.get(name)
        return known is not None and known[0] == word


class TargetAnswers:
    """Encodes targets. What machines are told alike is one word, and is encoded once."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._ready: dict[str, list[tuple[object, bytes]]] = {}

    def text_of(self, target: Target | TargetNews) -> bytes:
        """Return a target as JSON, as `codec.encode` would."""
        # What runs here is in the services of a node; edges are all told the same of them.
        own = {"services"} if target.allocations else set[str]()
        texts = {
            name: self._text_of(name, word, cast("Hashable", type(target)))
            for name in _ALIKE - own
            if (word := getattr(target, name))
        }
        return _encode_rest(target, texts)

    def _text_of(self, name: str, word: object, of: Hashable) -> bytes:
        ready = self._ready.setdefault(name, [])
        for known, text in ready:
            if known is word:
                return text
        text = encode(word, _kinds(of)[name])
        ready.insert(0, (word, text))
        del ready[_REMEMBERED:]
        return text


@cache
def _kinds(of: Hashable) -> dict[str, Hashable]:
    return cast("dict[str, Hashable]", get_type_hints(of))


def _encode_all(words: Mapping[str, object]) -> dict[str, bytes]:
    return {name: encode(word, _kinds(Snapshot)[name]) for name, word in words.items()}


def _encode_rest(word: Any, ready: Mapping[str, bytes]) -> bytes:
    """Return a dataclass as JSON, of which some fields are JSON already."""
    kinds = _kinds(cast("Hashable", type(word)))
    texts = (
        b'"%s":%s'
        % (
            each.name.encode(),
            ready.get(each.name) or encode(getattr(word, each.name), kinds[each.name]),
        )
        for each in fields(word)
    )
    return b"{%s}" % b",".join(texts)
