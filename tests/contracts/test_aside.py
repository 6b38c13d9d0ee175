"""Computing beside the event loop: both ways answer the same, and one does not block."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pltfrms.drivers.aside import SMALL, Forked, Here
from pltfrms.drivers.ports import Aside
from pltfrms.errors import NotFoundError, UnavailableError

LARGE = SMALL + 1
both = pytest.mark.parametrize("kind", [Here, Forked])


def run(kind: type[Here | Forked], story: Callable[[Aside], Awaitable[None]]) -> None:
    async def begun() -> None:
        await asyncio.wait_for(story(kind()), 30)

    asyncio.run(begun())


def children() -> frozenset[str]:
    """Return our processes, also those that have ended and that nobody has asked about."""
    lists = Path("/proc/self/task").glob("*/children")
    return frozenset(pid for each in lists for pid in each.read_text().split())


_OTHERS: set[str] = set()


@pytest.fixture(autouse=True)
def _others() -> None:
    """Know who is there already, such as a store that other tests of this worker share."""
    _OTHERS.clear()
    _OTHERS.update(children())


def no_child_is_left() -> bool:
    return children() <= _OTHERS


@both
@pytest.mark.parametrize("size", [0, LARGE])
def test_it_answers_what_the_work_returns(kind: type[Here | Forked], size: int) -> None:
    async def story(aside: Aside) -> None:
        known = {"a": tuple(range(100_000))}
        assert await aside.run(size, lambda: known["a"]) == known["a"]
        assert no_child_is_left()

    run(kind, story)


@both
def test_it_raises_what_the_work_raises(kind: type[Here | Forked]) -> None:
    def fail() -> None:
        raise NotFoundError("no such thing")

    async def story(aside: Aside) -> None:
        with pytest.raises(NotFoundError, match="no such thing"):
            await aside.run(LARGE, fail)
        assert no_child_is_left()

    run(kind, story)


def test_the_loop_goes_on_while_much_is_computed() -> None:
    def compute() -> int:
        until, count = time.monotonic() + 1.0, 0
        while time.monotonic() < until:
            count += 1
        return count

    async def story(aside: Aside) -> None:
        ticks = 0
        working = asyncio.create_task(aside.run(LARGE, compute))
        while not working.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert working.result() > 0
        assert ticks > 10

    run(Forked, story)


def test_work_that_the_system_ends_is_said_to_be_ended() -> None:
    async def story(aside: Aside) -> None:
        with pytest.raises(UnavailableError, match="ended"):
            await aside.run(LARGE, lambda: os.kill(os.getpid(), signal.SIGKILL))
        assert no_child_is_left()

    run(Forked, story)


def test_nothing_is_left_of_work_that_nobody_waits_for_any_more() -> None:
    async def story(aside: Aside) -> None:
        working = asyncio.create_task(aside.run(LARGE, lambda: time.sleep(60)))
        await asyncio.sleep(0.2)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert no_child_is_left()

    run(Forked, story)


def test_work_holds_no_connection_of_ours_open() -> None:
    source, sink = os.pipe()

    async def story(aside: Aside) -> None:
        working = asyncio.create_task(aside.run(LARGE, lambda: time.sleep(5)))
        await asyncio.sleep(0.3)
        os.close(sink)
        os.set_blocking(source, False)
        assert os.read(source, 1) == b""
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    run(Forked, story)
    os.close(source)


def test_work_that_hangs_is_ended_and_holds_up_nothing_after_it() -> None:
    async def story() -> None:
        aside = Forked(patience_seconds=0.3)
        for _ in range(3):
            with pytest.raises(UnavailableError, match="ended"):
                await aside.run(LARGE, lambda: time.sleep(60))
        assert no_child_is_left()

    asyncio.run(asyncio.wait_for(story(), 20))
