"""Which roots the controllers of a platform trust: all the same, whoever asks first. Pure.

An operator adds or drops a root on one controller; the store has what all agree on. A root that
was dropped never comes back, and none is dropped that machines still need.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pltfrms.model.identity.lives import EARLY_MS, LEAF_MS
from pltfrms.model.identity.words import RootDrop, RootNote, SigningNote

ROOTS_MAX: Final = 4
"""Two while one takes the place of another; each costs who trusts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreedRoots:
    """What one controller and the store make of what both have."""

    roots: tuple[RootNote, ...]
    """All that were ever trusted, oldest first."""
    why_not: tuple[str, ...]
    """One sentence for each wish of this controller that is not done now."""

    @property
    def trusted(self) -> tuple[RootNote, ...]:
        """Those that are trusted."""
        return _trusted(self.roots)


def agree_on_roots(
    stored: Sequence[RootNote],
    kept: Sequence[RootNote],
    signers: Iterable[SigningNote],
    now_ms: int,
) -> AgreedRoots:
    """Return what all are to trust, by what the store has and what one controller keeps.

    `signers` says by which root each controller signs.
    """
    known, why_not = {each.pin: each for each in stored}, []
    for own in sorted(kept, key=lambda each: (each.since_ms, each.pin)):
        before = known.get(own.pin)
        if before is None and len(_trusted(known.values())) >= ROOTS_MAX:
            why_not.append(f"root {own.pin} is not trusted: {ROOTS_MAX} others are already")
        elif before is None or before.drop is not RootDrop.DONE:
            # Machines have learned of it when the last controller has.
            since_ms = max(own.since_ms, before.since_ms if before else 0)
            known[own.pin] = replace(own, since_ms=since_ms, drop=RootDrop.NO)
        elif own.drop is RootDrop.NO:
            why_not.append(f"root {own.pin} was dropped for good: make another one")
    told = tuple(signers)
    for own in kept:
        wanted = known.get(own.pin)
        if own.drop is RootDrop.NO or wanted is None or wanted.drop is RootDrop.DONE:
            continue
        others = [each for each in _trusted(known.values()) if each.pin != own.pin]
        why = _why_needed(own, told, now_ms) if others else "it is the only one"
        if why:
            why_not.append(f"root {own.pin} is not dropped yet: {why}")
        else:
            known[own.pin] = replace(wanted, drop=RootDrop.DONE)
    order = sorted(known.values(), key=lambda each: (each.since_ms, each.pin))
    return AgreedRoots(roots=tuple(order), why_not=tuple(why_not))


def _trusted(roots: Iterable[RootNote]) -> tuple[RootNote, ...]:
    return tuple(each for each in roots if each.drop is not RootDrop.DONE)


def _why_needed(root: RootNote, signers: Sequence[SigningNote], now_ms: int) -> str:
    """Return why machines need a root, as far as controllers have told; empty: none does."""
    if root.drop is RootDrop.AT_ONCE:
        return ""
    by_it = sorted(each.controller for each in signers if each.root == root.pin)
    if by_it:
        return f"{', '.join(by_it)} signs with it: pltfrms controller authority, there"
    young = sorted(
        each.controller for each in signers if now_ms < each.since_ms + EARLY_MS + LEAF_MS
    )
    if young:
        return f"{', '.join(young)} has signed with another for less than a certificate's life"
    return ""
