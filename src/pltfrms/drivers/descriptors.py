"""Wait for file descriptors and processes inside the event loop: no threads, no polling."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from pltfrms.errors import UnavailableError


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


async def run(command: Sequence[str], timeout_ms: int) -> int | str:
    """Run a command without input or output; return its exit status, or minus its signal.

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
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise UnavailableError(f"cannot run {command[0]}: {error.strerror}") from error
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            await ended(process.pid)
    except TimeoutError:
        return f"took longer than {timeout_ms} ms"
    finally:
        status = end_all(process)
    return status


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
