"""Instances answer on the ports of their spec, also of one that changes while they run."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

import pytest

from pltfrms.agent.instances.refusals import LOOK_SECONDS
from pltfrms.errors import UnavailableError
from pltfrms.model.running.balancer import BalancedService
from pltfrms.model.running.machine import Instance
from pltfrms.model.running.plan import Target
from pltfrms.model.services.container import Adopted, Behind
from pltfrms.model.services.service import PortClients, Run
from tests.agent.bench import ONE, TWO, WEB, Bench, make_target
from tests.simulation.virtual import run_virtual

API = BalancedService(id=7, name="api", prefix4=None, prefix6=None)


def target(generation: int, *ports: str, clients: tuple[str, ...] = ()) -> Target:
    limited = tuple(PortClients(port=each, clients=clients) for each in ports[-1:] if clients)
    web = replace(WEB, spec=replace(WEB.spec, ports=ports, clients=limited))
    return replace(make_target(generation, ONE, TWO), services=(web,), balanced=(API,))


def said(bench: Bench, allocation: str = ONE.id) -> str:
    rules = bench.workload.ports(allocation)
    return rules.text if rules else ""


def test_ports_take_hold_at_the_start_and_change_without_a_restart() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, "80/tcp"))
            assert "tcp dport 80 accept" in said(bench)
            await bench.order(target(2, "80/tcp", "53/udp"))
            for each in (ONE, TWO):
                assert "udp dport 53 accept" in said(bench, each.id)
            await bench.order(target(3))
            assert said(bench) == ""
            assert [deed.what for deed in bench.workload.deeds] == ["start", "start"]

    run_virtual(story())


def test_a_client_is_known_by_the_id_that_its_service_has_now() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, "80/tcp", clients=("service:api",)))
            assert ":0:7:: accept" in said(bench)
            gone = replace(target(2, "80/tcp", clients=("service:api",)), balanced=())
            await bench.order(gone)
            assert "ip6 saddr" not in said(bench)

    run_virtual(story())


def test_what_cannot_be_changed_stays_is_a_problem_and_is_tried_again() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, "80/tcp"))
            before, bench.workload.refuses_ports = said(bench), "nft is not installed"
            await bench.order(target(2, "81/tcp"))
            assert said(bench) == before
            assert f"ports of {ONE.id}: nft is not installed" in bench.status.problems
            bench.workload.refuses_ports = ""
            await bench.passes(7.0)
            assert "tcp dport 81 accept" in said(bench)
            assert bench.status.problems == ()
            assert all(each.phase == "ready" for each in bench.instances.values())

    run_virtual(story())


def test_a_table_that_others_flush_is_there_again_while_nothing_else_changes() -> None:
    async def story() -> None:
        bench = Bench()
        there = (Behind(addresses=(ip_address("192.168.122.10"),)),)
        run = Run(cpu=0.0, memory_bytes=0, adopted=Adopted(), elsewhere=there)
        web = replace(WEB, spec=replace(WEB.spec, run=run, ports=("80/tcp",)))
        async with bench.life():
            await bench.order(replace(make_target(1, ONE), services=(web,)))
            before = said(bench)
            assert "dnat ip to 192.168.122.10" in before
            for _ in range(2):
                bench.workload.flush_ports(ONE.id)
                assert said(bench) == ""
                await bench.passes(7.0)
                assert said(bench) == before
            assert [deed.what for deed in bench.workload.deeds] == ["start"]
            assert bench.instances[ONE.id].phase == "ready"

    run_virtual(story())


def test_the_next_life_of_the_agent_changes_nothing_without_controllers() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, "80/tcp"))
            before = said(bench)
        bench.controllers.alive = False
        async with bench.life():
            assert said(bench) == before

    run_virtual(story())


def test_what_is_refused_is_reported_each_minute() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, "80/tcp"))
            assert bench.instances[ONE.id].refused == {}
            bench.workload.refusals = {"not-declared": 3, "not-a-client": 0}
            await bench.passes(LOOK_SECONDS + 6.0)
            assert bench.instances[ONE.id].refused == {"not-declared": 3}

    run_virtual(story())


def test_who_cannot_be_asked_keeps_its_counts_and_takes_nobody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()

    async def refused(instance: Instance) -> Mapping[str, int]:
        if instance.allocation == ONE.id:
            raise UnavailableError("nft is not installed")
        return {"not-declared": 30}

    async def story() -> None:
        async with bench.life():
            await bench.order(target(1, "80/tcp"))
            bench.workload.refusals = {"not-declared": 3}
            await bench.passes(LOOK_SECONDS + 6.0)
            with monkeypatch.context() as patched:
                patched.setattr(bench.workload, "refused", refused)
                await bench.passes(LOOK_SECONDS + 6.0)
            assert bench.instances[ONE.id].refused == {"not-declared": 3}
            assert bench.instances[TWO.id].refused == {"not-declared": 30}
            said = f"refused packets: {ONE.id}: nft is not installed"
            assert bench.status.problems == (said,)
            await bench.passes(LOOK_SECONDS + 6.0)
            assert bench.instances[TWO.id].refused == {"not-declared": 3}
            assert not bench.status.problems

    run_virtual(story())


def test_a_stranger_now_and_then_is_no_news() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, "80/tcp"))
            told = set[int]()
            for count in range(1000, 1100, 30):
                bench.workload.refusals = {"not-declared": count}
                await bench.passes(LOOK_SECONDS + 6.0)
                told.add(bench.instances[ONE.id].refused.get("not-declared", 0))
            assert told == {1000}

    run_virtual(story())
