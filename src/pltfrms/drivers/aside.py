"""Long computations beside the event loop: in a copy of this process that ends with them.

The copy has all that we know without anything being sent to it; only the answer travels. It
does nothing but compute: it closes what it has inherited, and is less urgent than we are.
"""

import asyncio
import gc
import os
import pickle
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, TypeVar, cast

from pltfrms.errors import UnavailableError

SMALL = 300
"""Work of this size is done at once: it takes less time than to copy a process."""
_AT_ONCE = 2
_LESS_URGENT = 10
_FIRST_DESCRIPTOR = 3
_DESCRIPTORS = 65_536
_CHUNK_BYTES = 1 << 20

_T = TypeVar("_T")


class Here:
    """`ports.Aside` that computes where it is asked."""

    async def run(self, _size: int, work: Callable[[], _T]) -> _T:
        """Return what `work` returns."""
        return work()


class Forked:
    """`ports.Aside` in a process of its own; at most two at once, others wait."""

    def __init__(self, patience_seconds: float = 60.0) -> None:
        """End what takes longer: a copy may hang on a lock that it inherited."""
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._patience_seconds = patience_seconds

    async def run(self, size: int, work: Callable[[], _T]) -> _T:
        """Return what `work` returns, which must be a value that can be pickled.

        Raises:
            UnavailableError: the process ended without an answer, or took too long.
        """
        if size <= SMALL:
            return work()
        async with self._turns:
            answer = b""
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience_seconds):
                    answer = await _computed(work)
        if not answer:
            raise UnavailableError("a computation was ended by the system; it is tried again")
        failed, value = pickle.loads(answer)  # noqa: S301 - of our own process
        if failed:
            raise value
        return cast("_T", value)


async def _computed(work: Callable[[], object]) -> bytes:
    """Return the pickled answer of a copy of this process; nothing if it was ended."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        _compute(work, sink)
    os.close(sink)
    try:
        return await _read(source)
    finally:
        await _end(pid)


async def _read(source: int) -> bytes:
    loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(limit=_CHUNK_BYTES)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(source, "rb", buffering=0)
    )
    try:
        return await reader.read()
    finally:
        transport.close()


async def _end(pid: int) -> None:
    """End a process, if it has not, and wait without blocking until it is gone."""
    os.kill(pid, signal.SIGKILL)
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    descriptor = os.pidfd_open(pid)
    try:
        loop.add_reader(descriptor, gone.set)
        await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        _reap(pid)


def _reap(pid: int) -> None:
    os.waitpid(pid, 0)


def _compute(work: Callable[[], object], sink: int) -> NoReturn:
    """Be the copy: compute, write the answer, and end without any of our own endings."""
    status = 1
    try:
        gc.disable()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.closerange(_FIRST_DESCRIPTOR, sink)
        os.closerange(sink + 1, _DESCRIPTORS)
        os.nice(_LESS_URGENT)
        with os.fdopen(sink, "wb") as file:
            file.write(_answer(work))
        status = 0
    finally:
        os._exit(status)


def _answer(work: Callable[[], object]) -> bytes:
    try:
        return pickle.dumps((False, work()))
    except Exception as error:  # noqa: BLE001 - whoever asked is told
        return pickle.dumps((True, error))
