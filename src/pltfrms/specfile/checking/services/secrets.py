"""What makes no sense in the secrets of an instance, whoever wrote it."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from pltfrms.model.services.parts import ROOTS_FILE, STORE_FILE
from pltfrms.model.services.secrets import (
    SECRETS_DIRECTORY,
    Generate,
    OnChange,
    SecretUse,
    authority_half,
    is_secret_name,
)
from pltfrms.model.services.service import Run
from pltfrms.specfile.findings import Finding, nearest

_LONGEST_NAME: Final = 255
_MOST: Final = 100
_MODE_MAX: Final = 0o777


def secret_findings(run: Run) -> Iterator[Finding]:
    """Yield everything that is wrong with the secrets of a spec, but for their variables."""
    here = ("run", "secrets")
    if len(run.secrets) > _MOST:
        yield Finding(here, f"has {len(run.secrets)}, at most {_MOST} fit")
    names = [use.name for use in run.secrets]
    files = [use.file for use in run.secrets if use.file]
    for index, use in enumerate(run.secrets):
        where = (*here, use.name)
        if not is_secret_name(use.name):
            what = f"{use.name[:70]!r} is not the name of a secret"
            yield Finding(where, what, "a-z, 0-9 and -, with a letter first")
        if use.name in names[:index]:
            yield Finding(where, f"{use.name} is there twice", "names are unique")
        yield from _check_registry(run, use)
        if not (use.variable or use.file or use.registry):
            what = "neither variable nor file: nobody is given it"
            yield Finding(where, what, "such as {file: password} or {variable: PASSWORD}")
        yield from _check_file(use, files)
        yield from _check_generated(use)
    if files:
        yield from _covered(run)
    if sum(use.registry for use in run.secrets) > 1:
        yield Finding(here, "two are for the registry of one image", "have one")


def store_findings(run: Run) -> Iterator[Finding]:
    """Yield what is wrong with how instances use their part of the store."""
    if run.store is None:
        return
    where, name = ("run", "store", "secret"), run.store.secret
    use = next((each for each in run.secrets if each.name == name), None)
    if use is None:
        what = f"{name[:70]!r} is not among the secrets of its instances"
        yield Finding(where, what, nearest(name, [each.name for each in run.secrets]))
    elif use.registry or use.on_change is not OnChange.RESTART:
        what = f"instances must start anew with another value of {name}: it lets them in"
        yield Finding(where, what, "on_change: restart, and no registry")
    for file, _ in (*run.files, *run.binary):
        if file.partition("/")[0] in {STORE_FILE, ROOTS_FILE}:
            what = f"{file} is what pltfrms writes there, for who has a part of the store"
            yield Finding(("run", "files", file), what, "give it another name")


def _check_registry(run: Run, use: SecretUse) -> Iterator[Finding]:
    where = ("run", "secrets", use.name, "registry")
    if use.registry and run.container is None:
        yield Finding(where, "there is no image to fetch", "take it away, or run an image")
    if use.registry and (use.variable or use.file):
        what = f"{use.name} is for a registry, so no instance is given it"
        yield Finding(where, what, "have another secret for the instance")


def _check_generated(use: SecretUse) -> Iterator[Finding]:
    where = ("run", "secrets", use.name, "generate")
    if use.generate and use.registry:
        what = "a registry would not know a password that is made here"
        yield Finding(where, what, "pltfrms secret set, with the one that it has given you")
    half = authority_half(use.name)
    if use.generate is Generate.AUTHORITY and is_secret_name(use.name):
        if not is_secret_name(half):
            what = f"its certificate would be called {half}, which is too long for a secret"
            yield Finding(where, what, "give the authority a shorter name")
        elif use.variable:
            what = "a key and a certificate have many lines, and are no variable"
            yield Finding(where, what, "file, and no variable")


def _check_file(use: SecretUse, files: list[str]) -> Iterator[Finding]:
    where = ("run", "secrets", use.name)
    if not 0 <= use.mode <= _MODE_MAX:
        yield Finding((*where, "mode"), f"{use.mode:o} is not the mode of a file", '"0400"')
    if use.on_change.signal and (use.variable or not use.file):
        what = f"{use.on_change} is for a file: a variable is what it was at the start"
        yield Finding((*where, "on_change"), what, "restart, or a file and no variable")
    if use.file and not _is_plain(use.file):
        what = f"{use.file[:70]!r} is not the name of a file in the directory of secrets"
        yield Finding((*where, "file"), what, "without / and .., such as password")
    if files.count(use.file) > 1:
        what = f"{use.file} is the file of another secret, too"
        yield Finding((*where, "file"), what, "give it another name")


def _covered(run: Run) -> Iterator[Finding]:
    for name, _ in (*run.files, *run.binary):
        if PurePosixPath(name).parts[:1] == (SECRETS_DIRECTORY,):
            what = f"{SECRETS_DIRECTORY} is where secrets are, so that it would not be seen"
            yield Finding(("run", "files", name), what, "give it another name")


def _is_plain(name: str) -> bool:
    size = len(name.encode(errors="replace"))
    plain = name.isprintable() and "/" not in name and name not in {".", ".."}
    return plain and size <= _LONGEST_NAME
