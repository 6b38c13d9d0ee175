"""The texts that BIRD was given, on disk: few of them, whole ones, and one of them in force."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Final

from pltfrms.drivers.bird.sharing import open_shared, share_directory
from pltfrms.drivers.private import sync_directory

KEPT_GENERATIONS: Final = 5
STAMP: Final = "PLTFRMS_TEXT"
_FILE: Final = "bird.conf"
_PREFIX: Final = "gen-"


class Generations:
    """The directories `gen-N` with one text each, and the link `current` to one of them.

    A disk that refuses leaves `current` and what it leads to as they were, and nothing else.
    """

    def __init__(self, directory: Path) -> None:
        """Touch nothing yet."""
        self._directory = directory

    @property
    def config(self) -> Path:
        """The text in force."""
        return self._directory / "current" / _FILE

    def text(self) -> str | None:
        """Return the text in force; None if there is none that can be read."""
        return _text_of(self._directory / "current")

    def current(self) -> str | None:
        """Return the name of the generation in force, or None."""
        try:
            return str((self._directory / "current").readlink())
        except OSError:
            return None

    def text_called(self, name: str) -> str:
        """Return the text of this name, without its stamp; empty if we do not have it."""
        for generation in reversed(self._all()):
            config = (_text_of(generation) or "").removesuffix(_ending(name))
            if stamped(config)[1] == name:
                return config
        return ""

    def write(self, text: str) -> Path:
        """Write a text durably as a new generation, which nothing points to yet.

        The oldest go first, so that they never are more than a few, whatever fails later.

        Raises:
            OSError: the disk refuses; nothing is left of the new generation.
        """
        share_directory(self._directory)
        self.forget(self._all()[: 1 - KEPT_GENERATIONS])
        last = self._all()[-1:]
        number = _number(last[0]) + 1 if last else 1
        generation = self._directory / f"{_PREFIX}{number}"
        try:
            share_directory(generation)
            with os.fdopen(open_shared(generation / _FILE), "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            sync_directory(generation)
        except OSError:
            self.remove(generation)
            raise
        return generation

    def prepare(self, name: str) -> None:
        """Do all of `point_to` that may need space.

        Raises:
            OSError: the disk refuses; `current` leads to where it did.
        """
        new = self._directory / "current.new"
        new.unlink(missing_ok=True)
        new.symlink_to(name)

    def point_to(self, name: str) -> None:
        """Put a generation in force.

        Raises:
            OSError: the disk refuses; `current` leads to where it did.
        """
        self.prepare(name)
        (self._directory / "current.new").replace(self._directory / "current")
        sync_directory(self._directory)

    def undo(self, previous: str | None) -> None:
        """Point to what was there before, and remove the generation that was refused."""
        refused = self.current()
        if previous is None:
            (self._directory / "current").unlink()
        else:
            self.point_to(previous)
        if refused is not None:
            self.remove(self._directory / refused)

    def forget_old(self) -> None:
        """Keep the last few only."""
        self.forget(self._all()[:-KEPT_GENERATIONS])

    def forget(self, generations: Collection[Path]) -> None:
        """Remove generations, but never the one in force."""
        current = self.current()
        for generation in generations:
            if generation.name != current:  # a row of failed trials must not take it
                self.remove(generation)

    def remove(self, generation: Path) -> None:
        """Remove one. What cannot be removed now is old later, and removed then."""
        shutil.rmtree(generation, ignore_errors=True)

    def _all(self) -> list[Path]:
        numbered = (
            path
            for path in self._directory.glob(f"{_PREFIX}*")
            if path.name.removeprefix(_PREFIX).isdecimal()
        )
        return sorted(numbered, key=_number)


def stamped(config: str) -> tuple[str, str]:
    """Return the text to write, and the name of it that the text itself contains."""
    name = hashlib.sha256(config.encode()).hexdigest()[:16]
    return config + _ending(name), name


def _number(generation: Path) -> int:
    return int(generation.name.removeprefix(_PREFIX))


def _text_of(generation: Path) -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return (generation / _FILE).read_text()
    return None


def _ending(name: str) -> str:
    return f'\n# Which text this is, for the agent to ask.\ndefine {STAMP} = "{name}";\n'
