"""Machines that join, come back and are revoked: attacks on it, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random

import pytest

from pltfrms.codec import decode, encode
from pltfrms.controller.asked import identities
from pltfrms.controller.asked.identities import NONCES_MAX, Identities
from pltfrms.controller.records.state import MACHINE_KEYS, PLATFORM_KEY, SIGNERS, commit_mark
from pltfrms.drivers.identity.authority import Authority
from pltfrms.drivers.identity.keys import make_key, make_request, sign_text
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    PltfrmsError,
    UnavailableError,
)
from pltfrms.model.identity.words import (
    Certified,
    JoinAsk,
    JoinToken,
    MachineKey,
    RenewalAsk,
    ReturnAsk,
    ShownCertificate,
    SigningNote,
    TokenAsk,
    machine_uri,
    return_text,
    serial_of,
)
from pltfrms.model.messages.api import Change
from pltfrms.model.messages.guards import Guard
from pltfrms.model.network.topology import Platform
from tests.controller.cluster import Cluster
from tests.drivers.identity.authority import Office
from tests.simulation.virtual import run_virtual
from tests.strategies import make_platform

PLATFORM = make_platform({"fra": 2, "ams": 2})
HEARTBEAT = ("POST", "/v1/heartbeats")


class Gate:
    """Controllers that know who is who, and machines that come to them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.office = Office(PLATFORM.name, cluster.clock.unix_ms())
        self.identities: list[Identities] = []
        self.tasks: list[asyncio.Task[None]] = []
        for seat in cluster.seats.values():
            made = Identities(seat.controller, self.office.signer, Random(1))  # noqa: S311
            self.identities.append(made)
            self.tasks.append(asyncio.create_task(made.run()))

    async def token(self, machine: str = "fra-n1") -> JoinToken:
        ask = TokenAsk(machine=machine, by="ada")
        return JoinToken.of((await self.identities[0].make_token(ask)).token)

    async def join(
        self, token: JoinToken, key: str, seat: int = 0, machine: str = ""
    ) -> Certified:
        name = machine or token.machine
        request = make_request(key, PLATFORM.name, name)
        ask = JoinAsk(machine=name, secret=token.secret, request=request)
        return await self.identities[seat].join(ask)

    async def come_back(
        self, key: str, machine: str = "fra-n1", *, signs: str = "", nonce: str = ""
    ) -> Certified:
        nonce = nonce or self.identities[0].nonce(machine).nonce
        ask = ReturnAsk(
            machine=machine,
            nonce=nonce,
            request=make_request(key, PLATFORM.name, machine),
            signature=sign_text(key, signs or return_text(machine, nonce)),
        )
        return await self.identities[0].give_back(ask)

    def refusal(self, machine: str, joins: int, seat: int = 0) -> str:
        uri = machine_uri(PLATFORM.name, machine)
        known = self.identities[seat].known_key(machine)
        key = "".join(known.public_key.splitlines()[1:-1]) if known else ""
        serial = serial_of(joins, 9)
        shown = ShownCertificate(uris=(uri,), serial=serial, issuer="", public_key=key)
        return self.identities[seat].access(*HEARTBEAT, shown).refusal

    async def write(self, platform: Platform) -> None:
        await self.cluster.operations.controller.store.commit(
            [Put(key=PLATFORM_KEY, value=encode(platform)), commit_mark("test", 0)]
        )
        await self.cluster.clock.sleep(5)

    async def told(self) -> list[str]:
        events = await self.cluster.operations.events(0, 0, 1000)
        return [f"{event.about} {event.what}" for event in events]


def simulate(story: Callable[[Gate], Awaitable[None]]) -> None:
    async def run() -> None:
        cluster = Cluster(PLATFORM)
        cluster.start()
        await cluster.until(lambda: len(cluster.stored().leases) >= 8, 10)
        gate = Gate(cluster)
        await cluster.clock.sleep(1)
        await asyncio.ensure_future(story(gate))
        for task in gate.tasks:
            assert not task.done()
            task.cancel()

    run_virtual(run())


def test_a_machine_joins_once_and_is_known_to_every_controller() -> None:
    async def story(gate: Gate) -> None:
        token, key = await gate.token(), make_key()
        made = await gate.join(token, key, seat=1)
        assert (made.machine, made.platform) == ("fra-n1", PLATFORM.name)
        await gate.cluster.clock.sleep(1)
        assert {gate.refusal("fra-n1", 1, seat) for seat in (0, 1)} == {""}
        told = await gate.told()
        assert "machine/fra-n1 join token made" in told
        assert "machine/fra-n1 machine joined" in told
        stored = await gate.cluster.operations.controller.store.list("/pltfrms-identity/")
        assert not any(token.secret.encode() in entry.value for entry in stored.entries)

    simulate(story)


async def refused(asked: Awaitable[Certified], why: str) -> None:
    with pytest.raises(PltfrmsError, match=why):
        await asked


def test_no_other_use_of_a_token_lets_in() -> None:
    async def story(gate: Gate) -> None:
        token, key = await gate.token(), make_key()
        wrong = replace(token, secret="0" * 32)
        await refused(gate.join(wrong, key), "not valid")
        await refused(gate.join(token, key, machine="fra-n2"), "not valid")
        await refused(gate.join(token, key, machine="fra-c1"), "not valid")
        await refused(gate.join(token, key, machine="fra-n9"), "no machine 'fra-n9'")
        await refused(gate.join(token, key, machine="../fra-n1"), "no machine")
        newer = await gate.token()
        await refused(gate.join(token, key), "not valid")
        await gate.join(newer, key)
        await refused(gate.join(newer, make_key()), "has been used")

    simulate(story)


def test_a_token_that_has_expired_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "TOKEN_MS", 2000)

    async def story(gate: Gate) -> None:
        token = await gate.token()
        await gate.cluster.clock.sleep(2)
        await refused(gate.join(token, make_key()), "has expired")

    simulate(story)


def test_two_machines_with_one_token_are_one_machine() -> None:
    async def story(gate: Gate) -> None:
        token = await gate.token()
        asked = [gate.join(token, make_key(), seat=number % 2) for number in range(6)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(each, Certified) for each in found) == 1
        assert all(isinstance(each, Certified | PltfrmsError) for each in found)

    simulate(story)


def test_a_machine_whose_answer_was_lost_asks_again_with_the_same_key() -> None:
    async def story(gate: Gate) -> None:
        token, key = await gate.token(), make_key()
        for seat in (0, 1, 0):
            await gate.join(token, key, seat)
        await gate.cluster.clock.sleep(1)
        assert not gate.refusal("fra-n1", 1)

    simulate(story)


def test_to_join_again_makes_the_older_certificate_void() -> None:
    async def story(gate: Gate) -> None:
        await gate.join(await gate.token(), make_key())
        await gate.join(await gate.token(), make_key())
        await gate.cluster.clock.sleep(1)
        assert "has joined again" in gate.refusal("fra-n1", 1)
        assert not gate.refusal("fra-n1", 2)

    simulate(story)


def test_a_removed_machine_is_revoked_for_good() -> None:
    async def story(gate: Gate) -> None:
        key, token = make_key(), await gate.token()
        await gate.join(token, key)
        rest = tuple(each for each in PLATFORM.machines if each.name != "fra-n1")
        await gate.write(replace(PLATFORM, machines=rest))
        assert "any more" in gate.refusal("fra-n1", 1)
        await refused(gate.come_back(key), "no machine 'fra-n1'")
        ask = RenewalAsk(machine="fra-n1", request=make_request(key, PLATFORM.name, "fra-n1"))
        await refused(gate.identities[0].renew(ask), "no machine 'fra-n1'")
        with pytest.raises(NotFoundError):
            await gate.token()
        await gate.write(PLATFORM)
        assert "has not joined" in gate.refusal("fra-n1", 1)
        await refused(gate.come_back(key), "has not joined")
        await refused(gate.join(token, key), "token")  # which is good for an hour
        await gate.join(await gate.token(), make_key())
        await gate.cluster.clock.sleep(1)
        assert not gate.refusal("fra-n1", 2)
        assert "has joined again" in gate.refusal("fra-n1", 1)
        assert "machine/fra-n1 machine revoked" in await gate.told()

    simulate(story)


def test_a_token_goes_with_its_machine_which_never_joined() -> None:
    async def story(gate: Gate) -> None:
        token = await gate.token()
        rest = tuple(each for each in PLATFORM.machines if each.name != "fra-n1")
        await gate.write(replace(PLATFORM, machines=rest))
        await gate.write(PLATFORM)
        await refused(gate.join(token, make_key()), "token is not valid")
        assert "machine/fra-n1 join token void" in await gate.told()

    simulate(story)


def test_who_let_machines_in_and_who_came_is_written_down() -> None:
    async def story(gate: Gate) -> None:
        token = await gate.token()
        await gate.join(token, make_key())
        await refused(gate.join(token, make_key()), "has been used")
        rest = tuple(each for each in PLATFORM.machines if each.name != "fra-n1")
        await gate.write(replace(PLATFORM, machines=rest))
        page = await gate.cluster.operations.audit(0, 100)
        told = [(each.what, each.lines[0], each.by, each.proved) for each in page.records]
        assert told == [
            ("token", "machine/fra-n1: join token made", "ada", ""),
            ("join", "machine/fra-n1: machine joined", "fra-n1", "token"),
            ("revoke", "machine/fra-n1: machine revoked", "", ""),
        ]
        assert token.secret not in repr(page)

    simulate(story)


def test_machines_that_join_at_once_all_have_their_records() -> None:
    async def story(gate: Gate) -> None:
        names = [each.name for each in PLATFORM.managed]
        tokens = [await gate.token(name) for name in names]
        await asyncio.gather(
            *(gate.join(token, make_key(), n % 2) for n, token in enumerate(tokens))
        )
        page = await gate.cluster.operations.audit(0, 100)
        assert sorted(each.by for each in page.records if each.what == "join") == sorted(names)

    simulate(story)


def test_after_two_months_without_controllers_a_machine_comes_back_by_its_key() -> None:
    async def story(gate: Gate) -> None:
        key = make_key()
        before = await gate.join(await gate.token(), key)
        gate.office.now_ms += 60 * 86_400_000
        for each in gate.identities:
            each._signer = gate.office.signer
        made = await gate.come_back(key)
        assert made.not_after_ms > gate.office.now_ms > before.not_after_ms
        await gate.cluster.clock.sleep(1)
        assert not gate.refusal("fra-n1", 1)
        assert "machine/fra-n1 machine has come back with its key" in await gate.told()

    simulate(story)


def test_nobody_else_comes_back_as_a_machine() -> None:
    async def story(gate: Gate) -> None:
        key, other = make_key(), make_key()
        await gate.join(await gate.token(), key)
        await gate.join(await gate.token("fra-n2"), other)
        await refused(gate.come_back(other), "not signed with the key")
        await refused(gate.come_back(key, "fra-n2"), "not signed with the key")
        await refused(gate.come_back(key, "ams-n1"), "has not joined")
        await refused(gate.come_back(key, signs="something else"), "not signed")
        await refused(gate.come_back(key, nonce="0" * 32), "nonce is not valid")
        used = gate.identities[0].nonce("fra-n1").nonce
        await gate.come_back(key, nonce=used)
        await refused(gate.come_back(key, nonce=used), "nonce is not valid")
        of_other = gate.identities[0].nonce("fra-n2").nonce
        await refused(gate.come_back(key, nonce=of_other), "nonce is not valid")
        old = gate.identities[0].nonce("fra-n1").nonce
        await gate.cluster.clock.sleep(61)
        await refused(gate.come_back(key, nonce=old), "nonce is not valid")

    simulate(story)


def test_who_asks_for_many_nonces_fills_no_memory() -> None:
    async def story(gate: Gate) -> None:
        for _ in range(3 * NONCES_MAX):
            gate.identities[0].nonce("fra-n1")
        assert len(gate.identities[0]._nonces) <= NONCES_MAX
        key = make_key()
        await gate.join(await gate.token(), key)
        await gate.come_back(key)

    simulate(story)


def test_a_certificate_is_renewed_for_the_key_alone_that_has_joined() -> None:
    async def story(gate: Gate) -> None:
        key = make_key()
        await gate.join(await gate.token(), key)
        good = make_request(key, PLATFORM.name, "fra-n1")
        await gate.identities[1].renew(RenewalAsk(machine="fra-n1", request=good))
        bad = make_request(make_key(), PLATFORM.name, "fra-n1")
        ask = RenewalAsk(machine="fra-n1", request=bad)
        await refused(gate.identities[1].renew(ask), "with another key")

    simulate(story)


def test_the_first_controller_knows_itself_and_is_not_pushed_aside() -> None:
    async def story(gate: Gate) -> None:
        await gate.identities[0].adopt("fra-c1", "first")
        await gate.identities[1].adopt("fra-c1", "second")
        await gate.cluster.clock.sleep(1)
        known = gate.identities[0].known_key("fra-c1")
        assert known
        assert (known.joins, known.public_key) == (1, "first")

    simulate(story)


def test_while_nobody_knows_who_has_joined_nobody_is_let_in_or_called_unknown() -> None:
    async def story(gate: Gate) -> None:
        controller = gate.cluster.operations.controller
        young = Identities(controller, gate.office.signer, Random(1))  # noqa: S311
        shown = ShownCertificate(uris=(), serial=1, issuer="", public_key="")
        with pytest.raises(UnavailableError, match="does not know yet"):
            young.access(*HEARTBEAT, shown)

    simulate(story)


def test_while_the_store_is_away_who_was_known_stays_known() -> None:
    async def story(gate: Gate) -> None:
        await gate.join(await gate.token(), make_key())
        await gate.cluster.clock.sleep(1)
        for seat in gate.cluster.seats.values():
            seat.store.unavailable = True
        await gate.cluster.clock.sleep(60)
        assert not gate.refusal("fra-n1", 1)
        assert "has joined again" in gate.refusal("fra-n1", 7)
        for seat in gate.cluster.seats.values():
            seat.store.unavailable = False

    simulate(story)


def test_an_identity_that_cannot_be_read_hides_no_other() -> None:
    async def story(gate: Gate) -> None:
        await gate.join(await gate.token(), make_key())
        store = gate.cluster.operations.controller.store
        await store.commit([Put(key=f"{MACHINE_KEYS}fra-n2", value=b"{")])
        good = MachineKey(machine="ams-n1", joins=1, public_key="-\nk\n-", at_ms=1)
        await store.commit([Put(key=f"{MACHINE_KEYS}ams-n1", value=encode(good))])
        await gate.cluster.clock.sleep(1)
        assert [gate.refusal(name, 1) for name in ("fra-n1", "ams-n1")] == ["", ""]
        assert "has not joined" in gate.refusal("fra-n2", 1)
        with pytest.raises(PltfrmsError, match="cannot be read"):
            await gate.join(await gate.token("fra-n2"), make_key())

    simulate(story)


def test_who_alone_can_sign_is_not_taken_out() -> None:
    rest = tuple(each for each in PLATFORM.machines if each.name != "fra-c1")
    without = Change(platform=replace(PLATFORM, machines=rest))

    async def story(gate: Gate) -> None:
        first, other = gate.identities
        for name, each in (("fra-c1", first), ("ams-c1", other)):
            await each.adopt(name, "key")
            each._signer = gate.office.signer
        other._signer = Authority(PLATFORM.name, gate.office.root.certificate, None, int)
        await gate.cluster.clock.sleep(1)
        for name, each in (("fra-c1", first), ("ams-c1", other)):
            await each.note_signing(name)
        with pytest.raises(ConflictError, match="controller authority"):
            await gate.cluster.operations.apply(without)
        other._signer = gate.office.signer
        await other.note_signing("ams-c1")
        preview = await gate.cluster.operations.plan(without)
        assert not any("can sign" in each.sentence for each in preview.verdicts)
        other._signer = Authority(PLATFORM.name, gate.office.root.certificate, None, int)
        await other.note_signing("ams-c1")
        with pytest.raises(ConflictError, match="only fra-c1 can sign"):
            await gate.cluster.operations.apply(without)
        wanted = replace(without, despite=(Guard.MAINTENANCE_LOCK,))
        await gate.cluster.operations.apply(wanted)
        await gate.cluster.clock.sleep(5)
        store = gate.cluster.operations.controller.store
        assert not (await store.list(SIGNERS)).entries, "it goes with its machine"

    simulate(story)


def test_who_has_changed_the_root_it_signs_by_tells_from_when_it_runs_with_it() -> None:
    async def story(gate: Gate) -> None:
        own, clock = gate.identities[0], gate.cluster.clock

        async def told() -> SigningNote:
            await own.note_signing("fra-c1")
            store = gate.cluster.operations.controller.store
            return decode(SigningNote, (await store.list(SIGNERS)).entries[0].value)

        own._signer = gate.office.signer
        first = await told()
        assert own._signer.life
        assert first.since_ms == own._signer.life.not_before_ms
        await clock.sleep(60)
        own._signer = Office(PLATFORM.name, clock.unix_ms()).signer
        changed_ms = clock.unix_ms()
        second = await told()
        assert second.root != first.root
        assert second.since_ms == changed_ms, "until then it signed by the other one"
        await clock.sleep(60)
        assert await told() == second

    simulate(story)


def test_a_controller_that_is_replaced_signs_no_more_unless_it_is_the_only_one() -> None:
    async def story(gate: Gate) -> None:
        first, other = gate.identities
        for name, each in (("fra-c1", first), ("ams-c1", other)):
            await each.adopt(name, "key")
            each._signer = gate.office.signer
        await first.note_signing("fra-c1")
        away = TokenAsk(machine="fra-c1", void=True)
        with pytest.raises(ConflictError, match="only fra-c1 can sign"):
            await other.make_token(away)
        await other.note_signing("ams-c1")
        await other.make_token(away)
        notes = (await gate.cluster.operations.controller.store.list(SIGNERS)).entries
        assert [each.key for each in notes] == [f"{SIGNERS}ams-c1"]
        with pytest.raises(ConflictError, match="only ams-c1 can sign"):
            await first.make_token(replace(away, machine="ams-c1"))
        await first.make_token(replace(away, machine="ams-c1", void=False))

    simulate(story)


def test_forbidden_is_an_error_of_its_own() -> None:
    assert (ForbiddenError.exit_code, ForbiddenError.status_code) == (4, 403)
