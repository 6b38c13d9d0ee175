"""Leases of an instance end when it has ended, and never those of one that began since."""

from dataclasses import replace

from pltfrms.model.messages.api import LeasesAsk, LeasesReply
from pltfrms.model.running.plan import Target
from pltfrms.model.services.parts import StoreUse
from tests.agent.bench import WEB, Bench, Controllers, make_target
from tests.simulation.virtual import run_virtual
from tests.strategies import make_allocation

OWN = make_allocation("web.fra.1-1", "fra-n1")
OTHER = make_allocation("web.fra.2-1", "fra-n1", slot=2)
ASK = LeasesAsk(machine="fra-n1", allocation=OWN.id)


def wanted(generation: int, *, end: bool = True) -> Target:
    store = StoreUse(secret="w", end_leases=end)  # noqa: S106 (a name)
    asking = replace(WEB, spec=replace(WEB.spec, run=replace(WEB.spec.run, store=store)))
    return replace(make_target(generation, OWN), services=(asking,))


class Hanging(Controllers):
    """Takes a question, and says nothing."""

    async def leases(self, ask: LeasesAsk) -> LeasesReply:
        await self.clock.sleep(60.0)
        return await super().leases(ask)


def starts(bench: Bench) -> int:
    return [deed.what for deed in bench.workload.deeds].count("start")


def test_they_are_asked_for_by_name_and_ended_by_number_before_it_starts_again() -> None:
    times: list[float] = []

    class Noting(Controllers):
        async def leases(self, ask: LeasesAsk) -> LeasesReply:
            times.append(self.clock.monotonic())
            return await super().leases(ask)

    async def story() -> None:
        bench = Bench()
        bench.controllers = Noting(bench.clock)
        bench.controllers.leases_had = (7, 9)
        async with bench.life():
            await bench.order(wanted(1))
            assert not times
            await bench.workload.crash(OWN.id)
            await bench.passes(5.0)
            assert bench.controllers.leases_asked == [ASK, replace(ASK, end=(7, 9))]
            begun = [deed.at for deed in bench.workload.deeds if deed.what == "start"]
            assert begun[0] < times[0] <= times[1] <= begun[1]
            assert bench.controllers.events("leases ended") == [f"{OWN.id}: 2, as it has ended"]

    run_virtual(story())


def test_without_controllers_it_starts_all_the_same() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(wanted(1))
            bench.controllers.alive = False
            await bench.workload.crash(OWN.id)
            await bench.passes(5.0)
            assert starts(bench) == 2

    run_virtual(story())


def test_a_controller_that_hangs_holds_it_up_for_a_second_at_most() -> None:
    async def story() -> None:
        bench = Bench()
        bench.controllers = Hanging(bench.clock)
        async with bench.life():
            await bench.order(wanted(1))
            await bench.workload.crash(OWN.id)
            await bench.passes(1.0)
            assert starts(bench) == 1
            await bench.passes(2.0)
            assert starts(bench) == 2

    run_virtual(story())


def test_who_ends_while_that_lasts_for_another_one_is_not_held_up_for_longer() -> None:
    async def story() -> None:
        bench = Bench()
        bench.controllers = Hanging(bench.clock)
        async with bench.life():
            await bench.order(replace(wanted(1), allocations=(OWN, OTHER)))
            for each in (OWN, OTHER):
                await bench.workload.crash(each.id)
                await bench.passes(0.1)
            began = bench.clock.monotonic() - 0.1
            await bench.passes(3.0)
            (again,) = [
                deed.at
                for deed in bench.workload.deeds
                if (deed.what, deed.allocation) == ("start", OTHER.id) and deed.at > began
            ]
            assert again - began < 1.5

    run_virtual(story())


def test_who_did_not_ask_for_it_keeps_them() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(wanted(1, end=False))
            await bench.workload.crash(OWN.id)
            await bench.passes(5.0)
            assert bench.controllers.leases_asked == []
            assert starts(bench) == 2

    run_virtual(story())


def test_what_is_heard_after_another_one_began_ends_nothing() -> None:
    """It was stopped meanwhile: what is heard may be of who has its addresses now."""

    class Slow(Controllers):
        async def leases(self, ask: LeasesAsk) -> LeasesReply:
            await self.clock.sleep(0.3)
            return await super().leases(ask)

    async def story() -> None:
        bench = Bench()
        bench.controllers = Slow(bench.clock)
        bench.controllers.leases_had = (7,)
        async with bench.life():
            await bench.order(wanted(1))
            await bench.workload.crash(OWN.id)
            await bench.passes(0.1)
            await bench.order(make_target(2))
            await bench.passes(3.0)
            assert bench.controllers.leases_asked == [ASK]

    run_virtual(story())
