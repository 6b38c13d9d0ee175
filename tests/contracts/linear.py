"""Whether what clients saw of a register fits some order, one after the other.

The search of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993), with Lowe's
memory of what has been tried: an operation may come next if no other one that is left ended
before it began.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """What a client asked."""

    READ = auto()
    WRITE = auto()
    SWAP = auto()
    """Write if the value is still the one that was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operation as its client saw it; what is known not to be done is not in a history."""

    kind: Kind
    value: str
    """What was read or written."""
    expected: str = ""
    """Of a swap: what it was to replace."""
    began: float
    ended: float = math.inf
    """Infinity: nobody knows whether it was done, and it may be done later."""


def is_linearizable(history: Sequence[Op], value: str = "") -> bool:
    """Return whether some order of the operations explains what was seen."""
    ops = sorted(history, key=lambda op: op.began)
    needed = sum(1 << at for at, op in enumerate(ops) if op.ended < math.inf)
    tried: set[tuple[int, str]] = set()
    stack = [(0, value)]
    while stack:
        done, now = stack.pop()
        if done & needed == needed:
            return True
        if (done, now) in tried:
            continue
        tried.add((done, now))
        for at in _next(ops, done):
            after = _after(ops[at], now)
            if after is not None:
                stack.append((done | 1 << at, after))
    return False


def _next(ops: Sequence[Op], done: int) -> list[int]:
    """Return which may come next: those that began before any that is left has ended."""
    found: list[int] = []
    first_end = math.inf
    for at, op in enumerate(ops):
        if op.began > first_end:
            break
        if not done >> at & 1:
            found.append(at)
            first_end = min(first_end, op.ended)
    return found


def _after(op: Op, value: str) -> str | None:
    """Return the value after an operation; None if it cannot come here."""
    if op.kind is Kind.WRITE:
        return op.value
    if op.kind is Kind.READ:
        return value if op.value == value else None
    return op.value if op.expected == value else None
