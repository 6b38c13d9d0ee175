"""Run a command inside an instance: in its namespaces, as its user, within its limits."""

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, cast

from pltfrms.drivers.descriptors import end_all, ended, readable
from pltfrms.drivers.workload import command_keeper
from pltfrms.drivers.workload.images.oci import BOX, crun
from pltfrms.drivers.workload.instance.limits import groups_of, within
from pltfrms.model.messages.commands import CommandPart
from pltfrms.model.running.machine import Instance

_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""Nothing of ours. A container adds what its own processes have."""
_KEEPER: Final = str(Path(command_keeper.__file__))
_CHUNK: Final = 32_768
_BYTES_MAX: Final = 64 << 20
_BEAT_SECONDS: Final = 4.0
"""Who waits for silence hears so often that it is still there."""
_REST_SECONDS: Final = 1.0
"""What a command has left running may hold its output open so long."""
_SIGNALLED: Final = 128


def words_inside(instance: Instance, runtime: Path, words: Sequence[str]) -> tuple[str, ...]:
    """Return what runs a command inside an instance, and within its limits."""
    enter = ("nsenter", "-t", str(instance.pid), "-n", "-m", "-p", "-u", "-i", "-w", "--")
    inside = (*enter, *_into_container(instance, runtime / BOX), *words)
    return within(groups_of(instance.pid, instance.allocation), inside)


def _into_container(instance: Instance, box: Path) -> tuple[str, ...]:
    """Return what runs a command as the container's user, with what that may do.

    Empty if it is no container.
    """
    try:
        text = Path(f"/proc/{instance.pid}/root{box}", "config.json").read_text()
    except OSError:
        return ()
    user = json.loads(text)["process"]["user"]
    who = f"--user={user['uid']}:{user['gid']}"
    return (*crun(box), "exec", who, "--no-new-privs", instance.allocation)


async def said_inside(
    runtime: Path, instance: Instance, words: Sequence[str], seconds: float
) -> AsyncGenerator[CommandPart]:
    """Run a command without input; yield what it says, and how it ended.

    It ends when nobody takes that any more, also when we are killed, and with it all that it
    has started that has not left it.
    """
    try:
        process = subprocess.Popen(  # noqa: ASYNC220 - asyncio's own would start a thread
            (sys.executable, "-I", "-S", _KEEPER, *words_inside(instance, runtime, words)),
            stdin=subprocess.PIPE,  # it hears by that whether we live
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=_ENVIRONMENT,
        )
    except OSError as error:
        yield CommandPart(failure=f"cannot be run: {error.strerror}")
        return
    said: asyncio.Queue[CommandPart | None] = asyncio.Queue(1)
    hearing = asyncio.ensure_future(_hear(process, said))
    try:
        async for part in _bounded(said, seconds):
            yield part
            if part.is_last:
                return
    finally:
        hearing.cancel()
        with suppress(asyncio.CancelledError):
            await hearing
        status = end_all(process)
        for pipe in (process.stdin, process.stdout, process.stderr):
            cast("IO[bytes]", pipe).close()
    yield CommandPart(status=status if status >= 0 else _SIGNALLED - status)


async def _bounded(
    said: asyncio.Queue[CommandPart | None], seconds: float
) -> AsyncGenerator[CommandPart]:
    """Yield what is said until its end, as far as there is time and room for it."""
    loop, size = asyncio.get_running_loop(), 0
    until = loop.time() + seconds
    while True:
        part: CommandPart | None = CommandPart()
        with suppress(TimeoutError):
            async with asyncio.timeout(min(_BEAT_SECONDS, until - loop.time())):
                part = await said.get()
        if part is None:
            return
        size += (len(part.output) + len(part.complaint)) * 3 // 4  # of base64
        if loop.time() >= until:
            yield CommandPart(failure=f"was ended: it took longer than {seconds:g} s")
        if size > _BYTES_MAX:
            yield CommandPart(failure=f"was ended: it said more than {_BYTES_MAX >> 20} MiB")
        yield part


async def _hear(
    process: "subprocess.Popen[bytes]", said: asyncio.Queue[CommandPart | None]
) -> None:
    """Pass on all that a process says until it ends, and then nothing."""
    pipes = (
        (process.stdout, lambda text: CommandPart(output=text)),
        (process.stderr, lambda text: CommandPart(complaint=text)),
    )
    reading = [asyncio.ensure_future(_pass_on(pipe, make, said)) for pipe, make in pipes]
    try:
        await ended(process.pid)
        await asyncio.wait(reading, timeout=_REST_SECONDS)
    finally:
        for each in reading:
            each.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    await said.put(None)


async def _pass_on(
    pipe: IO[bytes] | None,
    make: Callable[[str], CommandPart],
    said: asyncio.Queue[CommandPart | None],
) -> None:
    fd = cast("IO[bytes]", pipe).fileno()
    while True:
        await readable(fd)
        text = os.read(fd, _CHUNK)
        if not text:
            return
        await said.put(make(base64.b64encode(text).decode()))
