"""Run a controller, and write down the longest slices of its event loop.

    python bench/watched.py FILE [options of `pltfrms controller run`]

Each slice of more than 10 ms of processor time becomes a line: seconds, and what ran. Where
the garbage collector took most of it, it says so.
"""

import asyncio
import gc
import sys
import time
from pathlib import Path
from typing import Any

_LONG_SECONDS = 0.01


def watch(path: Path) -> None:
    """Note slices from now on. Processor time: on a busy machine others take the rest."""
    plain = asyncio.events.Handle._run  # noqa: SLF001 - there is no other way to see slices

    collecting = _Collecting()

    def run(handle: Any) -> None:
        words = _words(handle._callback)  # noqa: SLF001 - as above
        began, collecting.seconds = time.thread_time(), 0.0
        plain(handle)
        seconds = time.thread_time() - began
        if seconds > _LONG_SECONDS:
            mostly = "collecting garbage" if collecting.seconds > seconds / 2 else words()
            with path.open("a") as file:
                file.write(f"{seconds:.4f} {mostly}\n")

    asyncio.events.Handle._run = run  # type: ignore[method-assign,assignment] # noqa: SLF001


class _Collecting:
    """How long the garbage collector took, since `seconds` was set to 0."""

    def __init__(self) -> None:
        self.seconds = self._began = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, _about: object) -> None:
        now = time.thread_time()
        if phase == "start":
            self._began = now
        else:
            self.seconds += now - self._began


def longest(path: Path, offset: int) -> tuple[float, str, int]:
    """Return the longest slice written after `offset`: seconds, what ran; and where next."""
    text = path.read_text() if path.exists() else ""
    slices = [line.partition(" ") for line in text[offset:].splitlines()]
    seconds, _, words = max(slices, key=lambda each: float(each[0]), default=("0", "", ""))
    return float(seconds), words, len(text)


def _words(callback: Any) -> Any:
    """Return what says which part of which task a slice is."""
    task = getattr(callback, "__self__", None)
    inner: Any = task.get_coro() if isinstance(task, asyncio.Task) else None
    names = []
    while inner is not None and hasattr(inner, "cr_frame") and inner.cr_frame:
        names.append(f"{inner.__qualname__}:{inner.cr_frame.f_lineno}")
        inner = inner.cr_await
    return lambda: " > ".join((*names[-12:-8], *names[-3:])) or repr(callback)


if __name__ == "__main__":
    from pltfrms.api.main import main

    watch(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
