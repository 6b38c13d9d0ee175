"""The director follows what the kernel tells of single routes; it checks the table beside."""

import asyncio
import tracemalloc
from dataclasses import replace
from ipaddress import IPv6Address, ip_network

import pytest

from pltfrms.agent.director import tables
from pltfrms.agent.director.candidates import GONE_SECONDS, Candidates
from pltfrms.agent.director.director import AUDIT_SECONDS, BEAT_SECONDS, REST_SECONDS
from pltfrms.drivers.kernel.memory import MemoryHostRoutes
from pltfrms.model.running.balancer import BalancedService, BalancerTable, Candidate
from pltfrms.model.running.machine import Nexthop, Route
from pltfrms.planner.balancing.rendezvous import make_table, row_of
from tests.agent.bench import PLATFORM
from tests.agent.test_director import SERVICE, Directed, instance, ready
from tests.simulation.virtual import run_virtual

AT_ONCE = 0.001


def services(count: int) -> list[BalancedService]:
    return [replace(SERVICE, id=1000 + n, name=f"s{n}") for n in range(count)]


def ready_for(service: BalancedService, slot: int) -> Route:
    address = PLATFORM.instance6(PLATFORM.machine("fra-n1"), service.id, slot)
    return replace(ready(slot), prefix=ip_network(address))


def busy(count: int, slots: range) -> Directed:
    """A machine that balances many services beside the one that tests look at."""
    machine, others = Directed(), services(count)
    machine.director.want(replace(machine.target(), balanced=(SERVICE, *others)))
    for slot in slots:
        for service in (SERVICE, *others):
            machine.network.set_route(ready_for(service, slot))
    return machine


def slow_audits(monkeypatch: pytest.MonkeyPatch, machine: Directed, seconds: float) -> None:
    audit = MemoryHostRoutes.audit

    async def slow(routes: MemoryHostRoutes) -> None:
        await machine.clock.sleep(seconds)
        await audit(routes)

    monkeypatch.setattr(MemoryHostRoutes, "audit", slow)


def firsts(table: BalancerTable) -> set[IPv6Address]:
    return {row_of(table, row)[0] for row in range(100)}


def test_a_route_that_is_only_replaced_is_never_missed() -> None:
    async def scenario() -> None:
        machine = Directed()
        machine.network.set_route(ready(1))
        machine.network.set_route(ready(2))
        async with machine.running():
            tables = [machine.kernel.tables[SERVICE.id]]
            put = machine.kernel.put

            def watched(table: BalancerTable) -> None:
                tables.append(table)
                put(table)

            machine.kernel.put = watched  # type: ignore[method-assign]
            machine.network.delete_route(ready(2))
            await machine.clock.sleep(GONE_SECONDS / 2)
            assert firsts(tables[-1]) == {instance(1)}, "nothing new for who may be gone"
            machine.network.set_route(ready(2, metric=1010))
            await machine.clock.sleep(GONE_SECONDS / 2)
            assert tables[-1] == tables[0]
            machine.network.delete_route(ready(2))
            machine.network.set_route(ready(2, metric=2010))
            await machine.clock.sleep(0.05)
            assert all(set(table.addresses) == {instance(1), instance(2)} for table in tables)
            assert len(tables) == 4, "both parts were heard at once"
            assert firsts(tables[-1]) == {instance(1)}

    run_virtual(scenario())


def test_a_change_is_followed_while_the_table_is_being_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        machine = Directed()
        machine.network.set_route(ready(1))
        machine.network.set_route(ready(2))
        async with machine.running():
            slow_audits(monkeypatch, machine, AUDIT_SECONDS - 2 * BEAT_SECONDS)
            for _ in range(20):
                await machine.clock.sleep(0.7)
                machine.network.delete_route(ready(2))
                await machine.clock.sleep(AT_ONCE)
                assert firsts(machine.kernel.tables[SERVICE.id]) == {instance(1)}
                await machine.clock.sleep(GONE_SECONDS)
                assert machine.served() == {instance(1)}
                machine.network.set_route(ready(2))
                await machine.clock.sleep(0.01)
                assert machine.served() == {instance(1), instance(2)}
                assert machine.kernel.beat_age_ms() <= BEAT_SECONDS * 1000

    run_virtual(scenario())


def test_a_change_costs_only_the_table_of_its_service(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        machine = busy(30, range(1, 3))
        async with machine.running():
            await machine.clock.sleep(1)
            looked, of = list[int](), Candidates.of

            def counted(candidates: Candidates, number: int) -> tuple[Candidate, ...]:
                looked.append(number)
                return of(candidates, number)

            monkeypatch.setattr(Candidates, "of", counted)
            machine.network.delete_route(ready(2))
            await machine.clock.sleep(3 * BEAT_SECONDS)
            assert looked == [SERVICE.id] * 2, "drains, and is gone"

    run_virtual(scenario())


def test_what_nobody_has_told_is_found_within_a_second() -> None:
    async def scenario() -> None:
        machine = Directed()
        machine.network.set_route(ready(1))
        machine.network.set_route(ready(2))
        async with machine.running():
            machine.network.deaf = True
            machine.network.delete_route(ready(2))
            machine.network.set_route(ready(3))
            await machine.clock.sleep(BEAT_SECONDS + 0.1)
            assert machine.served() == {instance(1), instance(3)}

    run_virtual(scenario())


def test_when_something_told_was_lost_the_table_is_read_at_once() -> None:
    async def scenario() -> None:
        machine = Directed()
        machine.network.set_route(ready(1))
        machine.network.set_route(ready(2))
        async with machine.running():
            await machine.clock.sleep(REST_SECONDS)
            machine.network.deaf = True
            machine.network.delete_route(ready(2))
            await machine.clock.sleep(0.1)
            assert machine.served() == {instance(1), instance(2)}, "nobody has told"
            machine.network.overrun()
            await machine.clock.sleep(AT_ONCE)
            assert firsts(machine.kernel.tables[SERVICE.id]) == {instance(1)}
            await machine.clock.sleep(GONE_SECONDS)
            assert machine.served() == {instance(1)}

    run_virtual(scenario())


def test_an_instance_that_loses_one_of_two_ways_stays() -> None:
    async def scenario() -> None:
        machine = Directed()
        hops = (Nexthop(device="fab-a"), Nexthop(device="fab-b"))
        machine.network.set_route(ready(1))
        machine.network.set_route(replace(ready(2), nexthops=hops))
        async with machine.running():
            before = machine.kernel.tables[SERVICE.id]
            machine.network.remove_device("fab-a")
            await machine.clock.sleep(2 * BEAT_SECONDS)
            assert machine.kernel.tables[SERVICE.id] is before
            machine.network.remove_device("fab-b")
            await machine.clock.sleep(AT_ONCE)
            assert firsts(machine.kernel.tables[SERVICE.id]) == {instance(1)}

    run_virtual(scenario())


def test_an_agent_begun_before_the_table_was_read_takes_no_table_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        machine = Directed()
        machine.network.set_route(ready(1))
        async with machine.running():
            pass
        before = dict(machine.kernel.tables)
        assert before
        slow_audits(monkeypatch, machine, 4)
        machine.director = machine.make_director()
        machine.director.want(machine.target())
        async with machine.running():
            await machine.clock.sleep(3)
            assert machine.kernel.tables == before
            await machine.clock.sleep(3)
            assert machine.kernel.tables == before
            assert machine.kernel.beat_age_ms() <= BEAT_SECONDS * 1000

    run_virtual(scenario())


def test_tables_right_without_a_ranking_that_was_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "RANKINGS_BYTES", 0)

    async def scenario() -> None:
        machine = busy(3, range(1, 5))
        async with machine.running():
            await machine.clock.sleep(1)
            machine.network.delete_route(ready(2))
            await machine.clock.sleep(AT_ONCE)
            assert instance(2) not in firsts(machine.kernel.tables[SERVICE.id])
            await machine.clock.sleep(GONE_SECONDS)
            view = next(t for t in machine.director.view().tables if t.service == SERVICE)
            expected, _ = make_table(SERVICE, view.candidates)
            assert machine.kernel.tables[SERVICE.id] == expected

    run_virtual(scenario())


def test_what_is_remembered_of_tables_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table has 256 KiB; it is the kernel that has it."""
    monkeypatch.setattr(tables, "RANKINGS_BYTES", 1 << 20)

    async def scenario() -> None:
        machine = busy(100, range(1, 7))
        put = machine.kernel.put

        def without_columns(table: BalancerTable) -> None:
            put(replace(table, columns=table.columns[:0]))

        monkeypatch.setattr("pltfrms.drivers.balancer.memory.check_table", lambda _: None)
        machine.kernel.put = without_columns  # type: ignore[method-assign]
        tracemalloc.start()
        async with machine.running():
            while len(machine.kernel.tables) < 101:
                await machine.clock.sleep(0.1)
            await asyncio.sleep(0)
            size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert size < (1 << 20) + 101 * 16_000

    run_virtual(scenario())
