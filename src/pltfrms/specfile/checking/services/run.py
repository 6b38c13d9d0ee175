"""What makes no sense in how an instance is started, whoever wrote it."""

import base64
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from pltfrms.model.services.references import referred
from pltfrms.model.services.service import Run
from pltfrms.model.services.storage import IoLimits
from pltfrms.specfile.checking.services.container import container_findings
from pltfrms.specfile.checking.services.secrets import secret_findings, store_findings
from pltfrms.specfile.checking.services.variables import words_of
from pltfrms.specfile.findings import Finding, Where, check_cores, nearest

_VARIABLE = re.compile(r"\$\{pltfrms\.([^}\n]{0,80})")
_ENVIRONMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MIB = 1024 * 1024
_LEAST_IO = 64 * 1024
"""In a second: with less, a start takes minutes."""
_MOST_IO = 1 << 40
_MOST_OFTEN = 10_000_000
_LONGEST_NAME = 255
"""Of a file or directory, in bytes: what Linux takes."""
_LONGEST_PATH = 1000
"""In bytes: what Linux takes, and room for the directories above."""
_MOST_BYTES = 500_000
"""Of one service: half of what the store takes at once."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Variables that there are."""

    variables: tuple[str, ...]
    of_services: tuple[str, ...]

    def has(self, name: str) -> bool:
        return name in self.variables or bool(self.of_services and referred(name)[0])


def check_run(
    run: Run, variables: Sequence[str], of_services: Sequence[str]
) -> Iterator[Finding]:
    """Yield everything that is wrong with how an instance is started.

    It may use these `variables`, and those `of_services`, which name another one.
    """
    known = _Known(tuple(variables), tuple(of_services))
    if run.adopted is not None:
        return
    if run.container is not None:
        yield from container_findings(run.container)
    elif not run.process or not run.process[0]:
        yield Finding(("run", "process"), "there is no command", "such as [nginx, -g, …]")
    yield from _check_amounts(run)
    for where, argument in words_of(run):
        yield from _check_text(where, argument, known)
    yield from _check_unique(("run", "files"), [name for name, _ in run.files])
    yield from _check_below(frozenset(name for name, _ in (*run.files, *run.binary)))
    yield from _check_binary(run)
    yield from _check_size(run)
    for name, text in run.files:
        yield from _check_file_name(("run", "files", name), name)
        yield from _check_text(("run", "files", name), text, known)
    yield from _check_unique(("run", "environment"), [name for name, _ in run.environment])
    for name, text in run.environment:
        where = ("run", "environment", name)
        if not _ENVIRONMENT.match(name):
            yield Finding(where, f"{name!r} is not the name of a variable")
        yield from _check_text(where, text, known)
    yield from secret_findings(run)
    yield from store_findings(run)
    yield from _check_variables_of(run)


def _check_variables_of(run: Run) -> Iterator[Finding]:
    """Find variables that secrets cannot be."""
    taken = {name for name, _ in run.environment}
    for use in run.secrets:
        where = ("run", "secrets", use.name, "variable")
        if use.variable and not _ENVIRONMENT.match(use.variable):
            yield Finding(where, f"{use.variable!r} is not the name of a variable")
        if use.variable in taken:
            yield Finding(where, f"{use.variable} is another variable already", "keep one")
        taken.update(filter(None, (use.variable,)))


def _check_binary(run: Run) -> Iterator[Finding]:
    """Find files that are no content, and modes of no file."""
    texts = {name for name, _ in run.files}
    for name, text in run.binary:
        where = ("run", "binary", name)
        yield from _check_file_name(where, name)
        if name in texts:
            yield Finding(where, f"{name} is in files, too", "keep one of them")
        try:
            base64.b64decode(text, validate=True)
        except ValueError:
            yield Finding(where, "is not in base64")
    names = texts.union(name for name, _ in run.binary)
    for name, _ in run.modes:
        if name not in names:
            where = ("run", "modes", name)
            yield Finding(where, f"there is no file {name!r}", nearest(name, names))


def _check_amounts(run: Run) -> Iterator[Finding]:
    yield from check_cores(("run", "cpu"), run.cpu, "cores, such as 0.2")
    if run.memory_bytes < _MIB:
        yield Finding(("run", "memory"), "must be at least 1MiB", "such as 64MiB")
    if run.io is not None:
        yield from _check_io(run.io)
    if not 0 <= run.stop_grace_ms <= 600_000:  # noqa: PLR2004 (as the message says)
        yield Finding(("run", "stop_grace"), "is outside 0s..10m")


def _check_io(io: IoLimits) -> Iterator[Finding]:
    if io == IoLimits():
        yield Finding(("run", "io"), "limits nothing", "such as {write: 20MiB}")
    for field, size in (("read", io.read_bytes), ("write", io.write_bytes)):
        if size and not _LEAST_IO <= size <= _MOST_IO:
            yield Finding(("run", "io", field), "is outside 64KiB..1TiB in a second")
    for field, count in (("reads", io.reads), ("writes", io.writes)):
        if count and not 1 <= count <= _MOST_OFTEN:
            yield Finding(("run", "io", field), f"is outside 1..{_MOST_OFTEN} in a second")


def _check_text(where: Where, text: str, known: _Known) -> Iterator[Finding]:
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        yield Finding(where, "has characters that no program can be given")
    for match in _VARIABLE.finditer(text):
        name = match.group(1)
        if not known.has(name) or not text.startswith("}", match.end()):
            row = text.count("\n", 0, match.start())
            what = f"unknown variable ${{pltfrms.{name}}}"
            hint = nearest(name, (*known.variables, *known.of_services))
            yield Finding(where, what, hint, row=row)


def _check_file_name(where: Where, name: str) -> Iterator[Finding]:
    path = PurePosixPath(name)
    sizes = [len(part.encode(errors="replace")) for part in (name, *path.parts)]
    if max(sizes[1:], default=0) > _LONGEST_NAME or sizes[0] > _LONGEST_PATH:
        what = f"{name[:20]}… is too long: at most {_LONGEST_NAME} bytes between two /, and"
        yield Finding(where, f"{what} {_LONGEST_PATH} in all", "give it a shorter name")
        return
    plain = name.isprintable() and str(path) == name and name != "."
    if not plain or path.is_absolute() or ".." in path.parts:
        what = f"{name!r} is not a name below the working directory"
        yield Finding(where, what, "relative, without .., such as conf/nginx.conf")


def _check_below(names: frozenset[str]) -> Iterator[Finding]:
    """Find files that would need another file to be a directory."""
    for name in sorted(names):
        above = [str(path) for path in PurePosixPath(name).parents if str(path) in names]
        if above:
            what = f"{above[0]} is a file, so nothing can be below it"
            yield Finding(("run", "files", name), what, "give one of them another name")


def _check_size(run: Run) -> Iterator[Finding]:
    """Find what is too much for the store, which keeps commands and files as JSON."""
    sizes = {name: _size(text) for name, text in (*run.files, *run.binary)}
    others = (*run.words, *(text for _, text in run.environment))
    size = sum(sizes.values()) + sum(map(_size, others))
    if size > _MOST_BYTES:
        largest = max(sizes, key=sizes.__getitem__, default="")
        where = ("run", "files", largest) if largest else ("run",)
        what = f"files, command and environment have {size} bytes, at most {_MOST_BYTES} fit"
        yield Finding(where, what, "the store keeps them; fetch what is large from elsewhere")


def _size(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode(errors="replace"))


def _check_unique(where: Where, names: list[str]) -> Iterator[Finding]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Finding((*where, name), f"{name} is there twice", "names are unique")
