"""Disks that refuse: at any call, or after any byte."""

import contextlib
import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CALLS = (
    *("open", "mkdir", "fsync", "symlink", "replace", "rename", "unlink"),
    *("chmod", "fchmod", "chown", "fchown"),
)
ERRNOS = (errno.ENOSPC, errno.EIO, errno.EROFS)


class FaultyDisk:
    """Lets the n-th call of the file system below a directory fail, and all after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, below: Path) -> None:
        self._below = str(below)
        self.fails_from: int | None = None
        self.code = errno.ENOSPC
        self.calls = 0
        for name in CALLS:
            monkeypatch.setattr(os, name, self._wrapped(getattr(os, name)))

    def _wrapped(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(where: object, *more: object, **words: object) -> object:
            ours = isinstance(where, int) or str(where).startswith(self._below)
            if ours and self.fails_from is not None:
                self.calls += 1
                if self.calls > self.fails_from:
                    raise OSError(self.code, os.strerror(self.code))
            return real(where, *more, **words)

        return call

    @contextlib.contextmanager
    def failing(self, after: int, code: int) -> Iterator[None]:
        """Let `after` calls pass, and then none."""
        self.fails_from, self.calls, self.code = after, 0, code
        try:
            yield
        finally:
            self.fails_from = None


@contextlib.contextmanager
def full_after(size: int) -> Iterator[None]:
    """Cut every file that is written at this byte: what is more is refused (EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
