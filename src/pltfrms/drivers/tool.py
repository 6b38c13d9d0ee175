"""Run a tool of the operating system. None of them may keep us for ever."""

import asyncio
import os
import signal
import subprocess
from contextlib import ExitStack
from typing import BinaryIO, Final

from pltfrms.drivers.descriptors import ended
from pltfrms.errors import UnavailableError

TIMEOUT_SECONDS: Final = 5.0


class ToolFailedError(UnavailableError):
    """The tool ran, and said no."""

    def __init__(self, command: tuple[str, ...], said: str) -> None:
        """`said` is what it printed, or its exit code."""
        super().__init__(f"`{' '.join(command)}`: {said}")
        self.said = said


async def run_tool(*command: str, text: str = "", seconds: float = TIMEOUT_SECONDS) -> str:
    """Run a tool to its end and return what it printed.

    Whatever ends us before that ends the tool, and what it has started, too.

    Raises:
        ToolFailedError: it says no.
        UnavailableError: it is not installed, or takes longer than `seconds`.
    """
    with ExitStack() as held:
        files = [held.enter_context(_in_memory(name)) for name in ("in", "out", "err")]
        given, output, complaint = files
        given.write(text.encode())
        given.seek(0)
        try:
            process = subprocess.Popen(  # noqa: ASYNC220 - asyncio's own may never end
                command, stdin=given, stdout=output, stderr=complaint, start_new_session=True
            )
        except FileNotFoundError as error:
            raise UnavailableError(f"{command[0]} is not installed") from error
        try:
            async with asyncio.timeout(seconds):
                await ended(process.pid)
        except TimeoutError as error:
            why = f"`{' '.join(command)}` was ended: it took longer than {seconds:g} s"
            raise UnavailableError(why) from error
        finally:
            await _end(process)
        said, complained = map(_text_of, (output, complaint))
    if process.returncode:
        why = complained.strip() or said.strip() or f"exit code {process.returncode}"
        raise ToolFailedError(command, why)
    return said


async def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        await ended(process.pid)
        process.wait()


def _in_memory(name: str) -> BinaryIO:
    """Return a file for what a tool reads or says: nobody waits for who else has it open."""
    return os.fdopen(os.memfd_create(name), "w+b", buffering=0)


def _text_of(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
