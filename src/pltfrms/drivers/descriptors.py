"""Wait for file descriptors and processes inside the event loop: no threads, no polling."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from pltfrms.errors import UnavailableError

_CHUNK: Final = 32_768
_HEARD_MAX: Final = 1000
"""Bytes of what a command says that are kept."""


async def readable(fd: int) -> None:
    """Return when `fd` has something to read (or its far end is closed)."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def writable(fd: int) -> None:
    """Return when `fd` takes something more (or its far end is closed)."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(fd, _wake, ready)
    try:
        await ready
    finally:
        loop.remove_writer(fd)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def ended(pid: int) -> None:
    """Return when process `pid`, ours or anybody's, has ended."""
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(pid)
        try:
            await readable(pidfd)
        finally:
            os.close(pidfd)


async def run(
    command: Sequence[str], timeout_ms: int, heard: bytearray | None = None
) -> int | str:
    """Run a command without input; return its exit status, or minus its signal.

    What it says first is added to `heard`, if that is wanted.

    Or return one sentence: it was killed because it took longer than `timeout_ms`. Nothing of
    its process group survives; nor, if it was killed, anything that it had started, such as
    what has a session of its own in a container.

    Raises:
        UnavailableError: it could not be started.
    """
    try:
        process = subprocess.Popen(  # noqa: ASYNC220 - asyncio's own would start a thread
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if heard is None else subprocess.PIPE,
            stderr=subprocess.DEVNULL if heard is None else subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise UnavailableError(f"cannot run {command[0]}: {error.strerror}") from error
    try:
        with _hearing(process.stdout, heard):
            async with asyncio.timeout(timeout_ms / 1000):
                await ended(process.pid)
    except TimeoutError:
        return f"took longer than {timeout_ms} ms"
    finally:
        status = end_all(process)
    return status


@contextlib.contextmanager
def _hearing(pipe: IO[bytes] | None, heard: bytearray | None) -> Iterator[None]:
    """Take all that is said, so that nobody waits for us, and keep the beginning."""
    if pipe is None or heard is None:
        yield
        return
    fd, loop = pipe.fileno(), asyncio.get_running_loop()
    os.set_blocking(fd, False)

    def take() -> None:
        try:
            text = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        heard.extend(text[: _HEARD_MAX - len(heard)])
        if not text:
            loop.remove_reader(fd)

    loop.add_reader(fd, take)
    try:
        yield
        take()  # of who has ended just now
    finally:
        loop.remove_reader(fd)
        pipe.close()


def end_all(process: "subprocess.Popen[bytes]") -> int:
    """Kill a process that has a session of its own, and what it has started.

    Return how it ended: as it did if it had before.
    """
    for group in {process.pid, *_groups_below(process.pid)}:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    return process.wait()


def _groups_below(pid: int) -> Iterator[int]:
    """Yield the process groups of all that descends from a process."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it has just ended
            for child in map(int, task.read_text().split()):
                yield from _groups_below(child)
                if (group := os.getpgid(child)) > 1:  # 0: of nobody whom we see
                    yield group


def how_it_ended(status: int) -> str:
    """Return a sentence about an exit status (negative: the signal that killed it)."""
    if status < 0:
        return f"killed by signal {-status}"
    return f"exited with status {status}"
