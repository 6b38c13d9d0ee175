"""Run a tool of the operating system. None of them may keep us for ever."""

import asyncio
import contextlib
import os
import signal
from typing import Final

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
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except FileNotFoundError as error:
        raise UnavailableError(f"{command[0]} is not installed") from error
    try:
        async with asyncio.timeout(seconds):
            output, complaint = await process.communicate(text.encode())
    except TimeoutError as error:
        why = f"`{' '.join(command)}` was ended: it took longer than {seconds:g} s"
        raise UnavailableError(why) from error
    finally:
        await _end(process)
    if process.returncode:
        said = (complaint.strip() or output.strip()).decode(errors="replace")
        raise ToolFailedError(command, said or f"exit code {process.returncode}")
    return output.decode(errors="replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    # What has left its session is alive, and `wait` waits until nobody has our pipes any more.
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - no other way
    await process.wait()
