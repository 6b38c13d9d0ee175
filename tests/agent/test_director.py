"""The director of one machine: routes in, tables out, and what it does when it cannot."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from ipaddress import IPv6Address, ip_network

from pltfrms.agent.director.director import (
    AUDIT_SECONDS,
    BEAT_SECONDS,
    Director,
)
from pltfrms.agent.director.guests import GUESTS_SECONDS
from pltfrms.agent.director.tables import RETRY_SECONDS
from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.drivers.balancer.memory import MemoryBalancer
from pltfrms.errors import UnavailableError
from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.running.balancer import BalancedService, BalancerMode, BalancerTable, Hook
from pltfrms.model.running.machine import (
    INSTANCE_TABLE,
    REMOTE_TABLE,
    Route,
)
from pltfrms.model.running.plan import Target
from tests.agent.bench import PLATFORM, WEB, Bench
from tests.simulation.virtual import run_virtual

SERVICE = BalancedService(id=WEB.id, name=WEB.name, prefix4=WEB.prefix4, prefix6=WEB.prefix6)


def instance(slot: int, node: str = "fra-n1") -> IPv6Address:
    return PLATFORM.instance6(PLATFORM.machine(node), WEB.id, slot)


def ready(slot: int, metric: int = 1010) -> Route:
    return Route(
        prefix=ip_network(instance(slot)), table=INSTANCE_TABLE, proto=12, metric=metric
    )


DRAIN = Drain(datacenter="ams", since_ms=0, wait_ms=0)
OTHERS = Route(prefix=ip_network("198.51.100.9/32"), table=REMOTE_TABLE, proto=12, metric=32)
"""Another datacenter tells an edge of its services: it is not cut off."""


class Directed(Bench):
    """A machine with its director alone."""

    def __init__(self, machine: str = "fra-e1") -> None:
        super().__init__(machine)
        self.problems = Problems(lambda: None)
        self.director = self.make_director()
        self.director.want(self.target())
        self.network.set_route(OTHERS)

    @property
    def kernel(self) -> MemoryBalancer:
        return self.balancer

    def make_director(self) -> Director:
        journal = Journal(self.machine, self.clock, lambda: None)
        return Director(self.make_world(), journal, self.problems)

    def target(self, *, director: bool = True) -> Target:
        platform = replace(PLATFORM, director=director)
        return Target(
            machine=self.machine, generation=1, platform=platform, balanced=(SERVICE,)
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.director.begin()
        await self.director.attach({})
        task = asyncio.ensure_future(self.director.run())
        try:
            await self.clock.sleep(0.05)
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def served(self) -> set[IPv6Address]:
        table = self.kernel.tables.get(WEB.id)
        return set(table.addresses) if table else set()


def test_a_route_becomes_a_candidate_and_goes_with_it() -> None:
    async def scenario() -> None:
        machine = Directed()
        async with machine.running():
            machine.network.set_route(ready(1))
            machine.network.set_route(ready(2))
            await machine.clock.sleep(0.02)
            assert machine.served() == {instance(1), instance(2)}
            machine.network.delete_route(ready(2))
            await machine.clock.sleep(0.03)
            assert machine.served() == {instance(1)}
            machine.network.delete_route(ready(1))
            await machine.clock.sleep(0.03)
            assert machine.kernel.tables == {}

    run_virtual(scenario())


def test_who_goes_does_not_wait_until_all_who_are_new_have_come() -> None:
    count = 20
    services = tuple(replace(SERVICE, id=1000 + n, name=f"s{n}") for n in range(count))

    async def scenario() -> None:
        machine = Directed()
        machine.network.set_route(ready(1))
        machine.network.set_route(ready(2))
        machine.director.want(replace(machine.target(), balanced=(SERVICE, *services)))
        put, done = machine.kernel.put, list[str]()

        def watched(table: BalancerTable) -> None:
            put(table)
            done.append(table.service.name)
            if len(done) == count // 2:
                machine.network.delete_route(ready(2))

        async with machine.running():
            machine.kernel.put = watched  # type: ignore[method-assign]
            for service in services:
                address = PLATFORM.instance6(PLATFORM.machine("fra-n1"), service.id, 1)
                machine.network.set_route(replace(ready(1), prefix=ip_network(address)))
            await machine.clock.sleep(1)
        assert machine.served() == {instance(1)}
        assert set(done) == {SERVICE.name, *(each.name for each in services)}
        assert len(done) == 2 + count, "it drains first, and then it is gone"
        assert done.index(SERVICE.name) <= count // 2 + 2, done

    run_virtual(scenario())


def test_it_beats_only_while_it_can_look() -> None:
    async def scenario() -> None:
        machine = Directed()
        async with machine.running():
            await machine.clock.sleep(10)
            assert machine.kernel.beat_age_ms() <= BEAT_SECONDS * 1000
            machine.network.silence = "no netlink"
            await machine.clock.sleep(10)
            assert machine.kernel.beat_age_ms() >= 9000 - AUDIT_SECONDS * 1000
            assert "no netlink" in " ".join(machine.problems.sentences)

    run_virtual(scenario())


OTHER = replace(SERVICE, id=1000, name="db")


def ready_other(slot: int = 1) -> Route:
    address = PLATFORM.instance6(PLATFORM.machine("fra-n1"), OTHER.id, slot)
    return replace(ready(slot), prefix=ip_network(address))


def test_a_service_that_is_refused_is_named_and_the_others_go_on() -> None:
    async def scenario() -> None:
        machine = Directed()
        machine.kernel.most_tables = 1
        machine.director.want(replace(machine.target(), balanced=(SERVICE, OTHER)))
        machine.network.set_route(ready(1))
        machine.network.set_route(ready_other())
        async with machine.running():
            await machine.clock.sleep(60)
            assert machine.kernel.beat_age_ms() <= BEAT_SECONDS * 1000
            assert machine.served() == {instance(1)}
            machine.network.set_route(ready(2))
            await machine.clock.sleep(0.1)
            assert machine.served() == {instance(1), instance(2)}
            (problem,) = machine.problems.sentences
            assert "db: left to the kernel's routes, as the director balances" in problem
            assert "db: left to" in machine.director.view().detail
            machine.network.delete_route(ready(1))
            machine.network.delete_route(ready(2))
            await machine.clock.sleep(0.1)
            assert machine.kernel.tables.keys() == {OTHER.id}, "there is room now"
            assert machine.problems.sentences == ()

    run_virtual(scenario())


def test_a_refused_service_keeps_no_table_that_is_not_right_any_more() -> None:
    async def scenario() -> None:
        machine = Directed()
        machine.director.want(replace(machine.target(), balanced=(SERVICE, OTHER)))
        machine.network.set_route(ready(1))
        machine.network.set_route(ready_other())
        put, tries = machine.kernel.put, list[float]()

        def refusing(table: BalancerTable) -> None:
            if table.service == SERVICE:
                tries.append(machine.clock.monotonic())
                raise ZeroDivisionError
            put(table)

        async with machine.running():
            machine.kernel.put = refusing  # type: ignore[method-assign]
            machine.network.set_route(ready(2))
            await machine.clock.sleep(RETRY_SECONDS / 2)
            assert machine.kernel.tables.keys() == {OTHER.id}
            assert machine.kernel.beat_age_ms() <= BEAT_SECONDS * 1000
            assert len(tries) == 1, "nothing has changed since"
            machine.kernel.put = put  # type: ignore[method-assign]
            await machine.clock.sleep(RETRY_SECONDS)
            assert machine.served() == {instance(1), instance(2)}

    run_virtual(scenario())


def test_a_refused_service_that_cannot_be_taken_away_stops_the_beat() -> None:
    async def scenario() -> None:
        machine = Directed()
        machine.network.set_route(ready(1))
        async with machine.running():
            machine.kernel.put = _no_put  # type: ignore[method-assign]
            machine.kernel.remove = _no_remove  # type: ignore[method-assign]
            machine.network.set_route(ready(2))
            await machine.clock.sleep(10)
            assert machine.kernel.beat_age_ms() >= 9000

    run_virtual(scenario())


def _no_put(table: BalancerTable) -> None:
    raise UnavailableError(f"no {table.service.name}")


def _no_remove(service_id: int) -> None:
    raise UnavailableError(f"no removal of {service_id}")


def test_a_device_that_is_refused_is_named_and_stops_no_beat() -> None:
    async def scenario() -> None:
        machine = Directed("fra-n1")
        machine.network.add_device("i1")
        machine.network.add_device("i2")
        machine.kernel.refused_devices["i1"] = "too many programs"
        async with machine.running():
            await machine.director.attach({"i1": instance(1), "i2": instance(2)})
            await machine.clock.sleep(10)
            assert machine.director.reachable == frozenset({"i2"})
            assert machine.kernel.beat_age_ms() <= BEAT_SECONDS * 1000
            assert machine.problems.sentences == (
                "director devices: refused i1: too many programs",
            )

    run_virtual(scenario())


def test_a_kernel_that_cannot_is_said_and_asked_again() -> None:
    async def scenario() -> None:
        machine = Directed()
        machine.kernel.refusal = "the kernel is too old"
        machine.network.set_route(ready(1))
        async with machine.running():
            assert machine.director.complaint == "the kernel is too old"
            assert machine.director.view().mode is BalancerMode.KERNEL
            assert machine.director.reachable == frozenset()
            machine.kernel.refusal = ""
            await machine.clock.sleep(RETRY_SECONDS + 1)
            assert not machine.director.complaint
            assert machine.served() == {instance(1)}

    run_virtual(scenario())


def test_the_operator_can_switch_it_off_and_on() -> None:
    async def scenario() -> None:
        machine = Directed()
        machine.network.set_route(ready(1))
        async with machine.running():
            assert machine.served()
            machine.director.want(machine.target(director=False))
            await machine.clock.sleep(0.1)
            assert machine.kernel.settings is None
            assert not machine.kernel.tables
            assert not machine.kernel.hooks
            assert machine.director.complaint == ""
            machine.director.want(machine.target())
            await machine.clock.sleep(RETRY_SECONDS + 1)
            assert machine.served()
            assert machine.kernel.hooks

    run_virtual(scenario())


def test_a_new_agent_leaves_what_it_finds_until_it_knows_better() -> None:
    async def scenario() -> None:
        machine = Directed("fra-n1")
        machine.network.set_route(ready(1))
        machine.network.add_device("i1")
        async with machine.running():
            await machine.director.attach({"i1": instance(1)})
        hooks, tables = dict(machine.kernel.hooks), dict(machine.kernel.tables)
        assert hooks
        assert tables
        machine.director = machine.make_director()
        machine.director.want(machine.target())
        await machine.director.begin()
        task = asyncio.ensure_future(machine.director.run())
        await machine.clock.sleep(3)
        assert machine.director.reachable is None, "nobody has said yet which instances run"
        assert machine.kernel.hooks == hooks
        assert machine.kernel.tables == tables
        await machine.director.attach({"i1": instance(1)})
        assert machine.director.reachable == frozenset({"i1"})
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_virtual(scenario())


def test_an_instance_whose_device_is_not_there_is_not_reachable() -> None:
    async def scenario() -> None:
        machine = Directed("fra-n1")
        machine.network.add_device("i1")
        async with machine.running():
            await machine.director.attach({"i1": instance(1), "i2": instance(2)})
            assert machine.director.reachable == frozenset({"i1"})

    run_virtual(scenario())


def test_an_instance_is_not_reachable_because_one_before_it_had_its_device() -> None:
    async def scenario() -> None:
        machine = Directed("fra-n1")
        machine.network.add_device("i1")
        async with machine.running():
            await machine.director.attach({"i1": instance(1)})
            machine.director.see({})
            assert machine.director.reachable == frozenset()

    run_virtual(scenario())


def test_an_instance_that_ends_while_devices_are_attached_is_not_reachable() -> None:
    async def scenario() -> None:
        machine = Directed("fra-n1")
        machine.network.add_device("i1")
        async with machine.running():
            attach = machine.kernel.attach

            async def slow(hooks: Sequence[Hook]) -> tuple[str, ...]:
                done = await attach(hooks)
                await machine.clock.sleep(0.5)
                return done

            machine.kernel.attach = slow  # type: ignore[method-assign]
            attaching = asyncio.ensure_future(machine.director.attach({"i1": instance(1)}))
            await machine.clock.sleep(0.2)
            machine.director.see({})
            machine.director.see({"i1": instance(1)})
            await attaching
            assert machine.director.reachable == frozenset()

    run_virtual(scenario())


def test_a_route_of_a_service_that_no_target_names_is_left_alone() -> None:
    async def scenario() -> None:
        machine = Directed()
        machine.network.set_route(ready(1))
        machine.director.want(replace(machine.target(), balanced=()))
        async with machine.running():
            assert not machine.kernel.tables
            machine.director.want(machine.target())
            await machine.clock.sleep(0.05)
            assert machine.served() == {instance(1)}

    run_virtual(scenario())


def test_the_view_shows_shares_states_and_devices() -> None:
    async def scenario() -> None:
        machine = Directed()
        machine.network.set_route(ready(1))
        machine.network.set_route(ready(2, metric=2010))
        async with machine.running():
            view = machine.director.view()
            assert view.mode is BalancerMode.DIRECTOR
            (table,) = view.tables
            assert table.shares == (1.0, 0.0)
            assert [each.state.name for each in table.candidates] == ["ACTIVE", "DRAINING"]
            assert {hook.device for hook in view.devices} >= {"fab-a", "fab-b"}
            assert machine.director.row(WEB.id, 0) == (instance(1), instance(2))

    run_virtual(scenario())


def test_guests_stay_for_a_while_after_the_drain_that_brought_them() -> None:
    async def scenario() -> None:
        machine = Directed()
        guest = instance(7, "ams-n1")
        async with machine.running():
            machine.network.set_route(ready(1))
            moving = Interventions(drains=(DRAIN,))
            target = replace(machine.target(), guests=(guest,), interventions=moving)
            machine.director.want(target)
            await machine.clock.sleep(0.05)
            assert machine.served() == {instance(1), guest}
            assert machine.director.row(WEB.id, 0) == (instance(1),)
            machine.director.want(machine.target())
            await machine.clock.sleep(GUESTS_SECONDS - 2)
            assert machine.served() == {instance(1), guest}
            machine.network.delete_route(ready(1))
            await machine.clock.sleep(0.5)
            assert machine.kernel.tables == {}, "guests alone make no table"
            machine.network.set_route(ready(1))
            await machine.clock.sleep(4)
            assert machine.served() == {instance(1)}

    run_virtual(scenario())


def test_guests_go_after_a_drain_that_ends_by_itself() -> None:
    async def scenario() -> None:
        machine = Directed()
        guest = instance(7, "ams-n1")
        until_ms = machine.clock.unix_ms() + 10_000
        drain = replace(DRAIN, until_ms=until_ms)
        drained = Interventions(drains=(drain,))
        async with machine.running():
            machine.network.set_route(ready(1))
            target = replace(machine.target(), guests=(guest,), interventions=drained)
            machine.director.want(target)
            await machine.clock.sleep(10 + GUESTS_SECONDS - 2)
            assert machine.served() == {instance(1), guest}
            await machine.clock.sleep(4)
            assert machine.served() == {instance(1)}

    run_virtual(scenario())
