"""What `controller root` does: one root takes the place of another, while both are trusted.

A machine learns which roots to trust with each certificate, so that after the life of a
certificate all that have a good one know. Nothing is asked of anybody meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pltfrms.cli.shared.output import unix_ms
from pltfrms.drivers.identity.authority import (
    AuthorityFile,
    certificates_of,
    issuing_root,
    life_of,
    read_certificate,
    roots_of,
)
from pltfrms.drivers.identity.files import IdentityFile, TrustedRoot
from pltfrms.drivers.identity.keys import pin_of
from pltfrms.errors import ConflictError
from pltfrms.model.identity.lives import EARLY_MS, LEAF_MS
from pltfrms.model.identity.words import RootDrop
from pltfrms.planner.identity.roots import ROOTS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class RootView:
    """A root, as people see it."""

    pin: str
    """SHA-256 of its public key; tokens end with it."""
    trusted_since_ms: int
    """0: from the beginning."""
    until_ms: int
    signs: bool
    """Whether it has signed what this controller signs with."""
    dropped: bool
    """Whether it is to be trusted no more, as soon as no machine needs it."""


def pin_text(certificate: str) -> str:
    """Return the SHA-256 of the public key of a certificate (PEM)."""
    return pin_of(read_certificate(certificate))


def is_known(roots: str, root: str) -> bool:
    """Return whether a root is among those that are trusted, all as PEM."""
    return pin_text(root) in map(pin_text, roots_of(roots))


def why_no_authority(roots: str, kept: Sequence[TrustedRoot], root: str, now_ms: int) -> str:
    """Return why a root must not sign what a controller signs with; empty: it may."""
    if not is_known(roots, root):
        return (
            "that root is not trusted here: is it of another platform? A new one is added "
            "first, on each controller: pltfrms controller root --add FILE"
        )
    since = next((e.since_ms for e in kept if pin_text(e.certificate) == pin_text(root)), 0)
    if now_ms >= since + LEAF_MS:
        return ""
    return (
        f"some machines do not trust that root before {_day(since + LEAF_MS)}: they learn of "
        "it with their next certificate; with --now they may have to join again"
    )


def roots_here(state: Path) -> tuple[RootView, ...]:
    """Return the roots that this controller trusts; UsageError if it has no identity."""
    signer = _signer(state)
    return tuple(
        RootView(
            pin=pin_text(each.certificate),
            trusted_since_ms=each.since_ms,
            until_ms=life_of(each.certificate).not_after_ms,
            signs=each.certificate == signer,
            dropped=each.drop is not RootDrop.NO,
        )
        for each in _kept(state)
    )


def add_root(state: Path, root: str) -> bool:
    """Trust a root (the first that PEM says), too; return whether that is new.

    The controller of this machine tells the others, and all of them their machines.

    Raises:
        ConflictError: there are enough.
    """
    kept, (certificate, *_) = _kept(state), certificates_of(root)
    roots_of(certificate)
    if pin_text(certificate) in [pin_text(each.certificate) for each in kept]:
        return False
    if len(kept) >= ROOTS_MAX:
        raise ConflictError(f"{ROOTS_MAX} roots are trusted already; drop one first")
    added = TrustedRoot(since_ms=unix_ms(), certificate=certificate)
    _replace(state, kept, [*kept, added])
    return True


def drop_root(state: Path, pin: str, *, despite: bool = False) -> bool:
    """Want a root to be trusted no more; return whether it was trusted.

    All controllers drop it together, when none signs with it any more. `despite`: at once,
    although machines may still have certificates by it.

    Raises:
        ConflictError: it is in use.
    """
    kept = _kept(state)
    rest = [each for each in kept if pin_text(each.certificate) != pin]
    if len(rest) == len(kept):
        return False
    if all(each.drop for each in rest):
        raise ConflictError("it is the only root; add another one first")
    signer = _signer(state)
    if not signer or pin_text(signer) == pin:
        raise ConflictError(
            "what this controller signs with is not signed by another root yet: "
            "pltfrms controller authority --root-key FILE"
        )
    own = AuthorityFile(state).read()
    until = life_of(own.certificate).not_before_ms + EARLY_MS + LEAF_MS if own else 0
    if unix_ms() < until and not despite:
        raise ConflictError(
            f"machines may have certificates by it until {_day(until)}; with --now those that "
            "do have to join again"
        )
    drop = RootDrop.AT_ONCE if despite else RootDrop.WANTED
    marked = [each if each in rest else replace(each, drop=drop) for each in kept]
    _replace(state, kept, marked)
    return True


def _kept(state: Path) -> tuple[TrustedRoot, ...]:
    return IdentityFile(state).roots()


def _replace(state: Path, kept: Sequence[TrustedRoot], roots: Sequence[TrustedRoot]) -> None:
    if not IdentityFile(state).trust(roots, kept):
        raise ConflictError("the controller has changed the roots at the same time; repeat")


def _signer(state: Path) -> str:
    """Return the root that has signed this controller's authority; empty: none of ours."""
    own = AuthorityFile(state).read()
    return issuing_root(own.certificate, [e.certificate for e in _kept(state)]) if own else ""


def _day(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d}"
