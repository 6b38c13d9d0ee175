"""Leases of services end with who has them: as agents ask, and where a machine is lost."""

import asyncio
import base64
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pltfrms.controller.asked.part_ends import PartEnds
from pltfrms.controller.asked.part_leases import PartLeases
from pltfrms.controller.contact.view import View
from pltfrms.controller.records.state import Stored
from pltfrms.errors import NotFoundError, UnavailableError
from pltfrms.model.messages.api import LeasesAsk
from pltfrms.model.running.state import Contact, Snapshot
from pltfrms.model.services.members import member_of
from pltfrms.model.services.parts import StoreUse
from tests.strategies import (
    make_allocation,
    make_platform,
    make_service,
    make_snapshot,
    make_spec,
)

PLATFORM = make_platform({"fra": 2, "ams": 2})
ONE = make_allocation("db.fra.1-3", "fra-n1", slot=4)
TWO = make_allocation("db.ams.1-1", "ams-n1", slot=4)


def address(allocation: str) -> str:
    found = {each.id: each for each in (ONE, TWO)}[allocation]
    return str(PLATFORM.instance6(PLATFORM.machine(found.node), 7, found.slot))


@dataclass
class Store:
    """`ports.Gateway` with leases alone."""

    notes: dict[bytes, bytes] = field(default_factory=dict)
    revoked: list[int] = field(default_factory=list)
    next: int = 100
    away: bool = False

    async def ask(
        self, path: str, question: Mapping[str, Any], *, repeatable: bool
    ) -> Mapping[str, Any]:
        assert repeatable is (path != "/v3/lease/grant")
        if self.away:
            raise UnavailableError("the store does not answer")
        if path == "/v3/lease/grant":
            self.next += 1
            return {"ID": str(self.next)}
        if path == "/v3/lease/revoke":
            lease = int(question["ID"])
            self.revoked.append(lease)
            gone = [key for key in self.notes if key.endswith(f"/{lease}".encode())]
            if not gone:
                raise NotFoundError("requested lease not found")
            del self.notes[gone[0]]
            return {}
        key = base64.b64decode(question["key"])
        if path == "/v3/kv/put":
            self.notes[key] = base64.b64decode(question["value"])
            return {}
        end = base64.b64decode(question["range_end"])
        found = {each: self.notes[each] for each in sorted(self.notes) if key <= each < end}
        kvs = [{"key": _text(each), "value": _text(said)} for each, said in found.items()]
        return {"count": str(len(kvs)), **({} if question.get("count_only") else {"kvs": kvs})}

    def watch(self, question: Mapping[str, Any]) -> AsyncGenerator[Mapping[str, Any]]:
        raise NotImplementedError


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


class Shown(View):
    """Shows what it is given."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.shown = snapshot
        self.written: Snapshot | None = None
        """What the store has by now, if it is something else."""
        self.heard: dict[str, int] = {}

    def snapshot(self) -> Snapshot:
        return self.shown

    def last_stored(self) -> Stored:
        return Stored(revision=7, commit=7, services=self.shown.services)

    async def linearized_stored(self) -> tuple[Snapshot, Stored]:
        return self.written or self.shown, replace(self.last_stored(), leases=self.heard)


def now(*, missed: tuple[str, ...] | None = ("fra-n1",), **contacts: Contact) -> Snapshot:
    """Return who is in contact, and whom the edge misses; None: it does not say that."""
    spec = make_spec("db")
    store = StoreUse(secret="db", end_leases=True)  # noqa: S106 (a name)
    service = make_service(replace(spec, run=replace(spec.run, store=store)), 7)
    named = {name.replace("_", "-"): contact for name, contact in contacts.items()}
    found = make_snapshot(PLATFORM, (service,), (ONE, TWO), named)
    edge = replace(found.statuses["fra-e1"], missed=missed)
    return replace(found, statuses={**found.statuses, edge.machine: edge})


class Rig:
    def __init__(self) -> None:
        self.store = Store()
        self.view = Shown(now())
        self.leases = PartLeases(self.store)
        self.ends = PartEnds(self.view, self.leases)

    async def grant(self, allocation: str, service: str = "db") -> int:
        return int((await self.leases.grant(service, 30, address(allocation)))["ID"])


def test_an_agent_is_told_which_and_ends_those_that_it_was_told() -> None:
    async def story() -> None:
        rig = Rig()
        first, other = await rig.grant(ONE.id), await rig.grant(TWO.id)
        elses = await rig.grant(ONE.id, "web")  # another service's, whoever asked for it
        ask = LeasesAsk(machine="fra-n1", allocation=ONE.id)
        assert (await rig.ends.asked(ask)).leases == (first,)
        later = await rig.grant(ONE.id)  # of who began since
        end = replace(ask, end=(first, other, elses))
        assert (await rig.ends.asked(end)).leases == (later,)
        assert (await rig.ends.asked(end)).leases == (later,)  # said twice
        assert rig.store.revoked == [first]

    asyncio.run(story())


def test_a_machine_does_not_ask_about_others() -> None:
    async def story() -> None:
        rig = Rig()
        await rig.grant(TWO.id)
        with pytest.raises(NotFoundError):
            await rig.ends.asked(LeasesAsk(machine="fra-n1", allocation=TWO.id, end=(101,)))
        assert rig.store.revoked == []

    asyncio.run(story())


def test_leases_of_a_lost_machine_end_once_and_of_no_other() -> None:
    async def story() -> None:
        rig = Rig()
        first, _ = await rig.grant(ONE.id), await rig.grant(TWO.id)
        rig.view.shown = now(fra_n1=Contact.UNKNOWN)
        await rig.ends.look()
        assert rig.store.revoked == []
        rig.view.shown = now(fra_n1=Contact.LOST)
        await rig.ends.look()
        assert rig.store.revoked == [first]
        await rig.grant(ONE.id)  # it lives after all, and found a way to ask
        await rig.ends.look()
        assert rig.store.revoked == [first]
        rig.view.shown = now()
        await rig.ends.look()
        rig.view.shown = now(fra_n1=Contact.LOST)
        await rig.ends.look()
        assert len(rig.store.revoked) == 2  # lost anew

    asyncio.run(story())


@pytest.mark.parametrize("missed", [None, ()])
def test_a_machine_that_is_lost_by_its_heartbeats_alone_keeps_them(
    missed: tuple[str, ...] | None,
) -> None:
    """Such as of a datacenter whose edges others manage: perhaps only its agent has ended."""

    async def story() -> None:
        rig = Rig()
        first = await rig.grant(ONE.id)
        rig.view.shown = now(fra_n1=Contact.LOST, missed=missed)
        await rig.ends.look()
        assert rig.store.revoked == []
        rig.view.shown = now(fra_n1=Contact.LOST)
        await rig.ends.look()
        assert rig.store.revoked == [first]

    asyncio.run(story())


def test_a_machine_that_is_heard_again_keeps_them_before_we_have_seen_that() -> None:
    async def story() -> None:
        rig = Rig()
        first = await rig.grant(ONE.id)
        rig.view.shown, rig.view.heard = now(fra_n1=Contact.LOST), {"fra-n1": 9}
        await rig.ends.look()
        assert rig.store.revoked == []
        rig.view.heard = {}
        await rig.ends.look()
        assert rig.store.revoked == [first]

    asyncio.run(story())


def test_a_successor_elsewhere_keeps_them_before_we_have_seen_it() -> None:
    old = replace(ONE, volume="db.fra.1@3")
    begun = replace(old, id="db.fra.1-4", number=4, node="fra-n2", volume="db.fra.1@4")
    for_life = str(member_of(PLATFORM, 7, (), ("fra", 1)).address6)

    async def story() -> None:
        rig = Rig()
        before = now()
        rig.view.shown = replace(before, allocations={old.id: old})
        rig.view.written = replace(before, allocations={begun.id: begun})
        its = int((await rig.leases.grant("db", 30, for_life))["ID"])
        ask = LeasesAsk(machine="fra-n1", allocation=old.id)
        assert (await rig.ends.asked(ask)).leases == (its,)
        with pytest.raises(NotFoundError):
            await rig.ends.asked(replace(ask, end=(its,)))
        assert rig.store.revoked == []

    asyncio.run(story())


def test_what_the_store_does_not_take_is_done_later() -> None:
    async def story() -> None:
        rig = Rig()
        first = await rig.grant(ONE.id)
        rig.view.shown, rig.store.away = now(fra_n1=Contact.LOST), True
        with pytest.raises(UnavailableError):
            await rig.ends.look()
        rig.store.away = False
        await rig.ends.look()
        assert rig.store.revoked == [first]

    asyncio.run(story())
