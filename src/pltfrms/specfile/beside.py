"""Files of a directory beside a spec: read as if the spec itself had them."""

import base64
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pltfrms.specfile.document import Document
from pltfrms.specfile.findings import Finding, Where

_RUN: Final = "run"
FIELD: Final = (_RUN, "files_from")
_FIELDS: Final = ("files", "binary", "modes")
_EXECUTABLE: Final = "0755"
_MOST_FILES: Final = 1000
_MOST_BYTES: Final = 500_000
"""Of one file; all of a service are bounded where its `files` are."""


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    executable: bool

    @property
    def text(self) -> str | None:
        """What it says; None: it is no text."""
        try:
            text = self.content.decode()
        except UnicodeDecodeError:
            return None
        return None if "\0" in text else text


def with_files(document: Document) -> Document:
    """Return a document of a service that itself has what is in the directory it names."""
    run = document.data.get(_RUN) if isinstance(document.data, dict) else None
    if not isinstance(run, dict):
        return document
    name, own = run.get(FIELD[1]), {field: run.get(field, {}) for field in _FIELDS}
    if not isinstance(name, str) or not name or not all(map(_is_mapping, own.values())):
        return document  # or its shape says what is wrong
    found: dict[str, _File] = {}
    wrong = list(_read(Path(document.file).parent, name, found))
    for field in ("files", "binary"):
        for each in sorted(own[field].keys() & found.keys()):
            what = f"{each} is in {name}, too"
            wrong.append(Finding((_RUN, field, each), what, "keep one of them"))
    told = {field: {**more, **own[field]} for field, more in _sorted(found).items()}
    data = {**document.data, _RUN: {**run, **told}}
    line = document.line(FIELD)
    lines: dict[Where, int] = {
        (_RUN, field, each): line for field, more in told.items() for each in more
    }
    problems = (*document.problems, *map(document.problem, wrong))
    return replace(document, data=data, lines=lines | dict(document.lines), problems=problems)


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)


def _sorted(found: dict[str, _File]) -> dict[str, dict[str, str]]:
    """Return what files are by the fields of a spec."""
    texts = {name: each.text for name, each in found.items()}
    return {
        "files": {name: text for name, text in texts.items() if text is not None},
        "binary": {
            name: base64.b64encode(found[name].content).decode()
            for name, text in texts.items()
            if text is None
        },
        "modes": {name: _EXECUTABLE for name, each in found.items() if each.executable},
    }


def _read(base: Path, name: str, found: dict[str, _File]) -> Iterator[Finding]:
    """Add each file by its name in the directory; yield what is no such file."""
    if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
        what = f"{name[:70]!r} is not a directory beside this file"
        yield Finding(FIELD, what, "relative, without .., such as conf")
        return
    try:
        root, around = (base / name).resolve(strict=True), base.resolve(strict=True)
        if not root.is_relative_to(around):
            yield Finding(FIELD, f"{name} is a link that leads elsewhere", "put it here")
            return
        paths = sorted(_paths(base / name))
    except (OSError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it leads to itself"
        yield Finding(FIELD, f"{name} cannot be read: {why}", "is the path right?")
        return
    if len(paths) > _MOST_FILES:
        yield Finding(FIELD, f"{name} has more than {_MOST_FILES} files", "have fewer")
        return
    for path in paths:
        file = _file(path, root)
        if isinstance(file, Finding):
            yield file
        else:
            found[path.relative_to(base / name).as_posix()] = file


def _paths(root: Path) -> Iterator[Path]:
    """Yield what is below a directory, one more than may be there at most; OSError."""
    count = 0

    def refuse(error: OSError) -> None:
        raise error

    for place, directories, names in os.walk(root, onerror=refuse):
        here = Path(place)
        links = [each for each in directories if (here / each).is_symlink()]
        for each in (*names, *links):
            yield here / each
            count += 1
            if count > _MOST_FILES:
                return


def _file(path: Path, root: Path) -> _File | Finding:
    """Return what a file is; it and what a link leads to are below the root."""
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(root):
            return _no(path, "is a link that leads out of its directory")
        if not real.is_file():
            return _no(path, "is neither a file nor a directory, or a link to one")
        with real.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        executable = bool(real.stat().st_mode & stat.S_IXUSR)
    except (OSError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it leads to itself"
        return _no(path, f"cannot be read: {why}")
    if len(content) > _MOST_BYTES:
        return _no(path, f"has more than {_MOST_BYTES} bytes")
    return _File(content, executable)


def _no(path: Path, what: str) -> Finding:
    return Finding(FIELD, f"{path} {what}", "take it away, or mend it")
