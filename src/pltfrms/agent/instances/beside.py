"""Work at two things until one of them is done."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def first_done(*works: Coroutine[Any, Any, None]) -> None:
    """Return when the first of them does, and end the others; raises what went wrong."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
