"""Machines that all come at once are let in one after the other, and nothing is done twice."""

import asyncio
import gc
import weakref
from contextlib import ExitStack
from itertools import pairwise

import pytest

from pltfrms.controller.contact.newcomers import AGAIN_SECONDS_MAX, AT_ONCE, Newcomers
from pltfrms.controller.records.state import contact_key
from pltfrms.errors import LaterError, UnavailableError
from pltfrms.model.messages.api import Heartbeat
from pltfrms.model.running.state import MachineStatus
from tests.controller.cluster import Cluster, Seat
from tests.controller.test_cluster import simulate
from tests.simulation.virtual import run_virtual
from tests.strategies import make_platform

MANY = {"fra": 120, "ams": 120}


async def _controller(cluster: Cluster) -> Seat:
    """Return a controller that runs, and has heard no machine yet."""
    seat = next(iter(cluster.seats.values()))
    seat.start()
    await cluster.until(lambda: seat.controller.view.platform is not None, 5)
    return seat


def _beat(name: str, word: str = "") -> Heartbeat:
    return Heartbeat(status=MachineStatus(machine=name, problems=(word,) if word else ()))


def test_machines_that_come_at_once_are_let_in_as_fast_as_can_be_and_none_is_lost() -> None:
    """A start of a platform: each gets one lease, and nobody asks in vain for long."""
    granted: list[int] = []
    said = set[str]()
    asked = 0

    async def come(seat: Seat, name: str) -> None:
        nonlocal asked
        while True:
            asked += 1
            assert seat.operations
            try:
                await seat.operations.heartbeat(_beat(name))
            except LaterError as error:
                said.update(seat.controller.problems)
                await seat.cluster.clock.sleep(error.retry_seconds)
            else:
                return

    async def story() -> None:
        cluster = Cluster(make_platform(MANY))
        seat = await _controller(cluster)
        plain = seat.store.grant

        async def grant(ttl_seconds: int) -> int:
            granted.append(ttl_seconds)
            return await plain(ttl_seconds)

        seat.store.grant = grant  # type: ignore[method-assign]
        seat.store.delay_seconds = lambda: 0.05
        names = [each.name for each in cluster.platform.managed]
        await asyncio.gather(*(come(seat, name) for name in names))
        assert len(granted) == len(names)
        assert asked <= 3 * len(names)
        assert any("machines come faster" in each for each in said)
        assert all(cluster.state.list(contact_key(name)).entries for name in names)

    run_virtual(story())


def test_those_who_are_sent_away_are_spread_over_the_time_that_it_takes() -> None:
    async def story(cluster: Cluster) -> None:
        newcomers, told = Newcomers(cluster.operations.controller.view), []
        with ExitStack() as seats:
            for _ in range(AT_ONCE):
                seats.enter_context(newcomers.seat())
            for _ in range(10_000):
                with pytest.raises(LaterError) as refused:
                    seats.enter_context(newcomers.seat())
                told.append(refused.value.retry_seconds)
        assert told[0] > 0
        assert all(first <= second for first, second in pairwise(told))
        assert told[AT_ONCE] == pytest.approx(2 * told[0], rel=0.1)
        assert told[-1] == AGAIN_SECONDS_MAX

    simulate(story)


def test_nothing_is_left_of_who_was_sent_away() -> None:
    """Else the garbage collector has to find it, which holds up all heartbeats."""

    async def sent_away(seat: Seat) -> weakref.ref[LaterError]:
        assert seat.operations
        try:
            await seat.operations.heartbeat(_beat("fra-n2"))
        except LaterError as error:
            return weakref.ref(error)
        raise AssertionError("let in")

    async def story() -> None:
        cluster = Cluster(make_platform(MANY))
        seat = await _controller(cluster)
        assert seat.operations
        seat.store.delay_seconds = lambda: 0.2
        coming = [
            asyncio.ensure_future(seat.operations.heartbeat(_beat(f"ams-n{number}")))
            for number in range(1, AT_ONCE + 1)
        ]
        await cluster.clock.sleep(0.1)
        gc.disable()
        try:
            left = await sent_away(seat)
            await cluster.clock.sleep(0)
            assert left() is None
        finally:
            gc.enable()
        await asyncio.gather(*coming)

    run_virtual(story())


def test_who_is_in_contact_is_never_sent_away() -> None:
    async def story() -> None:
        cluster = Cluster(make_platform(MANY))
        seat = await _controller(cluster)
        assert seat.operations
        await seat.operations.heartbeat(_beat("fra-n1"))
        await cluster.clock.sleep(1)
        seat.store.delay_seconds = lambda: 0.2
        coming = [
            asyncio.ensure_future(seat.operations.heartbeat(_beat(f"ams-n{number}")))
            for number in range(1, AT_ONCE + 1)
        ]
        await cluster.clock.sleep(0.1)
        with pytest.raises(LaterError):
            await seat.operations.heartbeat(_beat("fra-n2"))
        await seat.operations.heartbeat(_beat("fra-n1"))
        await seat.operations.heartbeat(_beat("fra-n1", "news"))
        await asyncio.gather(*coming)

    run_virtual(story())


def test_what_is_done_for_who_gave_up_is_not_done_again() -> None:
    """The store takes longer than a heartbeat may: the next one finds it done."""

    async def story() -> None:
        cluster = Cluster(make_platform(MANY))
        seat = await _controller(cluster)
        assert seat.operations
        seat.store.delay_seconds = lambda: 0.35
        calls: list[str] = []
        plain = seat.store.grant

        async def grant(ttl_seconds: int) -> int:
            calls.append("grant")
            return await plain(ttl_seconds)

        seat.store.grant = grant  # type: ignore[method-assign]
        with pytest.raises(UnavailableError, match="the store is slow"):
            await seat.operations.heartbeat(_beat("fra-n1"))
        await seat.operations.heartbeat(_beat("fra-n1"))
        assert calls == ["grant"]
        (entry,) = cluster.state.list(contact_key("fra-n1")).entries
        assert entry.lease

    run_virtual(story())


def test_a_heartbeat_that_waited_long_for_our_answer_holds_off_judgement() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.clock.sleep(10)
        controller = cluster.operations.controller
        controller.view.answered("fra-n1", 0.9)
        assert not any("waited" in each for each in controller.problems)
        controller.view.answered("fra-n1", 1.5)
        said = "; ".join(controller.problems)
        assert "no machine is called lost" in said
        assert "a heartbeat waited 1.5 s for our answer" in said

    simulate(story)
