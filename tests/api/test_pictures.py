"""The picture of the platform over HTTP: drawn once for all, and followed by streams."""

import asyncio
import gc
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, NoReturn

import httpx2
import pytest

from pltfrms.api.app import make_app
from pltfrms.api.routes import pictures as routes
from pltfrms.api.routes.pictures import READERS_MAX, Pictures
from pltfrms.api.routes.verdicts import Verdicts
from pltfrms.codec import encode
from pltfrms.controller.asked.operations import Operations
from pltfrms.controller.records.journal import EventLog
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import Change, Event
from pltfrms.seen.picture import picture_of
from tests.controller.cluster import Cluster
from tests.simulation.virtual import run_virtual
from tests.strategies import make_platform, make_spec

WEB = make_spec()


def watch(story: Callable[[Cluster, Pictures], Awaitable[None]]) -> None:
    """Run a story against what draws, in virtual time."""

    async def run() -> None:
        cluster = Cluster(make_platform({"fra": 3}))
        cluster.start()
        await cluster.until(lambda: len(cluster.stored().leases) == 5, 10)
        operations = cluster.operations
        async with asyncio.timeout(300):  # virtual: who waits in vain fails
            await story(cluster, Pictures(operations, Verdicts(operations)))

    run_virtual(run())


def read(message: bytes) -> tuple[str, Any, int]:
    """Return what a server-sent event is, what it says, and its id."""
    lines = dict(line.split(": ", 1) for line in message.decode().rstrip("\n").split("\n"))
    return lines["event"], json.loads(lines["data"]), int(lines.get("id", 0))


async def until(stream: AsyncIterator[bytes], kind: str) -> tuple[Any, int]:
    """Return the next message of a kind, and its id."""
    async for message in stream:
        found, said, number = read(message)
        if found == kind:
            return said, number
    raise AssertionError(f"the stream ended without {kind}")


def test_a_view_is_the_same_until_something_changes_and_is_sent_once() -> None:
    async def run() -> None:
        cluster = Cluster(make_platform({"fra": 3}))
        cluster.start()
        await cluster.until(lambda: len(cluster.stored().leases) == 5, 10)
        transport = httpx2.ASGITransport(make_app(cluster.operations))
        async with httpx2.AsyncClient(transport=transport, base_url="http://c") as client:
            plain = {"accept-encoding": "identity"}
            answer = await client.get("/v1/view", headers=plain)
            assert answer.json()["platform"] == cluster.platform.name
            tag = answer.headers["etag"]
            await cluster.clock.sleep(30)
            again = await client.get("/v1/view", headers={"if-none-match": tag})
            assert (again.status_code, again.content) == (304, b"")
            packed = await client.get("/v1/view", headers={"accept-encoding": "gzip"})
            assert packed.headers["content-encoding"] == "gzip"
            assert packed.json() == answer.json()
            await client.post("/v1/apply", content=encode(Change(services=(WEB,))))
            await cluster.until(lambda: cluster.settled("web"), 10)
            await cluster.clock.sleep(5)
            changed = await client.get("/v1/view", headers={"if-none-match": tag, **plain})
            assert [each["id"] for each in changed.json()["services"]] == ["web"]

    run_virtual(run())


def test_a_stream_begins_with_the_view_and_goes_on_with_what_changes() -> None:
    async def story(cluster: Cluster, pictures: Pictures) -> None:
        stream = await pictures.stream(0)
        view, _ = await until(stream, "view")
        assert view["services"] == []
        first, seen = await until(stream, "events")
        assert first[-1]["sequence"] == seen
        await until(stream, "tick")
        await cluster.operations.apply(Change(services=(WEB,)))
        patch, _ = await until(stream, "patch")
        assert [each["id"] for each in patch["changed"]["services"]] == ["web"]
        assert patch["order"]["services"] == ["web"]
        events, last = await until(stream, "events")
        assert min(each["sequence"] for each in events) > seen
        again = await pictures.stream(seen)
        missed, _ = await until(again, "events")
        assert min(each["sequence"] for each in missed) > seen
        assert last in {each["sequence"] for each in missed}
        await stream.aclose()
        await again.aclose()
        assert not pictures._readers

    watch(story)


def test_all_readers_together_cost_one_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = 0

    def counting(*words: Any) -> Any:
        nonlocal drawn
        drawn += 1
        return picture_of(*words)

    monkeypatch.setattr(routes, "picture_of", counting)

    async def story(cluster: Cluster, pictures: Pictures) -> None:
        streams = [await pictures.stream(0) for _ in range(READERS_MAX)]
        for stream in streams:
            await until(stream, "view")
        before = drawn
        await cluster.clock.sleep(10)
        assert 0 < drawn - before <= 21, "twice a second, however many look"
        with pytest.raises(UnavailableError, match="ask another controller"):
            await pictures.stream(0)
        for stream in streams:
            await stream.aclose()
        await cluster.clock.sleep(2)
        before = drawn
        await cluster.clock.sleep(10)
        assert drawn == before, "nobody looks any more"

    watch(story)


def services_in(message: tuple[Any, int]) -> set[str]:
    """Return the services of which a patch says something."""
    return {each["id"] for each in message[0]["changed"].get("services", ())}


def test_what_changes_after_a_while_is_told_at_once_and_drawn_seldom_until_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = 0

    def counting(*words: Any) -> Any:
        nonlocal drawn
        drawn += 1
        return picture_of(*words)

    monkeypatch.setattr(routes, "picture_of", counting)

    async def story(cluster: Cluster, pictures: Pictures) -> None:
        stream = await pictures.stream(0)
        await until(stream, "tick")
        clock, waits = cluster.clock, []
        for number in range(10):
            await clock.sleep(5 + number / 9)  # at whatever moment it comes
            began, before = clock.monotonic(), drawn
            await cluster.operations.apply(Change(services=(make_spec(f"web{number}"),)))
            while f"web{number}" not in services_in(await until(stream, "patch")):
                pass
            waits.append(clock.monotonic() - began)
            assert drawn - before <= 2
        assert max(waits) < routes._PAUSE_SECONDS / 2, waits
        await clock.sleep(30)
        before = drawn
        await clock.sleep(20)
        assert drawn - before <= 20 / routes._IDLE_SECONDS + 1, "nothing changes"
        await stream.aclose()

    watch(story)


def test_what_somebody_else_has_had_drawn_is_told_as_soon() -> None:
    async def story(cluster: Cluster, pictures: Pictures) -> None:
        stream = await pictures.stream(0)
        await until(stream, "tick")
        clock, waits = cluster.clock, []
        for number in range(4):
            await clock.sleep(20 + number / 7)
            known = await pictures.now()
            await cluster.operations.apply(Change(services=(make_spec(f"web{number}"),)))
            while (drawn := await pictures.now()) is known:
                await clock.sleep(0.01)
            assert len(drawn.picture.services) == number + 1
            began = clock.monotonic()
            while f"web{number}" not in services_in(await until(stream, "patch")):
                pass
            waits.append(clock.monotonic() - began)
        assert max(waits) <= 2 * routes._LOOK_SECONDS, waits
        await stream.aclose()

    watch(story)


def test_who_does_not_read_is_cut_off_and_holds_up_nobody() -> None:
    async def story(_cluster: Cluster, pictures: Pictures) -> None:
        idle, busy = await pictures.stream(0), await pictures.stream(0)
        await until(idle, "view")
        ticks = 0
        for _ in range(2 * routes._BEHIND_MAX):
            await until(busy, "tick")
            ticks += 1
        assert ticks == 2 * routes._BEHIND_MAX
        kind, said, _ = read(await anext(idle))
        assert (kind, said) == ("goodbye", "this reader is too slow")
        with pytest.raises(StopAsyncIteration):
            await anext(idle)

    watch(story)


def test_who_comes_between_two_feeds_goes_on_from_what_all_were_told() -> None:
    async def story(cluster: Cluster, pictures: Pictures) -> None:
        first, late = await pictures.stream(0), await pictures.stream(0)
        view, _ = await until(first, "view")
        assert view["services"] == []
        await cluster.operations.apply(Change(services=(WEB,)))
        await until(first, "patch")
        view, _ = await until(late, "view")
        assert [each["id"] for each in view["services"]] == ["web"]

    watch(story)


def test_the_number_of_one_reader_is_nothing_to_the_others() -> None:
    async def story(cluster: Cluster, pictures: Pictures) -> None:
        ahead = await pictures.stream(10**12)
        _, known = await until(ahead, "events")
        other = await pictures.stream(known)
        await until(other, "view")
        await cluster.operations.apply(Change(services=(WEB,)))
        for stream in (ahead, other):
            events, _ = await until(stream, "events")
            assert min(each["sequence"] for each in events) > known

    watch(story)


def test_a_store_that_was_set_back_is_told_from_its_earlier_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(cluster: Cluster, pictures: Pictures) -> None:
        stream = await pictures.stream(0)
        _, before = await until(stream, "events")
        back = Event(at_ms=1, source="s", about="store", what="set back", sequence=before - 1)
        monkeypatch.setattr(
            Operations, "kept_events", lambda _, after: (back,) if back.sequence > after else ()
        )
        monkeypatch.setattr(EventLog, "newest", back.sequence)
        events, number = await until(stream, "events")
        assert [each["what"] for each in events] == ["set back"]
        assert number < before
        await until(stream, "tick")
        again = await pictures.stream(before)
        events, _ = await until(again, "events")
        assert [each["what"] for each in events] == ["set back"], "also to who comes again"
        assert cluster.operations.newest_event == number

    watch(story)


def test_readers_hear_that_the_picture_cannot_be_drawn_and_may_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(_cluster: Cluster, pictures: Pictures) -> None:
        streams = [await pictures.stream(0) for _ in range(2)]
        for stream in streams:
            await until(stream, "view")
        with monkeypatch.context() as patch:
            patch.setattr(routes, "picture_of", lambda *_: 1 // 0)
            for stream in streams:
                said, _ = await until(stream, "goodbye")
                assert said == "this controller cannot draw the picture any more"
        again = await pictures.stream(0)
        for kind in ("view", "tick"):
            await until(again, kind)

    watch(story)


def test_a_picture_that_stays_old_is_not_said_to_be_of_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(cluster: Cluster, pictures: Pictures) -> None:
        stream = await pictures.stream(0)
        await until(stream, "view")

        async def broken(*_words: object) -> NoReturn:
            raise UnavailableError("no memory")

        monkeypatch.setattr(type(cluster.operations.controller.aside), "run", broken)
        began = cluster.clock.monotonic()
        await until(stream, "goodbye")
        assert cluster.clock.monotonic() - began < 2 * routes._OLD_SECONDS

    watch(story)


def test_nothing_is_left_of_a_reader_that_went_before_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = []
    monkeypatch.setattr(routes._Reader, "end", lambda _, why: ended.append(why))

    async def story(cluster: Cluster, pictures: Pictures) -> None:
        stream = await pictures.stream(0, 60.0)
        await until(stream, "tick")
        await stream.aclose()
        await cluster.clock.sleep(90)
        assert ended == []

    watch(story)


def test_nothing_is_left_of_a_reader_that_goes_while_something_is_sent_to_it() -> None:
    """At once, not when the collector comes to it."""

    async def story(cluster: Cluster, pictures: Pictures) -> None:
        hanging = asyncio.Event()

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.body":
                hanging.set()
                await asyncio.Event().wait()

        async def receive() -> NoReturn:
            await asyncio.Event().wait()
            raise AssertionError

        scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
        answer = routes.Sent(await pictures.stream(0))
        sending = asyncio.ensure_future(answer(scope, receive, send))
        await hanging.wait()
        assert len(pictures._readers) == 1
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert not pictures._readers
        await cluster.clock.sleep(1)
        assert pictures._told is None, "nobody is fed any more"

    gc.disable()
    try:
        watch(story)
    finally:
        gc.enable()


@pytest.mark.parametrize("said", ["9" * 5000, "-1", "x", "١٢", ""])
def test_a_number_that_is_none_is_as_if_nothing_was_said(said: str) -> None:
    assert routes._number(said) == 0


def test_without_the_store_ticks_go_on_and_say_since_when() -> None:
    async def story(cluster: Cluster, pictures: Pictures) -> None:
        stream = await pictures.stream(0)
        await until(stream, "tick")
        for seat in cluster.seats.values():
            seat.store.unavailable = True
        said = {"stale_since_ms": 0}
        for _ in range(20):
            said, _ = await until(stream, "tick")
            if said["stale_since_ms"]:
                break
        assert 0 < said["stale_since_ms"] <= cluster.clock.unix_ms()

    watch(story)


def test_a_stream_ends_when_it_was_asked_to() -> None:
    async def story(cluster: Cluster, pictures: Pictures) -> None:
        began = cluster.clock.monotonic()
        kinds = [read(message)[0] async for message in await pictures.stream(0, 5.0)]
        assert (kinds[0], kinds[-1]) == ("view", "goodbye")
        assert 4 < cluster.clock.monotonic() - began < 6

    watch(story)


def test_packed_and_plain_are_the_same() -> None:
    async def story(_cluster: Cluster, pictures: Pictures) -> None:
        drawn = await pictures.now()
        assert gzip.decompress(drawn.packed) == drawn.text

    watch(story)


def test_a_compressed_stream_says_the_same_and_each_part_can_be_read_when_it_comes() -> None:
    async def story(cluster: Cluster, pictures: Pictures) -> None:
        plain, packed = (
            await pictures.stream(0, 20.0),
            await pictures.stream(0, 20.0, packs=True),
        )
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
        assert unpack.decompress(await anext(packed)) == b"", "the head of gzip"
        said: list[bytes] = []
        async for message in plain:
            said.append(message)
            assert unpack.decompress(await anext(packed)) == message
            if len(said) == 3:
                await cluster.operations.apply(Change(services=(WEB,)))
        kinds = [read(message)[0] for message in said]
        assert (kinds[0], kinds[-1]) == ("view", "goodbye")
        assert {"patch", "events", "tick"} <= set(kinds)
        assert unpack.decompress(await anext(packed)) == b""
        assert unpack.eof, "whole, with the right sum"

    watch(story)


def test_who_understands_it_is_sent_a_compressed_stream() -> None:
    async def run() -> None:
        cluster = Cluster(make_platform({"fra": 3}))
        cluster.start()
        await cluster.until(lambda: len(cluster.stored().leases) == 5, 10)
        transport = httpx2.ASGITransport(make_app(cluster.operations))
        async with httpx2.AsyncClient(transport=transport, base_url="http://c") as client:
            for accepts in ("gzip", "identity"):
                answer = await client.get(
                    "/v1/stream?for_ms=3000", headers={"accept-encoding": accepts}
                )
                assert answer.headers.get("content-encoding", "identity") == accepts
                assert answer.content.startswith(b"event: view\ndata: {")

    run_virtual(run())
