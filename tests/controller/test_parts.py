"""What is left of parts of the store, with three controllers, in virtual time."""

from dataclasses import replace

from pltfrms.controller.planning.loop import PRUNE_SECONDS
from pltfrms.drivers.store.ports import Put
from pltfrms.drivers.store.transaction import MAX_OPERATIONS
from pltfrms.model.messages.api import Change
from pltfrms.model.services.parts import PARTS, StoreUse, part_of
from pltfrms.model.services.service import Service
from pltfrms.planner.upkeep.forgetting import unneeded_keys
from tests.controller.cluster import Cluster
from tests.controller.test_network import simulate
from tests.strategies import make_service, make_spec


def having(name: str) -> Service:
    made = make_service(make_spec(name))
    run = replace(made.spec.run, store=StoreUse(secret="word"))  # noqa: S106 (a name)
    return replace(made, spec=replace(made.spec, run=run))


def test_keys_of_who_has_no_part_any_more_are_forgotten() -> None:
    keys = tuple(f"{part_of(name)}a" for name in ("db", "db-2", "web", "gone"))
    services = {"db": having("db"), "web": make_service(make_spec("web"))}
    assert unneeded_keys(services, keys) == keys[1:]
    assert unneeded_keys({}, [f"{PARTS}odd"]) == (f"{PARTS}odd",)


def test_who_gets_the_name_of_a_deleted_service_finds_nothing_of_it() -> None:
    """Not after a while: the keys of another cluster would keep a new one from its start."""

    async def story(cluster: Cluster) -> None:
        store, web = cluster.seats["fra-c1"].store, Change(services=(make_spec("web", 1),))
        await cluster.operations.apply(web)
        key = f"{part_of('web')}initialize"
        await store.commit([Put(key=key, value=b"x"), Put(key=f"{PARTS}web-2/a", value=b"x")])
        await cluster.operations.delete("web")
        await cluster.operations.apply(web)
        assert [each.key for each in (await store.list(PARTS)).entries] == [f"{PARTS}web-2/a"]

    simulate(story)


def test_a_part_goes_with_its_service_and_no_other() -> None:
    many = [Put(key=f"{part_of('gone')}{at}", value=b"x") for at in range(MAX_OPERATIONS)]

    async def story(cluster: Cluster) -> None:
        await cluster.operations.apply(Change(services=(make_spec("web", 1),)))
        for at in range(0, len(many), 50):
            await cluster.seats["fra-c1"].store.commit(many[at : at + 50])
        left = len(many)

        async def count() -> int:
            return len((await cluster.seats["fra-c1"].store.list(PARTS)).entries)

        assert await count() == left
        await cluster.clock.sleep(2 * PRUNE_SECONDS)
        assert await count() == 0
        assert set(cluster.stored().services) == {"web"}

    simulate(story)
