"""What edges say of the aggregates of a datacenter. Pure.

What an edge out of contact said last is told as that, and as nothing else: it may well
announce what it did.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pltfrms.model.network.topology import Datacenter, Machine, Role
from pltfrms.model.running.state import AggregateStatus, Contact, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeWord:
    """What one edge says of an aggregate."""

    edge: str
    state: str
    """`announced`, `not announced`, or `unknown`: out of contact, or it has not said."""
    reason: str
    """Why it is so, in words; of an unknown one, why it is not known and what it said last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateRow:
    """An aggregate in one datacenter: which edges of ours announce it, and each one's why."""

    prefix: str
    announced_by: tuple[str, ...]
    edges: tuple[EdgeWord, ...]


def aggregate_rows(snapshot: Snapshot, datacenter: Datacenter) -> tuple[AggregateRow, ...]:
    """Return every aggregate of a datacenter, as its edges see it."""
    edges = tuple(
        edge
        for edge in snapshot.platform.machines_of(Role.EDGE, datacenter.name)
        if not edge.external
    )
    return tuple(
        _aggregate_row(snapshot, str(aggregate.prefix), edges)
        for aggregate in snapshot.platform.aggregates_of(datacenter.name)
    )


def aggregate_sentence(row: AggregateRow) -> str:
    """Return which edges announce an aggregate, which do not, and why, in words."""
    if not row.edges:
        return f"{row.prefix} not announced: no edge of ours"
    parts = [_part(row, words) for words in _alike(row.edges)]
    return f"{row.prefix} {'; '.join(parts)}"


def _aggregate_row(snapshot: Snapshot, prefix: str, edges: tuple[Machine, ...]) -> AggregateRow:
    words = tuple(_word(snapshot, edge, prefix) for edge in edges)
    return AggregateRow(
        prefix=prefix,
        announced_by=tuple(word.edge for word in words if word.state == "announced"),
        edges=words,
    )


def _word(snapshot: Snapshot, edge: Machine, prefix: str) -> EdgeWord:
    status, contact = snapshot.statuses.get(edge.name), snapshot.contact(edge.name)
    said = next((a for a in status.aggregates if a.prefix == prefix), None) if status else None
    if contact is Contact.PRESENT:
        if said is None:
            return EdgeWord(edge=edge.name, state="unknown", reason="it says nothing of it yet")
        return EdgeWord(edge=edge.name, state=_state(said), reason=said.reason.sentence)
    why = "it is out of contact" if contact is Contact.LOST else "its contact is not known"
    last = f"; it said last: {_state(said)}" if said else ""
    return EdgeWord(edge=edge.name, state="unknown", reason=f"{why}{last}")


def _state(said: AggregateStatus) -> str:
    return "announced" if said.announced else "not announced"


def _alike(words: Iterable[EdgeWord]) -> list[tuple[EdgeWord, ...]]:
    """Return the words of edges that say the same, together."""
    groups: dict[tuple[str, str], tuple[EdgeWord, ...]] = {}
    for word in words:
        key = (word.state, word.reason)
        groups[key] = (*groups.get(key, ()), word)
    return list(groups.values())


def _part(row: AggregateRow, words: tuple[EdgeWord, ...]) -> str:
    state, reason = words[0].state, words[0].reason
    everyone = len(words) == len(row.edges)
    who = "every edge" if everyone else ", ".join(word.edge for word in words)
    if state == "not announced" and everyone:
        return f"not announced: {reason}"
    return f"{state} {'of' if state == 'unknown' else 'by'} {who}: {reason}"
