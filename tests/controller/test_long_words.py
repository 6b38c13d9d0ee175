"""Words of any length: nobody is lost for them, and no controller ends by them."""

from dataclasses import replace
from typing import NoReturn

import pytest

from pltfrms.drivers.store.ports import Listing
from pltfrms.errors import InvariantError, UnavailableError, UsageError
from pltfrms.model.messages.api import (
    Change,
    Event,
    Heartbeat,
    InterventionChange,
    UnreadHeartbeat,
    Verb,
)
from pltfrms.model.running.state import Contact
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import WEB, simulate
from tests.versions import make_rich_status

LONG = "long " * 220_000
QUIET = "fra-n3"


async def silence(cluster: Cluster) -> None:
    """Have the test itself be the agent of one machine."""
    cluster.agents[QUIET].dead = True
    await cluster.until(lambda: QUIET not in cluster.stored().leases, 20)


def test_a_machine_is_in_contact_however_much_it_says() -> None:
    async def story(cluster: Cluster) -> None:
        await silence(cluster)
        status = replace(make_rich_status(QUIET), problems=(LONG, LONG, "the third"))
        for _ in range(5):
            await cluster.operations.heartbeat(Heartbeat(status=status))
            await cluster.clock.sleep(1)
        revision = cluster.state.revision
        await cluster.operations.heartbeat(Heartbeat(status=status))
        assert cluster.state.revision == revision  # what is said again is not written again
        known = cluster.operations.snapshot().snapshot
        assert known.contact(QUIET) is Contact.PRESENT
        assert known.statuses[QUIET].instances == status.instances
        assert "too long" in known.statuses[QUIET].problems[0]
        assert "the third" in known.statuses[QUIET].problems

    simulate(story)


def test_a_machine_that_is_not_understood_is_in_contact_however_much_it_says() -> None:
    async def story(cluster: Cluster) -> None:
        await silence(cluster)
        beat = UnreadHeartbeat(status={"machine": QUIET, "mood": LONG})
        for _ in range(5):
            await cluster.operations.heartbeat_unread(beat)
            await cluster.clock.sleep(1)
        known = cluster.operations.snapshot().snapshot
        assert known.contact(QUIET) is Contact.PRESENT
        assert "too long" in known.statuses[QUIET].problems[0]

    simulate(story)


def test_all_events_of_a_heartbeat_are_kept_however_long_they_are() -> None:
    async def story(cluster: Cluster) -> None:
        await silence(cluster)
        events = tuple(
            Event(at_ms=n, source=QUIET, about=f"n/{n}", what="said", detail=LONG)
            for n in range(50)
        )
        odd = Event(at_ms=1, source=f"x/{LONG}", about=LONG, what=LONG, reason=LONG)
        beat = Heartbeat(status=make_rich_status(QUIET), events=(*events, odd))
        await cluster.operations.heartbeat(beat)
        kept = await cluster.operations.events(0, 0, 1000)
        said = [event.about for event in kept if event.what == "said"]
        assert sorted(said) == sorted(event.about for event in events)
        assert sum(event.about.startswith("long") for event in kept) == 1
        assert all(len(event.detail) <= 1000 for event in kept)

    simulate(story)


def test_words_that_the_store_cannot_take_are_the_callers_and_no_bug() -> None:
    async def story(cluster: Cluster) -> None:
        run = replace(WEB.run, files=(("page", LONG[:400_000]),))  # each alone would fit
        services = tuple(replace(WEB, name=f"web{number}", run=run) for number in range(3))
        before = cluster.stored()
        with pytest.raises(UsageError, match="at most 1000000 bytes at once"):
            await cluster.operations.apply(Change(services=services))
        freeze = InterventionChange(verb=Verb.FREEZE)
        for change in (replace(freeze, why="x" * 1001), replace(freeze, by="x" * 1001)):
            with pytest.raises(UsageError, match="at most 1000 characters"):
                await cluster.operations.intervene(change)
        assert cluster.stored().commit == before.commit

    simulate(story)


@pytest.mark.parametrize("bug", [InvariantError("etcd answered no JSON"), KeyError("header")])
def test_a_store_that_makes_no_sense_does_not_end_a_controller(bug: Exception) -> None:
    async def story(cluster: Cluster) -> None:
        seat = next(iter(cluster.seats.values()))
        good = seat.store.list

        async def bad(prefix: str, after: int = 0) -> NoReturn:
            assert isinstance(prefix, str)
            assert after >= 0
            raise bug

        seat.store.list = bad  # type: ignore[method-assign]
        await cluster.clock.sleep(10)
        with pytest.raises(UnavailableError):
            seat.controller.view.stored()
        seat.store.list = good  # type: ignore[method-assign]
        await cluster.clock.sleep(5)
        listing: Listing = await good("/pltfrms/")
        assert seat.controller.view.stored().revision == listing.revision
        cluster.require_alive()

    simulate(story)
