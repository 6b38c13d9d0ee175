"""Settings of the kernel under /proc/sys. It tells nobody when somebody changes them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_BYTES: Final = 256
"""Longest value that we set, and more."""


class Sysctls:
    """Settings that are looked at all day long, so their files stay open."""

    def __init__(self, root: Path) -> None:
        """Look below `root`."""
        self._root = root
        self._open: dict[str, int] = {}

    def apply_all(self, settings: Sequence[tuple[str, str]]) -> list[str]:
        """Make these settings (path, value) so, and keep their files open, and no others."""
        for path in self._open.keys() - {path for path, _ in settings}:
            self._forget(path)
        return [self._apply(path, value) for path, value in settings]

    def apply(self, path: str, value: str) -> str:
        """Make a setting this, once; return what was done, `` if nothing was to do."""
        try:
            return self._apply(path, value)
        finally:
            self._forget(path)

    def _apply(self, path: str, value: str) -> str:
        try:
            if self._read(path).split() == value.split():
                return ""
            (self._root / path).write_text(value)
        except FileNotFoundError:
            return f"missing sysctl {path}: this kernel or machine does not have it"
        except OSError as error:
            return f"refused: sysctl {path} = {value}: {error.strerror}"
        return f"set sysctl {path} = {value}"

    def close(self) -> None:
        """Close the files."""
        for path in list(self._open):
            self._forget(path)

    def _read(self, path: str) -> str:
        try:
            return self._again(path)
        except OSError:  # the file of a device that has gone; another may have its name
            self._forget(path)
            return self._again(path)

    def _forget(self, path: str) -> None:
        if path in self._open:
            os.close(self._open.pop(path))

    def _again(self, path: str) -> str:
        if path not in self._open:
            self._open[path] = os.open(self._root / path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(self._open[path], _BYTES, 0).decode()
