"""What operators do is written down in the same transaction; in virtual time."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from pltfrms.controller.records import auditing
from pltfrms.controller.records.auditing import Asked, AuditLog, Sealed
from pltfrms.controller.records.state import AUDIT_HEAD_KEY, audit_key
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import ConflictError, UnavailableError, UsageError
from pltfrms.model.messages.api import Change, InterventionChange, Verb
from pltfrms.model.messages.audit import AuditPage, AuditRecord, breaks
from tests.controller.cluster import Cluster
from tests.controller.test_network import simulate
from tests.controller.test_requests import DRAIN, Office
from tests.controller.test_requests import simulate as in_the_office
from tests.strategies import make_spec

WEB = make_spec()


async def everything(cluster: Cluster) -> AuditPage:
    return await cluster.operations.audit(0, 1000)


async def records(cluster: Cluster) -> list[AuditRecord]:
    page = await everything(cluster)
    assert breaks(page.records, page.head) == ()
    return list(page.records)


def test_each_write_says_who_from_where_why_and_what() -> None:
    async def story(cluster: Cluster) -> None:
        change = Change(services=(WEB,), by="ada@desk", why="launch")
        await cluster.operations.apply(change, asked=Asked(origin="192.0.2.1"))
        drain = InterventionChange(
            verb=Verb.DRAIN, peer="transit1", edge="fra-e1", why="line works", by="bob@desk"
        )
        await cluster.operations.intervene(drain, asked=Asked(origin="local socket"))
        await cluster.operations.delete(WEB.name, Asked(by="eve@desk", why="over"))
        one, two, three = await records(cluster)
        assert (one.what, one.by, one.origin, one.why) == (
            "apply",
            "ada@desk",
            "192.0.2.1",
            "launch",
        )
        assert one.lines[0].startswith("service/web create")
        assert (two.what, two.by, two.proved) == ("drain", "bob@desk", "")
        assert "transit1@fra-e1" in two.lines[0]
        assert (three.what, three.by, three.why) == ("delete", "eve@desk", "over")
        assert [one.number, two.number, three.number] == [1, 2, 3]
        assert one.at_ms > 0

    simulate(story)


def test_what_is_refused_or_changes_nothing_or_is_only_tried_is_not_written() -> None:
    async def story(cluster: Cluster) -> None:
        operations = cluster.operations
        await operations.plan(Change(services=(WEB,)))
        with pytest.raises(ConflictError):
            await operations.apply(Change(services=(WEB,), revision=1))
        await operations.apply(Change())
        await operations.intervene(
            InterventionChange(verb=Verb.FREEZE, why="look", dry_run=True)
        )
        assert await records(cluster) == []

    simulate(story)


def test_controllers_that_write_at_the_same_time_make_one_chain() -> None:
    async def story(cluster: Cluster) -> None:
        every = [seat.operations for seat in cluster.seats.values()]
        await asyncio.gather(
            *(
                operations.apply(Change(services=(replace(WEB, name=f"web{number}"),)))
                for number, operations in enumerate(every)
                if operations
            )
        )
        assert {record.lines[0].split()[0] for record in await records(cluster)} == {
            "service/web0",
            "service/web1",
            "service/web2",
        }

    simulate(story)


@pytest.mark.parametrize("what", ["apply", "intervene"])
def test_a_record_that_comes_between_is_not_written_over(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A change request writes one too, and is no commit that others would notice."""
    seal, between = AuditLog.seal, ["request"]

    async def slow(log: AuditLog, done: str, lines: Sequence[str], asked: Asked) -> Sealed:
        sealed = await seal(log, done, lines, asked)
        while between:
            other = await seal(log, between.pop(), (), Asked())
            assert await log._store.commit(other.writes, (other.condition,)) is not None
        return sealed

    monkeypatch.setattr(AuditLog, "seal", slow)

    async def story(cluster: Cluster) -> None:
        if what == "apply":
            await cluster.operations.apply(Change(services=(WEB,)))
        else:
            change = InterventionChange(verb=Verb.FREEZE, why="look")
            await cluster.operations.intervene(change)
        assert [record.number for record in await records(cluster)] == [1, 2]

    simulate(story)


def test_old_records_are_forgotten_and_the_rest_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auditing, "KEPT_COUNT", 3)

    async def story(cluster: Cluster) -> None:
        for verb in (Verb.FREEZE, Verb.UNFREEZE) * 3:
            await cluster.operations.intervene(InterventionChange(verb=verb, why="try"))
        assert [record.number for record in await records(cluster)] == [4, 5, 6]
        page = await cluster.operations.audit(4, 1)
        assert [record.number for record in page.records] == [5]
        assert page.head.number == 6

    simulate(story)


def test_a_last_word_that_cannot_be_read_hinders_nobody_and_is_seen() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.operations.intervene(InterventionChange(verb=Verb.FREEZE, why="a"))
        store = next(iter(cluster.seats.values())).store
        await store.commit([Put(key=AUDIT_HEAD_KEY, value=b"?")])
        await cluster.operations.intervene(InterventionChange(verb=Verb.UNFREEZE, why="b"))
        assert not cluster.stored().interventions.freeze

    simulate(story)


def test_a_record_with_what_the_next_release_has_is_not_called_broken() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.operations.apply(Change(services=(make_spec("api"),)))
        entry = cluster.state.list(audit_key(1)).entries[0]
        for said in ('"x"', '""'):
            text = entry.value.decode().removesuffix("}") + f',"of_the_next_release":{said}}}'
            cluster.state.commit([Put(key=entry.key, value=text.encode())], ())
            if said == '"x"':
                with pytest.raises(UnavailableError, match="does not know this field"):
                    await everything(cluster)
        page = await everything(cluster)
        assert breaks(page.records, page.head) == ()
        cluster.state.commit([Put(key=entry.key, value=b"?")], ())
        with pytest.raises(UsageError, match="Invalid JSON") as caught:
            await everything(cluster)
        assert "newer release" not in str(caught.value), "no other controller can read it"

    simulate(story)


def test_while_the_store_is_away_nobody_reads_them() -> None:
    async def story(cluster: Cluster) -> None:
        store = next(iter(cluster.seats.values())).store
        store.unavailable = True
        with pytest.raises(UnavailableError):
            await everything(cluster)
        store.unavailable = False
        assert await records(cluster) == []

    simulate(story)


def test_two_people_are_written_down_as_proved() -> None:
    async def story(office: Office) -> None:
        asked = await office.ask(DRAIN)
        await office.approve(asked)
        request, drain = await records(office.cluster)
        assert (request.what, request.by, request.proved) == ("request", "ada", "signature")
        assert (drain.what, drain.by, drain.approved_by) == ("drain", "ada", "bob")
        assert drain.proved == "signature"

    in_the_office(story)
