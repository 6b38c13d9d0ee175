"""What services were is kept, and no version goes that is not; in virtual time."""

import asyncio
from dataclasses import replace

import pytest

from pltfrms.controller.keeping.backups import restore, take
from pltfrms.controller.records.history import VERSIONS_KEPT
from pltfrms.controller.records.state import VERSIONS, version_key
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import ConflictError, NotFoundError, UsageError
from pltfrms.model.messages.api import Change
from pltfrms.model.services.service import ServiceSpec
from tests.controller.cluster import Cluster
from tests.controller.test_network import simulate
from tests.strategies import make_spec


def numbered(number: int, name: str = "web") -> ServiceSpec:
    spec = make_spec(name)
    return replace(spec, run=replace(spec.run, process=("serve", str(number))))


async def numbers(cluster: Cluster, name: str = "web") -> list[int]:
    history = await cluster.operations.history(name)
    assert history.problems == ()
    said = [int(each.service.spec.run.process[1]) for each in history.versions]
    assert said == [each.service.version for each in history.versions]
    return said


def test_the_last_versions_of_each_service_are_kept_and_no_more() -> None:
    async def story(cluster: Cluster) -> None:
        for number in range(1, VERSIONS_KEPT + 5):
            await cluster.operations.apply(Change(services=(numbered(number),)))
        await cluster.operations.apply(Change(services=(numbered(1, "api"),)))
        last = VERSIONS_KEPT + 4
        assert await numbers(cluster) == list(range(last, last - VERSIONS_KEPT, -1))
        assert await numbers(cluster, "api") == [1]
        assert len(cluster.state.list(VERSIONS).entries) == VERSIONS_KEPT - 1

    simulate(story)


def test_what_is_pruned_goes_with_all_that_is_kept_of_it() -> None:
    def of_shop(number: int, name: str) -> ServiceSpec:
        return replace(numbered(number, name), group="shop", per_datacenter=1)

    async def story(cluster: Cluster) -> None:
        both = (of_shop(1, "web"), of_shop(1, "api"))
        await cluster.operations.apply(Change(services=(*both, numbered(1, "dns"))))
        await cluster.operations.apply(Change(services=(of_shop(2, "api"),)))
        prune = Change(services=(of_shop(1, "web"),), prune=("group", "shop"))
        assert [line.action for line in (await cluster.operations.plan(prune)).changes] == [
            "delete"
        ]
        await cluster.operations.apply(prune)
        assert set(cluster.stored().services) == {"web", "dns"}
        assert cluster.state.list(VERSIONS).entries == ()
        with pytest.raises(NotFoundError):
            await cluster.operations.history("api")

    simulate(story)


def test_more_than_the_store_takes_at_once_is_refused_with_what_to_do() -> None:
    async def story(cluster: Cluster) -> None:
        spec = replace(numbered(1, "web"), group="shop", per_datacenter=1)
        for name in ("a", "b", "c", "d", "e"):
            for number in range(1, VERSIONS_KEPT + 1):
                old = replace(numbered(number, name), group="shop", per_datacenter=1)
                await cluster.operations.apply(Change(services=(old,)))
        prune = Change(services=(spec,), prune=("group", "shop"))
        with pytest.raises(UsageError, match="first: pltfrms service delete a"):
            await cluster.operations.apply(prune)
        assert "e" in cluster.stored().services

    simulate(story)


def test_who_prunes_is_not_told_to_split_what_would_delete_its_other_half() -> None:
    async def story(cluster: Cluster) -> None:
        many = tuple(replace(numbered(1, f"s{n}"), group="shop") for n in range(41))
        with pytest.raises(UsageError, match="split it"):
            await cluster.operations.apply(Change(services=many))
        with pytest.raises(UsageError, match="give each part a label of its own"):
            await cluster.operations.apply(Change(services=many, prune=("group", "shop")))

    simulate(story)


def test_what_changes_no_version_is_said_of_the_present_one() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.operations.apply(Change(services=(numbered(1),)))
        more = replace(numbered(1), per_datacenter=1)
        await cluster.operations.apply(Change(services=(more,)))
        (present,) = (await cluster.operations.history("web")).versions
        assert present.service.spec == more
        await cluster.operations.apply(Change(services=(numbered(2),)))
        history = await cluster.operations.history("web")
        assert history.versions[1].service.spec == more

    simulate(story)


def test_a_change_that_is_refused_is_no_version() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.operations.apply(Change(services=(numbered(1),)))
        await cluster.operations.plan(Change(services=(numbered(2),)))
        with pytest.raises(ConflictError):
            await cluster.operations.apply(Change(services=(numbered(2),), revision=1))
        assert await numbers(cluster) == [1]

    simulate(story)


def test_changes_at_the_same_time_are_all_kept() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.operations.apply(Change(services=(numbered(1),)))
        every = [seat.operations for seat in cluster.seats.values() if seat.operations]
        specs = [replace(numbered(0), run=replace(numbered(0).run, cpu=c)) for c in (0.3, 0.4)]
        await asyncio.gather(
            *(one.apply(Change(services=(s,))) for one, s in zip(every, specs, strict=False))
        )
        history = await cluster.operations.history("web")
        assert [each.service.version for each in history.versions] == [3, 2, 1]
        assert {each.service.spec.run.cpu for each in history.versions[:2]} == {0.3, 0.4}

    simulate(story)


def test_a_deleted_service_leaves_no_history_to_its_namesake() -> None:
    async def story(cluster: Cluster) -> None:
        for number in (1, 2, 3):
            await cluster.operations.apply(Change(services=(numbered(number),)))
        await cluster.operations.delete("web")
        assert cluster.state.list(VERSIONS).entries == ()
        with pytest.raises(NotFoundError):
            await cluster.operations.history("web")

    simulate(story)


def test_versions_from_before_a_backup_was_put_back_are_not_of_what_it_holds() -> None:
    async def story(cluster: Cluster) -> None:
        store = next(iter(cluster.seats.values())).store
        await cluster.operations.apply(Change(services=(numbered(1),)))
        await cluster.operations.apply(Change(services=(numbered(2),)))
        backup = await take(store, "test", 1)
        for number in (3, 4):
            await cluster.operations.apply(Change(services=(numbered(number),)))
        await restore(store, backup, 2, despite_data=True)
        await cluster.clock.sleep(5)
        assert await numbers(cluster) == [2, 1]

    simulate(story)


def test_a_version_that_cannot_be_read_hides_no_other() -> None:
    async def story(cluster: Cluster) -> None:
        for number in (1, 2, 3):
            await cluster.operations.apply(Change(services=(numbered(number),)))
        store = next(iter(cluster.seats.values())).store
        await store.commit([Put(key=version_key("web", 1), value=b'{"newer":1}')])
        history = await cluster.operations.history("web")
        assert [each.service.version for each in history.versions] == [3, 2]
        assert "web/0000000001 cannot be read" in history.problems[0]

    simulate(story)
