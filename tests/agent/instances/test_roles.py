"""Roles follow who says that it has them, on one node: routes, status, events, problems."""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network

from pltfrms.model.running.balancer import BalancedService
from pltfrms.model.running.machine import PROTO_BIRD, ROLE_TABLE, Route
from pltfrms.model.running.plan import Reason, Target
from pltfrms.model.running.state import Phase, RoleState
from pltfrms.model.services.roles import RolePrefixes, claim_of
from pltfrms.model.services.service import Probe, ProbeKind, RoleSpec
from tests.agent.bench import ONE, PREFIX, TWO, WEB, Bench, devices, make_target, routes
from tests.simulation.virtual import run_virtual

WRITER = "198.51.100.129/32"
READER = "198.51.100.200/32"
QUESTION = Probe(
    kind=ProbeKind.HTTP,
    port=8008,
    path="/primary",
    interval_ms=200,
    fall=1,
    rise=1,
    only_announces=True,
    epoch="X-Epoch",
)
SPECS = (
    RoleSpec(
        name="reader",
        probe=replace(QUESTION, path="/replica", epoch=""),
        shared=True,
    ),
    RoleSpec(name="writer", probe=QUESTION),
)
DB = replace(
    WEB,
    spec=replace(WEB.spec, roles=SPECS),
    roles=(
        RolePrefixes(name="reader", prefix4=IPv4Network(READER), prefix6=None),
        RolePrefixes(
            name="writer",
            prefix4=IPv4Network(WRITER),
            prefix6=IPv6Network("2001:db8:100::81/128"),
        ),
    ),
)


def target(generation: int = 1) -> Target:
    return replace(make_target(generation, ONE, TWO), services=(DB,))


def primary(bench: Bench, *names: str, epoch: int = 5) -> None:
    """Let these say that they are primary, and the others that they are not."""
    workload = bench.workload
    workload.unwell = {
        f"{each.id} {path}"
        for each in (ONE, TWO)
        for path in (("/replica",) if each.id in names else ("/primary",))
    }
    workload.epochs = dict.fromkeys(names, epoch)


def elsewhere(bench: Bench, claim: int, *, there: bool = True) -> None:
    """Let another node claim the role of the writer, or not any more."""
    before = Route(prefix=ip_network(WRITER), table=ROLE_TABLE, proto=PROTO_BIRD, metric=claim)
    (bench.network.set_route if there else bench.network.delete_route)(before)


def state(bench: Bench, name: str, role: str = "writer") -> tuple[RoleState, Reason]:
    found = {each.role: each for each in bench.instances[name].roles}[role]
    return found.state, found.reason


def test_the_route_follows_the_role_and_nobody_is_restarted() -> None:
    async def story() -> None:
        bench = Bench()
        primary(bench, ONE.id)
        async with bench.life():
            await bench.order(target())
            assert await devices(bench.network, WRITER) == {"i1"}
            assert await devices(bench.network, READER) == {"i2"}
            assert await devices(bench.network, PREFIX) == {"i1", "i2"}
            (route,) = await routes(bench.network, WRITER)
            assert route.metric == claim_of(5, 1, 1)
            primary(bench, TWO.id, epoch=6)

            async def moved() -> bool:
                return await devices(bench.network, WRITER) == {"i2"}

            assert await bench.seconds_until(moved) < 0.5
            assert state(bench, TWO.id) == (RoleState.HELD, Reason.ROLE_SAID)
            await bench.passes(60.0)
            assert [deed.what for deed in bench.workload.deeds] == ["start", "start"]
            taken = bench.controllers.events("role taken")
            assert f"{TWO.id}: writer held, epoch 6: {Reason.ROLE_SAID.sentence}" in taken

    run_virtual(story())


def test_who_hangs_has_it_no_more_and_nobody_stands_by() -> None:
    async def story() -> None:
        bench = Bench()
        primary(bench, ONE.id)
        async with bench.life():
            await bench.order(target())
            bench.workload.hang(ONE.id)

            async def gone() -> bool:
                return not await routes(bench.network, WRITER)

            assert await bench.seconds_until(gone) < 0.6
            assert state(bench, ONE.id) == (RoleState.NONE, Reason.ROLE_NOT_SAID)

    run_virtual(story())


def test_who_ends_has_it_no_more() -> None:
    async def story() -> None:
        bench = Bench()
        primary(bench, ONE.id)
        async with bench.life():
            await bench.order(target())
            await bench.order(replace(make_target(2, TWO), services=(DB,)), 0.5)
            assert await devices(bench.network, WRITER) == set()

    run_virtual(story())


def test_who_drains_has_what_it_said_and_no_more() -> None:
    """A replica that is to go claims nothing, and a primary keeps its role until it ends."""

    async def story(role: RoleSpec) -> None:
        bench = Bench()
        primary(bench, TWO.id)
        async with bench.life():
            db = replace(DB, spec=replace(DB.spec, roles=(role,)))
            balanced = (BalancedService(id=1, name="web", prefix4=DB.prefix4, prefix6=None),)
            told = replace(target(), services=(db,), balanced=balanced)
            await bench.order(told)
            for each in (ONE, TWO):
                bench.workload.connect(each.id, 1)
            await bench.order(replace(told, generation=2, allocations=()))
            assert {each.phase for each in bench.instances.values()} == {Phase.DRAINING}
            assert await devices(bench.network, WRITER) == {"i2"}
            assert len(bench.controllers.events("role taken")) == 1
            assert bench.controllers.events("role lost") == []

    for role in (SPECS[1], replace(SPECS[1], probe=replace(QUESTION, epoch=""))):
        run_virtual(story(role))


def test_of_two_versions_that_are_asked_otherwise_one_has_the_role() -> None:
    async def story() -> None:
        bench = Bench()
        primary(bench, ONE.id, TWO.id)
        async with bench.life():
            asked = replace(QUESTION, epoch="")
            specs = [
                replace(DB.spec, roles=(RoleSpec(name="writer", probe=each),))
                for each in (asked, replace(asked, interval_ms=300))
            ]
            old, new = (
                replace(DB, spec=spec, version=number) for number, spec in enumerate(specs, 1)
            )
            await bench.order(
                replace(
                    target(),
                    services=(new,),
                    earlier=(old,),
                    allocations=(ONE, replace(TWO, version=2)),
                )
            )
            assert await devices(bench.network, WRITER) == {"i1"}
            assert state(bench, TWO.id) == (RoleState.YIELDED, Reason.ROLE_CONTESTED)

    run_virtual(story())


def test_a_service_that_is_made_anew_begins_with_the_epochs_that_it_says() -> None:
    async def story() -> None:
        bench = Bench()
        primary(bench, ONE.id, epoch=9)
        async with bench.life():
            await bench.order(target())
            await bench.order(replace(target(2), services=(), allocations=()))
            assert bench.instances == {}
            primary(bench, ONE.id, epoch=1)
            await bench.order(target(3))
            assert await devices(bench.network, WRITER) == {"i1"}

    run_virtual(story())


def test_an_old_primary_gives_way_is_a_problem_and_does_not_come_back() -> None:
    async def story() -> None:
        bench = Bench()
        primary(bench, ONE.id)
        async with bench.life():
            await bench.order(target())
            elsewhere(bench, claim_of(6, 2, 1))
            await bench.passes(2.0)
            assert await devices(bench.network, WRITER) == set()
            assert state(bench, ONE.id) == (RoleState.YIELDED, Reason.ROLE_SURPASSED)
            assert any(f"role writer of {ONE.id}" in each for each in bench.status.problems)
            elsewhere(bench, claim_of(6, 2, 1), there=False)
            await bench.passes(5.0)
            assert await devices(bench.network, WRITER) == set()
            primary(bench, ONE.id, epoch=7)
            await bench.passes(1.0)
            assert await devices(bench.network, WRITER) == {"i1"}
            assert bench.status.problems == ()

    run_virtual(story())


def test_an_agent_that_starts_anew_takes_no_role_away_that_still_is_said() -> None:
    async def story() -> None:
        bench = Bench()
        primary(bench, ONE.id)
        async with bench.life():
            await bench.order(target())
            before = await routes(bench.network, WRITER)
        bench.controllers.alive = False
        bench.network.sentences.clear()
        async with bench.life():
            assert await routes(bench.network, WRITER) == before
            assert not [said for said in bench.network.sentences if "198.51.100.129" in said]
            primary(bench)
            await bench.passes(1.0)
            assert await devices(bench.network, WRITER) == set()

    run_virtual(story())
