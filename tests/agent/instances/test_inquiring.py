"""Instances are asked beside their probes while a target says so, and else are not."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from pltfrms.drivers.workload.memory import Behaviour, MemoryProber
from pltfrms.model.addresses import Address
from pltfrms.model.running.inquiries import Inquiry, Tally
from pltfrms.model.running.machine import Instance, ProbeAnswer
from pltfrms.model.running.plan import Target
from pltfrms.model.services.service import Probe, ProbeKind
from tests.agent.bench import ONE, TWO, Bench, make_target
from tests.simulation.virtual import run_virtual
from tests.strategies import make_allocation

INQUIRY = Inquiry(
    id="a",
    service="web",
    versions=(1,),
    probe=Probe(kind=ProbeKind.HTTP, port=80, path="/new", timeout_ms=2000),
    interval_ms=50,
    at_once=32,
)


def asking(generation: int, *inquiries: Inquiry) -> Target:
    return replace(make_target(generation, ONE, TWO), inquiries=inquiries)


def tally(bench: Bench, name: str = ONE.id) -> Tally:
    found = bench.instances[name].tally
    assert found is not None
    return found


def test_each_instance_is_asked_at_an_even_pace_however_slow_it_is() -> None:
    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda spec: Behaviour(
            answer_ms=300 if spec.allocation == ONE.id else 4
        )
        async with bench.life():
            await bench.order(make_target(1, ONE, TWO), 2.0)
            assert bench.instances[ONE.id].tally is None
            await bench.order(asking(2, INQUIRY), 10.0)
            slow, quick = tally(bench), tally(bench, TWO.id)
            assert 170 <= slow.asked <= quick.asked <= 200
            assert 300 <= slow.p95_ms <= 365
            assert 4 <= quick.p95_ms <= 5
            assert slow.failed == quick.failed == 0
            reported = bench.controllers.heartbeats[-1].status.instances
            assert all(each.tally for each in reported)

    run_virtual(story())


@pytest.mark.parametrize(("instances", "least", "most"), [(20, 85, 101), (40, 40, 51)])
def test_many_instances_are_asked_less_often_for_the_agent_has_more_to_do(
    instances: int, least: int, most: int
) -> None:
    async def story() -> None:
        bench = Bench()
        every = [
            make_allocation(f"web.fra.{n}-1", "fra-n1", slot=n) for n in range(1, instances + 1)
        ]
        async with bench.life():
            target = make_target(1, *every)
            await bench.order(target, 10.0)
            await bench.order(replace(target, generation=2, inquiries=(INQUIRY,)), 5.5)
            asked = {tally(bench, each.id).asked for each in every}
            assert least <= min(asked) <= max(asked) <= most

    run_virtual(story())


def test_failed_answers_are_counted_and_touch_no_instance() -> None:
    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda _: Behaviour(fails=frozenset({"/new"}))
        async with bench.life():
            await bench.order(asking(1, INQUIRY), 5.0)
            assert tally(bench).failed > 50
            assert tally(bench).answered == 0
            assert "/new answers 404" in tally(bench).failure
            assert [deed.what for deed in bench.workload.deeds] == ["start", "start"]

    run_virtual(story())


@pytest.mark.parametrize("at_once", [1, 32])
def test_who_never_answers_has_few_questions_open(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    open_, most = 0, 0
    probe = MemoryProber.probe

    async def count(
        self: MemoryProber, instance: Instance, asked: Probe, addresses: Sequence[Address]
    ) -> ProbeAnswer:
        nonlocal open_, most
        if asked.path != "/new":
            return ProbeAnswer()
        open_ += 1
        most = max(most, open_)
        try:
            return await probe(self, instance, asked, addresses)
        finally:
            open_ -= 1

    monkeypatch.setattr(MemoryProber, "probe", count)

    async def story() -> None:
        bench = Bench()
        async with bench.life():
            often = replace(INQUIRY, interval_ms=10, at_once=at_once)
            target = replace(make_target(1, ONE), inquiries=(often,))
            await bench.order(target, 1.0)
            bench.workload.hang(ONE.id)
            await bench.passes(5.0)
            assert tally(bench).failed > 0
            assert most == at_once

    run_virtual(story())


@pytest.mark.parametrize(("tell_ms", "most"), [(1000, 20), (10_000, 2)])
def test_a_machine_tells_answers_of_all_its_instances_as_often_as_it_is_to(
    tell_ms: int, most: int
) -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(asking(1, replace(INQUIRY, tell_ms=tell_ms)), 20.0)
            told = {
                tuple(each.tally for each in beat.status.instances)
                for beat in bench.controllers.heartbeats
                if any(each.tally for each in beat.status.instances)
            }
            assert most - 2 <= len(told) <= most
            assert tally(bench).asked > 150

    run_virtual(story())


def test_another_inquiry_begins_anew_and_without_one_nobody_is_asked() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(asking(1, INQUIRY), 5.0)
            await bench.order(asking(2, replace(INQUIRY, id="b")), 2.0)
            assert (tally(bench).inquiry, tally(bench).asked < 50) == ("b", True)
            await bench.order(asking(3), 0.5)
            assert bench.instances[ONE.id].tally is None
            await bench.order(asking(4, replace(INQUIRY, versions=(7,))), 3.0)
            assert bench.instances[ONE.id].tally is None

    run_virtual(story())


def test_an_instance_that_ends_is_not_blamed_for_what_was_open() -> None:
    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda _: Behaviour(answer_ms=200, start_ms=3000)
        async with bench.life():
            await bench.order(asking(1, INQUIRY), 8.0)
            assert tally(bench).answered > 20
            await bench.workload.crash(ONE.id)
            await bench.passes(2.0)
            assert tally(bench).failed == 0

    run_virtual(story())
