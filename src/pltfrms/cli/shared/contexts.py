"""Platforms that an operator has to do with: where their controllers are, and his logins.

In `~/.config/pltfrms` (XDG_CONFIG_HOME), for himself alone: `contexts.json`, and the tokens in
`logins/`. A login belongs to where it was made: to a context, a lab, named controllers, or the
controller of this machine.
"""

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

from pltfrms.cli.shared.options import Settings
from pltfrms.cli.shared.output import unix_ms
from pltfrms.codec import encode, read
from pltfrms.errors import NotFoundError, UsageError

_FILE: Final = "contexts.json"
_LOGINS: Final = "logins"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A platform as its operator reaches it."""

    name: str
    controllers: tuple[str, ...]
    """Base URLs."""
    platform: str = ""
    """Name of the platform, which is in the names by which its controllers answer by TLS."""
    roots: str = ""
    """What they are verified with, as PEM; empty: as this machine verifies them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """All that an operator knows."""

    current: str = ""
    """Name of the one that is used where none is said; empty: none is."""
    known: tuple[Context, ...] = ()

    def named(self, name: str) -> Context:
        """Return a context; NotFoundError if there is none of that name."""
        for context in self.known:
            if context.name == name:
                return context
        names = ", ".join(each.name for each in self.known) or "none"
        raise NotFoundError(f"there is no context {name!r}; there are: {names}")

    def with_context(self, context: Context) -> "Contexts":
        """Return them with one more, or with another one of that name."""
        others = (each for each in self.known if each.name != context.name)
        return replace(self, known=(*others, context))

    def without(self, name: str) -> "Contexts":
        """Return them without one; NotFoundError."""
        gone = self.named(name)
        current = "" if self.current == name else self.current
        known = tuple(each for each in self.known if each != gone)
        return replace(self, current=current, known=known)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLogin:
    """What a controller gave an operator who has logged in."""

    platform: str
    operator: str
    token: str
    expires_ms: int


def read_contexts() -> Contexts:
    """Return all contexts; UsageError if the file cannot be read."""
    return _read(_directory() / _FILE, Contexts) or Contexts()


def write_contexts(contexts: Contexts) -> None:
    """Keep all contexts; OSError if the disk refuses."""
    _write(_directory() / _FILE, contexts)


def chosen_context(settings: Settings) -> Context | None:
    """Return the context that is meant; None if controllers or a lab are. NotFoundError."""
    if settings.controllers or settings.lab:
        return None
    if settings.context:
        return read_contexts().named(settings.context)
    contexts = read_contexts()
    return contexts.named(contexts.current) if contexts.current else None


def login_place(settings: Settings, lab: str) -> str:
    """Return what a login is called that is made here: its file is named after it."""
    context = chosen_context(settings)
    if context:
        return f"context-{context.name}"
    if settings.controllers:
        text = " ".join(sorted(settings.controllers))
        return f"at-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    return f"lab-{lab}" if lab else "local"


def kept_login(place: str) -> KeptLogin | None:
    """Return the login of a place; None if there is none, or it has ended."""
    kept = _read(_directory() / _LOGINS / f"{place}.json", KeptLogin)
    return kept if kept and kept.expires_ms > unix_ms() else None


def keep_login(place: str, login: KeptLogin) -> None:
    """Keep a login; OSError if the disk refuses."""
    _write(_directory() / _LOGINS / f"{place}.json", login)


def drop_login(place: str) -> bool:
    """Forget a login; return whether there was one."""
    path = _directory() / _LOGINS / f"{place}.json"
    there = path.exists()
    path.unlink(missing_ok=True)
    return there


def _directory() -> Path:
    said = os.environ.get("XDG_CONFIG_HOME")
    return (Path(said) if said else Path("~/.config").expanduser()) / "pltfrms"


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        return read(kind, path.read_bytes())
    except FileNotFoundError:
        return None
    except UsageError as error:
        raise UsageError(f"{path} cannot be read: {error}; remove it") from error


def _write(path: Path, word: object) -> None:
    from pltfrms.drivers.private import (  # noqa: PLC0415 - few commands write
        make_directory,
        replace_file,
    )

    make_directory(_directory())
    make_directory(path.parent)
    replace_file(path, encode(word) + b"\n")
