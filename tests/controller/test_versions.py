"""Controllers of two releases over one store: who does not understand what is wanted waits."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace

import pytest

from pltfrms.api.metrics import Metrics
from pltfrms.codec import decode_fully, encode
from pltfrms.controller.records.state import (
    INTERVENTIONS_KEY,
    MACHINES,
    PLATFORM_KEY,
    PREFIX,
    Reader,
    Stored,
    allocation_key,
    commit_mark,
    number_key,
    service_key,
    status_key,
)
from pltfrms.drivers.store.ports import KeyValue, Listing, Put
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import Change, Event, InterventionChange, UnreadHeartbeat, Verb
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.plan import Allocation, LastNumber
from pltfrms.model.running.state import Contact
from pltfrms.model.services.service import Service
from pltfrms.seen.summary import summarize
from tests.controller.cluster import Cluster, Seat
from tests.controller.test_cluster import PLATFORM, WEB, bring_up, watch
from tests.simulation.virtual import run_beside, run_virtual
from tests.strategies import make_spec
from tests.versions import (
    NEXT,
    intent,
    make_rich_status,
    with_unknown_fields,
    with_unknown_values,
    without_fields,
)

Intent = Platform | Interventions | Service | Allocation | LastNumber


class NextReader(Reader):
    """Reads what the next release has added."""

    def read(self, listing: Listing) -> Stored:
        known = tuple(
            replace(entry, value=entry.value.replace(NEXT.encode(), b"http"))
            for entry in listing.entries
        )
        return super().read(replace(listing, entries=known))


def simulate(story: Callable[[Cluster, Seat, Seat], Coroutine[None, None, None]]) -> None:
    """Run a story with a controller of this release, which is first, and one of the next."""

    async def run() -> None:
        cluster = Cluster(PLATFORM)
        cluster.start()
        await bring_up(cluster)
        old, new, third = cluster.seats.values()
        await third.crash()
        for reader in (new.controller.view, cluster):
            reader._reader = NextReader()
        await run_beside(story(cluster, old, new), watch(cluster))

    run_virtual(run())


def say_news(cluster: Cluster) -> None:
    """Have the next release want one replica more, in words that only it understands."""
    web = cluster.stored().services["web"]
    wanted = replace(web, spec=replace(web.spec, per_datacenter=3))
    text = encode(wanted).replace(b'"kind":"http"', f'"kind":"{NEXT}"'.encode())
    mark = commit_mark("fra-c1", cluster.clock.unix_ms())
    assert cluster.state.commit((Put(key=service_key("web"), value=text), mark), ())


def count(events: Sequence[Event], what: str) -> int:
    return sum(event.what == what for event in events)


def test_two_versions_of_a_controller_do_not_fight() -> None:
    async def story(cluster: Cluster, old: Seat, new: Seat) -> None:
        assert new.operations
        say_news(cluster)
        before = await new.operations.events(0, 0, 1000)
        await cluster.clock.sleep(120)
        assert cluster.settled("web")
        events = (await new.operations.events(0, 0, 1000))[len(before) :]
        assert count(events, "replica placed") == 3
        assert count(events, "replica stopped") == 0
        assert count(events, "machine lost") == 0
        said = [event for event in events if event.what == "document cannot be read"]
        assert [event.source for event in said] == [f"controller/{old.name}"]
        assert cluster.stored().leases.keys() == cluster.agents.keys()

    simulate(story)


def test_who_cannot_read_what_is_wanted_changes_nothing_and_says_so() -> None:
    async def story(cluster: Cluster, old: Seat, new: Seat) -> None:
        operations = old.operations
        assert operations
        say_news(cluster)
        await new.crash()
        await cluster.clock.sleep(5)
        for refused in (
            operations.plan(Change(services=(make_spec("api"),))),
            operations.apply(Change(services=(make_spec("api"),))),
            operations.delete("web"),
            operations.intervene(InterventionChange(verb=Verb.FREEZE)),
        ):
            with pytest.raises(UnavailableError, match="services/web cannot be read"):
                await refused
        with pytest.raises(UnavailableError, match="newer version"):
            operations.snapshot()
        view = operations.snapshot(stale=True)
        assert [view.stale_seconds, len(view.problems)] == [0.0, 1]
        assert view.snapshot.contact("fra-n1") is Contact.PRESENT
        shown = summarize(view, cluster.clock.unix_ms()).problems
        assert f"{old.name}: {view.problems[0]}" in shown
        metrics = Metrics(operations.controller).text().decode()
        assert "pltfrms_unreadable_documents 1.0" in metrics
        assert "pltfrms_deciding 0.0" in metrics
        assert len(cluster.stored().allocations) == 6

    simulate(story)


def test_others_show_who_cannot_read_what_is_wanted_until_it_can() -> None:
    async def story(cluster: Cluster, old: Seat, new: Seat) -> None:
        assert new.operations
        good = Put(key=service_key("web"), value=encode(cluster.stored().services["web"]))
        say_news(cluster)
        await cluster.clock.sleep(5)
        (problem,) = old.controller.problems
        view = new.operations.snapshot()
        assert view.problems == ()
        assert f"{old.name}: {problem}" in summarize(view, cluster.clock.unix_ms()).problems
        cluster.state.commit((good, commit_mark("fra-c1", 0)), ())
        await cluster.clock.sleep(5)
        assert new.operations.snapshot().controller_problems == {}

    simulate(story)


def test_who_cannot_read_what_is_wanted_serves_the_last_targets() -> None:
    async def story(cluster: Cluster, old: Seat, new: Seat) -> None:
        node = next(iter(cluster.stored().allocations.values())).node
        assert old.operations
        await new.crash()
        known = await old.operations.target(node, 0, 0)
        say_news(cluster)
        await cluster.clock.sleep(5)
        assert known
        again = await old.operations.target(node, 0, 0)
        assert again
        assert again.allocations == known.allocations
        began = cluster.clock.monotonic()
        with pytest.raises(UnavailableError, match="newer version"):
            await old.operations.target(node, again.generation, 30_000)
        assert cluster.clock.monotonic() - began < 0.1  # the next controller may know more

    simulate(story)


def test_decisions_go_on_when_everything_can_be_read_again() -> None:
    async def story(cluster: Cluster, old: Seat, new: Seat) -> None:
        assert old.operations
        await new.crash()
        good = Put(key=service_key("web"), value=encode(cluster.stored().services["web"]))
        say_news(cluster)
        await cluster.clock.sleep(5)
        cluster.state.commit((good, commit_mark("fra-c1", 0)), ())
        await cluster.clock.sleep(5)
        await old.operations.apply(Change(services=(replace(WEB, per_datacenter=3),)))
        await cluster.until(lambda: cluster.settled("web"), 10)
        events = await old.operations.events(0, 0, 1000)
        assert count(events, "all documents can be read again") == 1
        assert old.operations.snapshot().problems == ()

    simulate(story)


def test_the_last_report_wins_though_another_controller_took_one_in_between() -> None:
    async def story(cluster: Cluster, old: Seat, new: Seat) -> None:
        cluster.agents["fra-n1"].dead = True
        for seat, mood in ((old, "good"), (new, "bad"), (old, "good")):
            assert seat.operations
            said = {"machine": "fra-n1", "generation": {"mood": mood}}
            await seat.operations.heartbeat_unread(UnreadHeartbeat(status=said))
            await cluster.clock.sleep(1)
        (entry,) = cluster.state.list(status_key("fra-n1")).entries
        assert b"good" in entry.value

    simulate(story)


# ---- every kind of document ----------------------------------------------------------------


def key_of(word: Intent) -> str:
    """Return where a word of what is wanted is kept."""
    match word:
        case Platform():
            return PLATFORM_KEY
        case Interventions():
            return INTERVENTIONS_KEY
        case Service():
            return service_key(word.name)
        case Allocation():
            return allocation_key(word.id)
        case LastNumber():
            return number_key(word.replica)


def listing_of(*values: tuple[str, bytes], revision: int = 7) -> Listing:
    entries = [
        KeyValue(key=key, value=value, mod_revision=revision)
        for key, value in sorted(dict(values).items())
    ]
    return Listing(revision=revision, entries=tuple(entries))


def texts(word: Intent) -> list[bytes]:
    return [text for _, text in (*with_unknown_fields(word), *with_unknown_values(word))]


@pytest.mark.parametrize("word", intent(), ids=lambda word: type(word).__name__)
def test_intent_of_the_next_release_is_not_read_even_if_it_was_before(word: Intent) -> None:
    assert texts(word)
    key, platform = key_of(word), (PLATFORM_KEY, encode(intent()[0]))
    for text in texts(word):
        reader = Reader()
        assert reader.read(listing_of(platform, (key, encode(word)))).unreadable == ()
        stored = reader.read(listing_of(platform, (key, text), revision=8))
        assert stored.unreadable == (key,), text
        assert stored.snapshot({}, 0) is None
        assert Reader().read(listing_of(platform, (key, text))).snapshot({}, 0) is None


@pytest.mark.parametrize("word", intent(), ids=lambda word: type(word).__name__)
@pytest.mark.parametrize("nothing", [None, False, 0, "", [], {}, {"a": {"b": []}}])
def test_intent_that_does_not_use_what_is_new_is_read(word: Intent, nothing: object) -> None:
    for name, text in with_unknown_fields(word, nothing):
        assert decode_fully(type(word), text) == word, name


@pytest.mark.parametrize("word", intent(), ids=lambda word: type(word).__name__)
def test_intent_from_before_a_field_was_made_is_read(word: Intent) -> None:
    for name, text in without_fields(word):
        assert isinstance(decode_fully(type(word), text), type(word)), name


def test_a_kind_of_intent_of_the_next_release_stops_decisions() -> None:
    platform = (PLATFORM_KEY, encode(intent()[0]))
    stored = Reader().read(listing_of(platform, (f"{PREFIX}wishes/web", b"{}")))
    assert stored.unreadable == (f"{PREFIX}wishes/web",)
    assert Reader().read(listing_of(platform, (f"{MACHINES}fra-n1/mood", b""))).problems == ()


def test_a_status_that_is_not_understood_is_not_known_and_stops_nothing() -> None:
    status = make_rich_status()
    key, platform = status_key(status.machine), (PLATFORM_KEY, encode(intent()[0]))
    for name, text in with_unknown_values(status):
        reader = Reader()
        assert reader.read(listing_of(platform, (key, encode(status)))).statuses
        stored = reader.read(listing_of(platform, (key, text), revision=8))
        assert stored.statuses == {}, name
        assert stored.unread == {key: 8}
        assert stored.snapshot({}, 0)
    for name, text in with_unknown_fields(status):
        stored = Reader().read(listing_of(platform, (key, text)))
        assert stored.statuses == {status.machine: status}, name
