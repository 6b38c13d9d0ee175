"""Run a tool of the operating system."""

import asyncio

from pltfrms.errors import UnavailableError

_TIMEOUT_SECONDS = 5.0


class ToolFailedError(UnavailableError):
    """The tool ran, and said no."""


async def run_tool(*command: str, text: str = "") -> str:
    """Run a tool to its end and return what it printed.

    Raises:
        ToolFailedError: it says no.
        UnavailableError: it is not installed, or takes longer than five seconds.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise UnavailableError(f"{command[0]} is not installed") from error
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            output, complaint = await process.communicate(text.encode())
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise UnavailableError(f"no answer from `{' '.join(command)}`") from error
    if process.returncode:
        why = complaint.decode().strip() or f"exit code {process.returncode}"
        raise ToolFailedError(f"`{' '.join(command)}`: {why}")
    return output.decode()
