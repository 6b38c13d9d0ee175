"""What needs two people: asked for, approved, refused; three controllers, virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from pltfrms.codec import encode
from pltfrms.controller.asked import requests
from pltfrms.controller.asked.requests import Requests
from pltfrms.controller.records.state import request_key
from pltfrms.drivers.operators.memory import MemorySignatures, memory_signature
from pltfrms.drivers.operators.ports import NAMESPACE
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import (
    ConflictError,
    NotFoundError,
    TwoPeopleError,
    UnavailableError,
    UsageError,
)
from pltfrms.model.messages.api import Change, Event, InterventionChange, Verb
from pltfrms.model.messages.guards import Guard
from pltfrms.model.messages.requests import (
    RequestReply,
    RequestState,
    Signed,
    Wanted,
    Withdrawal,
    request_id,
)
from pltfrms.model.network.topology import Guards, Operator, Platform, TwoPeople
from tests.controller.cluster import Cluster
from tests.controller.test_network import PLATFORM as BARE
from tests.simulation.virtual import run_virtual
from tests.strategies import make_public_key, make_spec

HOUR_MS = 3_600_000
KEYS = {name: make_public_key(name) for name in ("ada", "bob", "eve")}
OPERATORS = tuple(Operator(name=name, keys=(KEYS[name],)) for name in ("ada", "bob"))
PLATFORM = replace(BARE, operators=OPERATORS, guards=Guards(two_people=tuple(TwoPeople)))
DRAIN = InterventionChange(verb=Verb.DRAIN, peer="transit1", edge="fra-e1", why="line works")
WITHOUT_TRANSIT2 = replace(PLATFORM, peers=PLATFORM.peers[:1])


class Office:
    """Operators, and the controllers that they ask."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.made = 0
        self.life_ms = HOUR_MS

    def requests(self, seat: int = 0) -> Requests:
        operations = list(self.cluster.seats.values())[seat].operations
        assert operations
        return Requests(operations, MemorySignatures())

    def wanted(self, what: Change | InterventionChange) -> str:
        self.made += 1
        wanted = Wanted(
            platform=PLATFORM.name,
            expires_ms=self.cluster.clock.unix_ms() + self.life_ms + self.made,
            change=what if isinstance(what, Change) else None,
            intervention=what if isinstance(what, InterventionChange) else None,
        )
        return encode(wanted).decode()

    async def ask(
        self, what: Change | InterventionChange | str, who: str = "ada"
    ) -> RequestReply:
        text = what if isinstance(what, str) else self.wanted(what)
        signature = memory_signature(text, KEYS[who])
        return await self.requests().open(Signed(text=text, signature=signature))

    async def approve(self, asked: RequestReply, who: str = "bob", seat: int = 0) -> None:
        signature = memory_signature(asked.request.text, KEYS[who])
        await self.requests(seat).approve(asked.request.id, signature)

    async def state(self, asked: RequestReply) -> RequestState:
        return (await self.requests().show(asked.request.id)).request.state

    async def told(self, what: str) -> list[Event]:
        events = await self.cluster.operations.events(0, 0, 1000)
        return [event for event in events if event.what == what]


def simulate(story: Callable[[Office], Awaitable[None]], platform: Platform = PLATFORM) -> None:
    async def run() -> None:
        cluster = Cluster(platform)
        cluster.start()
        await cluster.until(lambda: len(cluster.stored().leases) == 15, 10)
        await asyncio.ensure_future(story(Office(cluster)))
        cluster.require_alive()

    run_virtual(run())


def test_one_alone_is_refused_and_nothing_changes() -> None:
    async def story(office: Office) -> None:
        operations, before = office.cluster.operations, office.cluster.stored()
        preview = await operations.plan(Change(platform=WITHOUT_TRANSIT2))
        assert preview.two_people == "it changes the platform"
        despite = (Guard.SHRINK_GUARD,)
        with pytest.raises(TwoPeopleError, match="because it changes the platform and overr"):
            await operations.apply(Change(platform=WITHOUT_TRANSIT2, despite=despite))
        assert (await operations.intervene(replace(DRAIN, dry_run=True))).two_people
        with pytest.raises(TwoPeopleError, match="because it drains transit1@fra-e1"):
            await operations.intervene(DRAIN)
        with pytest.raises(ConflictError, match="shrink_guard"):
            await operations.apply(Change(platform=WITHOUT_TRANSIT2))
        assert office.cluster.stored().commit == before.commit

    simulate(story)


def test_a_drain_is_done_when_a_second_operator_approves_it() -> None:
    async def story(office: Office) -> None:
        asked = await office.ask(DRAIN)
        assert asked.reply
        assert asked.reply.changed
        assert asked.request.about == "drain transit1@fra-e1; line works"
        assert not office.cluster.stored().interventions.drains
        (listed,) = await office.requests(1).all()
        assert listed == replace(asked.request, text="")
        await office.approve(asked, seat=2)
        (drain,) = office.cluster.stored().interventions.drains
        assert (drain.about, drain.by) == ("transit1@fra-e1", "ada, approved by bob")
        assert await office.state(asked) is RequestState.APPROVED
        (event,) = await office.told("request approved")
        assert event.about == f"request/{asked.request.id}"
        assert event.detail == "drain transit1@fra-e1; line works; by ada, approved by bob"
        # To end it one is enough.
        await office.cluster.operations.intervene(replace(DRAIN, verb=Verb.UNDRAIN))
        assert not office.cluster.stored().interventions.drains

    simulate(story)


def test_a_platform_is_changed_when_a_second_operator_approves_it() -> None:
    async def story(office: Office) -> None:
        with pytest.raises(ConflictError, match="shrink_guard"):
            await office.ask(Change(platform=WITHOUT_TRANSIT2))
        despite = (Guard.SHRINK_GUARD,)
        asked = await office.ask(Change(platform=WITHOUT_TRANSIT2, despite=despite))
        await office.approve(asked)
        assert office.cluster.stored().platform == WITHOUT_TRANSIT2
        (event,) = await office.told("guard overridden")
        assert event.detail.endswith("by ada, approved by bob")

    simulate(story)


@pytest.mark.parametrize(
    ("who", "error", "words"),
    [
        ("ada", UsageError, "ada has asked for it"),
        ("eve", UsageError, "none of the platform's operators"),
    ],
)
def test_who_asked_and_who_is_nobody_cannot_approve(
    who: str, error: type[Exception], words: str
) -> None:
    async def story(office: Office) -> None:
        with pytest.raises(UsageError, match="none of the platform's operators"):
            await office.ask(DRAIN, "eve")
        asked = await office.ask(DRAIN)
        with pytest.raises(error, match=words):
            await office.approve(asked, who)
        assert not office.cluster.stored().interventions.drains
        assert await office.state(asked) is RequestState.OPEN

    simulate(story)


def test_a_signature_of_another_text_approves_nothing() -> None:
    async def story(office: Office) -> None:
        asked, other = await office.ask(DRAIN), office.wanted(DRAIN)
        requests = office.requests()
        with pytest.raises(UsageError, match="not what bob has signed"):
            await requests.approve(asked.request.id, memory_signature(other, KEYS["bob"]))
        forged = Signed(text=asked.request.text, signature=memory_signature(other, KEYS["ada"]))
        with pytest.raises(UsageError, match="not what ada has signed"):
            await requests.open(forged)
        assert not office.cluster.stored().interventions.drains

    simulate(story)


def test_a_request_is_done_once_whoever_repeats_it() -> None:
    async def story(office: Office) -> None:
        asked = await office.ask(DRAIN)
        again = await office.ask(asked.request.text)
        assert again.request == asked.request
        results = await asyncio.gather(
            *(office.approve(asked, seat=seat) for seat in range(3)), return_exceptions=True
        )
        assert sum(result is None for result in results) == 1
        await office.cluster.operations.intervene(replace(DRAIN, verb=Verb.UNDRAIN))
        with pytest.raises(ConflictError, match="closed: bob has approved it"):
            await office.approve(asked)
        with pytest.raises(ConflictError, match="closed: bob has approved it"):
            await office.ask(asked.request.text)
        assert not office.cluster.stored().interventions.drains
        assert len(await office.told("request approved")) == 1

    simulate(story)


def test_what_is_withdrawn_is_not_done() -> None:
    async def story(office: Office) -> None:
        asked = await office.ask(DRAIN)
        said = Withdrawal(by="ada@desk", why="the line works again")
        closed = await office.requests().withdraw(asked.request.id, said)
        record = (await office.cluster.operations.audit(0, 1000)).records[-1]
        assert (record.what, record.by, record.why) == ("withdraw", "ada@desk", said.why)
        assert (closed.state, closed.closed_by) == (RequestState.WITHDRAWN, "ada@desk")
        with pytest.raises(ConflictError, match="closed: ada@desk has withdrawn it"):
            await office.approve(asked)
        with pytest.raises(ConflictError, match="withdrawn"):
            await office.requests().withdraw(asked.request.id, Withdrawal(by="bob@desk"))
        assert not office.cluster.stored().interventions.drains

    simulate(story)


def test_approved_and_withdrawn_at_once_is_one_of_them() -> None:
    async def story(office: Office) -> None:
        asked = await office.ask(DRAIN)
        withdrawn, done = await asyncio.gather(
            office.requests(1).withdraw(asked.request.id, Withdrawal(by="ada@desk")),
            office.approve(asked),
            return_exceptions=True,
        )
        assert not isinstance(withdrawn, BaseException)
        assert isinstance(done, ConflictError)
        assert await office.state(asked) is RequestState.WITHDRAWN
        assert not office.cluster.stored().interventions.drains

    simulate(story)


def test_a_request_ends_and_is_forgotten() -> None:
    async def story(office: Office) -> None:
        office.life_ms = 5000
        old = await office.ask(DRAIN)
        await office.cluster.clock.sleep(6)
        assert await office.requests().all() == ()
        with pytest.raises(NotFoundError, match="there are: none"):
            await office.approve(old)
        with pytest.raises(UsageError, match="expires within 24 hours"):
            await office.ask(old.request.text)
        new = await office.ask(DRAIN)
        store = office.cluster.operations.controller.store
        keys = [entry.key for entry in (await store.list("/pltfrms-requests/")).entries]
        assert keys == [f"/pltfrms-requests/{new.request.id}"]

    simulate(story)


def test_a_request_that_cannot_be_read_stops_no_other_and_is_named() -> None:
    async def story(office: Office) -> None:
        store = office.cluster.operations.controller.store
        poison = "0123456789ab"
        await store.commit([Put(key=request_key(poison), value=b'{"id": "newer"')])
        first = await office.ask(DRAIN)
        every = await office.requests().all()
        states = {each.id: each.state for each in every}
        assert states == {
            poison: RequestState.UNREADABLE,
            first.request.id: RequestState.OPEN,
        }
        assert any(f"{request_key(poison)} cannot be read" in each.about for each in every)
        await office.approve(first)
        assert office.cluster.stored().interventions.drains
        with pytest.raises(ConflictError, match="cannot be read"):
            await office.requests().approve(poison, "x")
        with pytest.raises(ConflictError, match="cannot be read"):
            await office.requests().show(poison)
        with pytest.raises(NotFoundError, match=poison):
            await office.requests().show("nothing")
        await office.requests().withdraw(poison, Withdrawal(by="ada"))
        assert [each.id for each in await office.requests().all()] == [first.request.id]

    simulate(story)


def test_only_so_many_requests_are_kept_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "REQUESTS_MAX", 2)

    async def story(office: Office) -> None:
        office.life_ms = 5000
        for number in range(2):
            drain = replace(DRAIN, why=f"works {number}")
            await office.ask(drain)
        with pytest.raises(ConflictError, match="2 requests are kept"):
            await office.ask(replace(DRAIN, why="one more"))
        await office.cluster.clock.sleep(7)
        await office.ask(replace(DRAIN, why="one more"))

    simulate(story)


def test_what_has_changed_since_must_be_asked_for_again() -> None:
    async def story(office: Office) -> None:
        drain, web = await office.ask(DRAIN), make_spec()
        with_web = await office.ask(
            Change(platform=replace(PLATFORM, director=False), services=(web,))
        )
        # A service that they are not about changes nothing for them.
        await office.cluster.operations.apply(Change(services=(make_spec(name="other"),)))
        await office.cluster.operations.apply(Change(services=(web,)))
        with pytest.raises(ConflictError, match="has been changed since"):
            await office.approve(with_web)
        await office.approve(drain)
        assert office.cluster.stored().interventions.drains

    simulate(story)


def test_who_is_lost_since_a_release_was_asked_for_is_not_approved_with_it() -> None:
    async def story(office: Office) -> None:
        def die(*nodes: str) -> None:
            for name in nodes:
                office.cluster.agents[name].dead = True

        die("fra-n1", "fra-n2")
        await office.cluster.clock.sleep(20)
        until_ms = office.cluster.clock.unix_ms() + HOUR_MS
        release = InterventionChange(verb=Verb.RELEASE, datacenter="fra", until_ms=until_ms)
        with pytest.raises(TwoPeopleError, match="it releases the brake of fra"):
            await office.cluster.operations.intervene(release)
        early = await office.ask(release)
        die("fra-n3")
        await office.cluster.clock.sleep(20)
        with pytest.raises(ConflictError, match="has been changed since"):
            await office.approve(early)
        await office.approve(await office.ask(release))
        (done,) = office.cluster.stored().interventions.releases
        assert done.nodes == ("fra-n1", "fra-n2", "fra-n3")

    simulate(story)


def test_what_changes_while_it_is_approved_counts_too() -> None:
    drains_alone = replace(PLATFORM, guards=Guards(two_people=(TwoPeople.DRAINS,)))

    class Slow(MemorySignatures):
        """While it looks, somebody changes the platform."""

        def __init__(self, office: Office) -> None:
            super().__init__()
            self._office = office

        async def signer(
            self,
            text: str,
            signature: str,
            operators: Sequence[Operator],
            namespace: str = NAMESPACE,
        ) -> str:
            name = await super().signer(text, signature, operators, namespace)
            changed = replace(drains_alone, director=False)
            await self._office.cluster.operations.apply(Change(platform=changed))
            return name

    async def story(office: Office) -> None:
        asked = await office.ask(DRAIN)
        signature = memory_signature(asked.request.text, KEYS["bob"])
        slow = Requests(office.cluster.operations, Slow(office))
        with pytest.raises(ConflictError, match="has been changed since"):
            await slow.approve(asked.request.id, signature)
        assert not office.cluster.stored().interventions.drains

    simulate(story, drains_alone)


def test_an_operator_who_has_left_counts_for_nothing() -> None:
    three = (*OPERATORS, Operator(name="eve", keys=(KEYS["eve"],)))
    with_eve = replace(PLATFORM, operators=three)

    async def story(office: Office) -> None:
        by_eve = await office.ask(DRAIN, "eve")
        await office.approve(await office.ask(Change(platform=PLATFORM)))
        for who in ("ada", "bob"):
            with pytest.raises(UsageError, match="none of the platform's operators"):
                await office.approve(by_eve, who)
        assert not office.cluster.stored().interventions.drains

    simulate(story, with_eve)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change(platform=PLATFORM), "so already"),
        (Change(services=(make_spec(),)), "one operator is enough"),
        (Change(platform=WITHOUT_TRANSIT2, revision=5), "not bound to a revision"),
        (replace(DRAIN, dry_run=True), "dry run"),
        (InterventionChange(verb=Verb.FREEZE), "one operator is enough"),
    ],
)
def test_what_makes_no_request_is_refused(
    change: Change | InterventionChange, words: str
) -> None:
    async def story(office: Office) -> None:
        with pytest.raises(UsageError, match=words):
            await office.ask(change)
        assert await office.requests().all() == ()

    simulate(story)


def test_a_text_of_elsewhere_or_without_meaning_is_refused() -> None:
    async def story(office: Office) -> None:
        now_ms = office.cluster.clock.unix_ms()
        for wanted, words in (
            (Wanted(platform="q", expires_ms=now_ms + 9, intervention=DRAIN), "for platform q"),
            (Wanted(platform=PLATFORM.name, expires_ms=now_ms + 9), "either"),
            (
                Wanted(
                    platform=PLATFORM.name,
                    expires_ms=now_ms + 9,
                    intervention=DRAIN,
                    change=Change(platform=PLATFORM),
                ),
                "either",
            ),
            (
                Wanted(
                    platform=PLATFORM.name, expires_ms=now_ms + 25 * HOUR_MS, intervention=DRAIN
                ),
                "expires within 24 hours",
            ),
        ):
            with pytest.raises(UsageError, match=words):
                await office.ask(encode(wanted).decode())
        for text in ("{}", "junk", "{" * 800_000):
            with pytest.raises(UsageError):
                await office.ask(text)

    simulate(story)


def test_without_the_store_nothing_is_known() -> None:
    async def story(office: Office) -> None:
        asked = await office.ask(DRAIN)
        for seat in office.cluster.seats.values():
            seat.store.unavailable = True
        for act in (office.ask(DRAIN), office.approve(asked), office.requests().all()):
            with pytest.raises(UnavailableError):
                await act
        for seat in office.cluster.seats.values():
            seat.store.unavailable = False
        await office.cluster.clock.sleep(10)
        await office.approve(asked)
        assert len(office.cluster.stored().interventions.drains) == 1

    simulate(story)


def test_the_id_is_of_the_text() -> None:
    assert request_id("a") == "ca978112ca1b"
