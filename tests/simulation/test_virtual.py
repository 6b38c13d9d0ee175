"""Virtual time jumps, keeps order, and says when nothing can happen any more."""

import asyncio
import time

import pytest

from tests.simulation.virtual import EPOCH_MS, StuckError, VirtualClock, run_virtual


def test_a_year_takes_no_time() -> None:
    async def scenario() -> tuple[float, int]:
        clock = VirtualClock(skew_ms=7)
        await clock.sleep(365 * 86_400)
        return clock.monotonic(), clock.unix_ms()

    began = time.monotonic()
    monotonic, unix_ms = run_virtual(scenario())
    assert monotonic == pytest.approx(365 * 86_400)
    assert unix_ms == pytest.approx(EPOCH_MS + 365 * 86_400_000 + 7, abs=1)
    assert time.monotonic() - began < 5


def test_sleepers_wake_in_order_of_time() -> None:
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await VirtualClock().sleep(seconds)
        woken.append(seconds)

    async def scenario() -> None:
        await asyncio.gather(*(sleeper(seconds) for seconds in (3, 0.1, 2, 0.2)))

    run_virtual(scenario())
    assert woken == [0.1, 0.2, 2, 3]


def test_timeouts_work_in_virtual_time() -> None:
    async def scenario() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(90):
                await asyncio.Event().wait()
        return VirtualClock().monotonic()

    assert run_virtual(scenario()) == pytest.approx(90)


def test_waiting_for_ever_is_an_error_not_a_hang() -> None:
    async def scenario() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StuckError):
        run_virtual(scenario())
