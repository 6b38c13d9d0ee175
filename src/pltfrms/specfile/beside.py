"""Files of a directory beside a spec: read as if the spec had them in `files`."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from pltfrms.specfile.document import Document, read_bounded
from pltfrms.specfile.findings import Finding

FIELD: Final = ("run", "files_from")
_FILES: Final = ("run", "files")
_MOST_FILES: Final = 1000
_MOST_CHARACTERS: Final = 500_000
"""Of one file; all of a service are bounded where its `files` are."""


def with_files(document: Document) -> Document:
    """Return a document of a service in which `files` has what is in the directory it names."""
    run = document.data.get(_FILES[0]) if isinstance(document.data, dict) else None
    if not isinstance(run, dict):
        return document
    name, files = run.get(FIELD[1]), run.get(_FILES[1], {})
    if not isinstance(name, str) or not name or not isinstance(files, dict):
        return document  # or its shape says what is wrong
    found: dict[str, str] = {}
    wrong = list(_read(Path(document.file).parent, name, found))
    for each in sorted(files.keys() & found.keys()):
        what = f"{each} is in {name}, too"
        wrong.append(Finding((*_FILES, each), what, "keep one of them"))
    data = {**document.data, "run": {**run, "files": {**found, **files}}}
    line = document.line(FIELD)
    lines = {(*_FILES, each): line for each in found} | dict(document.lines)
    problems = (*document.problems, *map(document.problem, wrong))
    return replace(document, data=data, lines=lines, problems=problems)


def _read(base: Path, name: str, found: dict[str, str]) -> Iterator[Finding]:
    """Add the text of each file by its name in the directory; yield what is no such file."""
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
        text = _text(path, root)
        if isinstance(text, Finding):
            yield text
        else:
            found[path.relative_to(base / name).as_posix()] = text


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


def _text(path: Path, root: Path) -> str | Finding:
    """Return what is in a file; it and what a link leads to are below the root."""
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(root):
            return _no(path, "is a link that leads out of its directory")
        if not real.is_file():
            return _no(path, "is neither a file nor a directory, or a link to one")
        text = read_bounded(real, _MOST_CHARACTERS)
    except UnicodeDecodeError:
        return _no(path, "is not text in UTF-8")
    except (OSError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it leads to itself"
        return _no(path, f"cannot be read: {why}")
    return _no(path, f"has more than {_MOST_CHARACTERS} characters") if text is None else text


def _no(path: Path, what: str) -> Finding:
    return Finding(FIELD, f"{path} {what}", "take it away, or mend it")
