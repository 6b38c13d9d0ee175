"""Hooks: who serves is asked before what is planned, and nobody waits who does not serve."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv6Network

from pltfrms.agent.instances.drains import DRAINS_FILE
from pltfrms.agent.world import World
from pltfrms.drivers.workload.memory import MemoryProber
from pltfrms.errors import UnavailableError
from pltfrms.model.addresses import Address
from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.running.balancer import as_balanced
from pltfrms.model.running.machine import PROTO_ACTIVE, PROTO_BACKUP, Instance, ProbeAnswer
from pltfrms.model.running.plan import Allocation, Target
from pltfrms.model.running.state import Phase
from pltfrms.model.running.volumes import Volume, VolumeState
from pltfrms.model.services.hooks import HookMoment, InstanceHook
from pltfrms.model.services.roles import RolePrefixes
from pltfrms.model.services.service import Probe, ProbeKind, RoleSpec, Service
from tests.agent.bench import Bench, devices, routes
from tests.agent.instances.test_volumes import KEPT, NEW, OLD, VOLUME, kept
from tests.simulation.virtual import run_virtual

HAND_OVER = InstanceHook(moment=HookMoment.HAND_OVER, command=("over",), timeout_ms=5000)
JOIN = InstanceHook(moment=HookMoment.JOIN, command=("join",))
LEAVE = InstanceHook(moment=HookMoment.LEAVE, command=("leave",))
WRITER = RoleSpec(
    name="writer",
    probe=Probe(
        kind=ProbeKind.HTTP,
        port=8008,
        path="/primary",
        interval_ms=200,
        fall=1,
        rise=1,
        only_announces=True,
    ),
)

NEXT = replace(NEW, replica=OLD.replica)
SAYS_NO = f"{OLD.id} /primary"


class Poor(Bench):
    """A machine that cannot begin another process."""

    poor = True

    def make_world(self) -> World:
        bench = self

        class Prober(MemoryProber):
            async def probe(
                self, instance: Instance, probe: Probe, addresses: Sequence[Address]
            ) -> ProbeAnswer:
                if bench.poor and probe.kind is ProbeKind.EXEC:
                    raise UnavailableError("no memory")
                return await super().probe(instance, probe, addresses)

        return replace(super().make_world(), prober=Prober(self.workload))


def db(*hooks: InstanceHook) -> Service:
    return replace(KEPT, spec=replace(KEPT.spec, roles=(WRITER,), hooks=hooks))


def target(
    generation: int, service: Service, *allocations: Allocation, known: bool = True
) -> Target:
    told = kept(generation, *allocations, volumes=(VOLUME,))
    balanced = (as_balanced(service, None),) if known else ()
    return replace(told, services=(service,), balanced=balanced)


def ran(bench: Bench, whom: Allocation = OLD) -> list[str]:
    return [command[0] for command in bench.workload.ran(whom.id)]


def deeds(bench: Bench) -> list[tuple[str, str]]:
    return [(each.what, each.allocation) for each in bench.workload.deeds]


def test_who_has_the_role_is_ended_when_it_has_handed_it_over() -> None:
    async def story() -> None:
        bench, service = Bench(), db(HAND_OVER)
        async with bench.life():
            await bench.order(target(1, service, OLD))
            await bench.order(target(2, service, NEXT))
            assert ran(bench) == ["over"]
            assert bench.instances[OLD.id].phase is Phase.READY, "it still has the role"
            assert bench.instances[OLD.id].held_up == "hand_over runs"
            assert bench.status.problems == ()
            bench.workload.unwell = {SAYS_NO}
            await bench.passes(3.0)
            assert deeds(bench) == [("start", OLD.id), ("stop", OLD.id), ("start", NEXT.id)]

    run_virtual(story())


def test_who_is_asked_is_probed_meanwhile_and_asked_to_the_end() -> None:
    async def story() -> None:
        bench, service = Bench(), db(replace(HAND_OVER, timeout_ms=20_000))
        async with bench.life():
            await bench.order(target(1, service, OLD))
            await bench.order(target(2, service, NEXT), 0.5)
            assert await devices(bench.network) == {"i1"}
            bench.workload.unwell = {f"{OLD.id} {service.spec.readiness.path}"}
            await bench.passes(5.0)
            assert bench.instances[OLD.id].phase is Phase.UNHEALTHY
            assert bench.instances[OLD.id].held_up == "hand_over runs", "as in a switchover"
            assert {each.proto for each in await routes(bench.network)} == {PROTO_BACKUP}
            bench.workload.unwell = set()
            await bench.passes(5.0)
            assert {each.proto for each in await routes(bench.network)} == {PROTO_ACTIVE}
            bench.workload.hang(OLD.id)
            await bench.passes(25.0)
            assert deeds(bench) == [("start", OLD.id), ("stop", OLD.id), ("start", NEXT.id)]
            assert ran(bench, NEXT) == []

    run_virtual(story())


def test_who_does_not_live_any_more_is_asked_no_longer() -> None:
    async def story() -> None:
        bench, service = Bench(), db(replace(HAND_OVER, timeout_ms=600_000))
        alive = replace(service.spec.probe, path="/alive")
        service = replace(service, spec=replace(service.spec, liveness=alive))
        async with bench.life():
            await bench.order(target(1, service, OLD))
            await bench.order(target(2, service, NEXT), 0.5)
            bench.workload.unwell = {f"{OLD.id} /alive"}
            await bench.passes(20.0)
            assert deeds(bench) == [("start", OLD.id), ("stop", OLD.id), ("start", NEXT.id)]

    run_virtual(story())


def test_a_failure_leaves_it_there_and_says_why_until_a_better_hook_is_applied() -> None:
    async def story() -> None:
        bench, service = Bench(), db(HAND_OVER)
        bench.workload.unwell = {f"{OLD.id} over"}
        async with bench.life():
            await bench.order(target(1, service, OLD))
            await bench.order(target(2, service, NEXT), 25)
            assert ran(bench) == ["over", "over", "over"]
            assert deeds(bench) == [("start", OLD.id)]
            assert "hand_over failed: " in bench.instances[OLD.id].held_up
            said = f"hooks of {OLD.id}: hand_over failed: "
            assert any(each.startswith(said) for each in bench.status.problems)
            await bench.order(target(3, db(), NEXT), 12)
            assert deeds(bench)[1:] == [("stop", OLD.id), ("start", NEXT.id)]
            assert bench.status.problems == ()

    run_virtual(story())


def test_who_keeps_the_role_although_its_hook_ended_well_has_failed() -> None:
    async def story() -> None:
        bench, service = Bench(), db(HAND_OVER)
        async with bench.life():
            await bench.order(target(1, service, OLD))
            await bench.order(target(2, service, NEXT), 8)
            assert "still has its role after 5 s" in bench.instances[OLD.id].held_up
            assert deeds(bench) == [("start", OLD.id)]

    run_virtual(story())


def test_nobody_is_asked_who_does_not_serve_or_whose_service_is_deleted() -> None:
    async def story(*, ill: bool) -> None:
        bench, service = Bench(), db(HAND_OVER, LEAVE)
        bench.workload.unwell = {f"{OLD.id} over"}
        async with bench.life():
            await bench.order(target(1, service, OLD))
            if ill:
                bench.workload.hang(OLD.id)
                await bench.order(target(2, service, NEXT), 0.2)
            else:
                await bench.order(target(2, service, known=False))
            await bench.passes(20.0)
            assert ("stop", OLD.id) in deeds(bench)

    run_virtual(story(ill=True))
    run_virtual(story(ill=False))


def test_who_is_ready_joins_once_and_who_goes_for_good_leaves() -> None:
    async def story() -> None:
        bench, service = Bench(), db(JOIN, LEAVE)
        bench.workload.unwell = {SAYS_NO}
        async with bench.life():
            await bench.order(target(1, service, OLD), 30)
            assert ran(bench) == ["join"]
            leaving = bench.workload.ran(OLD.id)
            await bench.order(target(2, service))
            assert [command[0] for command in leaving] == ["join", "leave"]
            assert deeds(bench)[1:] == [("stop", OLD.id)]

    run_virtual(story())


def test_who_is_replaced_in_its_place_does_not_leave() -> None:
    async def story() -> None:
        bench, service = Bench(), db(LEAVE)
        async with bench.life():
            await bench.order(target(1, service, OLD))
            leaving = bench.workload.ran(OLD.id)
            await bench.order(target(2, service, NEXT))
            assert leaving == []
            assert deeds(bench)[1:] == [("stop", OLD.id), ("start", NEXT.id)]

    run_virtual(story())


def test_a_join_that_fails_is_said_and_tried_again() -> None:
    async def story() -> None:
        bench, service = Bench(), db(JOIN)
        bench.workload.unwell = {SAYS_NO, f"{OLD.id} join"}
        async with bench.life():
            await bench.order(target(1, service, OLD), 15)
            assert ran(bench) == ["join", "join"]
            assert "join failed" in bench.instances[OLD.id].held_up
            bench.workload.unwell = {SAYS_NO}
            await bench.passes(12.0)
            assert bench.instances[OLD.id].held_up == ""
            assert bench.status.problems == ()

    run_virtual(story())


def test_on_a_drained_node_or_datacenter_the_role_is_handed_over_and_nothing_ends() -> None:
    async def story(drain: Drain) -> None:
        bench, service = Bench(), db(HAND_OVER)
        async with bench.life():
            told = target(1, service, OLD)
            await bench.order(told)
            assert ran(bench) == []
            drained = replace(told, generation=2, interventions=Interventions(drains=(drain,)))
            await bench.order(drained)
            bench.workload.unwell = {SAYS_NO}
            await bench.passes(30.0)
            assert ran(bench) == ["over"]
            assert deeds(bench) == [("start", OLD.id)]
            assert bench.instances[OLD.id].held_up == ""

    run_virtual(story(Drain(node="fra-n1", since_ms=0, wait_ms=0)))
    run_virtual(story(Drain(datacenter="fra", since_ms=0, wait_ms=0)))


def test_who_runs_on_a_volume_that_was_given_up_ends_without_being_asked() -> None:
    async def story(*volumes: Volume) -> None:
        bench, service = Bench(), db(HAND_OVER, LEAVE)
        async with bench.life():
            await bench.order(target(1, service, OLD))
            commands = bench.workload.ran(OLD.id)
            await bench.order(replace(target(2, service), volumes=volumes))
            assert commands == [], "its replica is elsewhere now, and would leave"
            assert deeds(bench)[1:] == [("stop", OLD.id)]

    run_virtual(story(replace(VOLUME, state=VolumeState.GIVEN_UP)))
    run_virtual(story())


def test_what_failed_holds_nothing_up_any_more_when_it_is_not_wanted() -> None:
    async def story(hook: InstanceHook, after: Target, *, ill: bool = False) -> None:
        bench = Bench()
        bench.workload.unwell = {f"{OLD.id} {hook.command[0]}"}
        async with bench.life():
            drained = Interventions(drains=(Drain(node="fra-n1", since_ms=0, wait_ms=0),))
            told = replace(target(1, db(hook), OLD), interventions=drained)
            await bench.order(told, 5)
            assert " failed: " in bench.instances[OLD.id].held_up
            if ill:
                bench.workload.hang(OLD.id)
            await bench.order(after, 6)
            assert bench.instances[OLD.id].held_up == ""
            assert not any("hooks of" in each for each in bench.status.problems)

    run_virtual(story(JOIN, target(2, db(), OLD)))
    run_virtual(story(JOIN, target(2, db(JOIN), OLD), ill=True))
    run_virtual(story(HAND_OVER, target(2, db(HAND_OVER), OLD)))


def test_who_cannot_be_asked_for_want_of_ours_is_asked_again_and_all_goes_on() -> None:
    async def story() -> None:
        bench = Poor()
        bench.workload.unwell = {SAYS_NO}
        async with bench.life():
            await bench.order(target(1, db(JOIN), OLD), 5)
            assert "join failed: no memory" in bench.instances[OLD.id].held_up
            bench.poor = False
            await bench.passes(12.0)
            assert ran(bench) == ["join"]
            assert bench.instances[OLD.id].held_up == ""

    run_virtual(story())


def test_one_bad_answer_is_no_reason_to_end_who_has_not_left() -> None:
    async def story() -> None:
        bench, service = Bench(), db(LEAVE)
        no = {SAYS_NO, f"{OLD.id} leave"}
        bench.workload.unwell = no
        async with bench.life():
            await bench.order(target(1, service, OLD))
            await bench.order(target(2, service), 9.5)
            bench.workload.unwell = {*no, f"{OLD.id} {service.spec.readiness.path}"}
            await bench.passes(service.spec.readiness.interval_ms / 1000)
            bench.workload.unwell = no
            await bench.passes(5.0)
            assert ran(bench) == ["leave", "leave"]
            assert deeds(bench) == [("start", OLD.id)]

    run_virtual(story())


def test_an_agent_that_starts_anew_goes_on_asking_who_has_not_let_go() -> None:
    async def story() -> None:
        six = RolePrefixes(name="writer", prefix6=IPv6Network("2001:db8:100::9/128"))
        bench, service = Bench(), replace(db(HAND_OVER), roles=(six,))
        bench.workload.unwell = {f"{OLD.id} over"}
        async with bench.life():
            await bench.order(target(1, service, OLD))
            await bench.order(target(2, service, NEXT), 5)
        async with bench.life(15.0):
            assert bench.instances[OLD.id].phase is Phase.READY
            assert "hand_over failed: " in bench.instances[OLD.id].held_up
            assert deeds(bench) == [("start", OLD.id)]
            bench.workload.unwell = {SAYS_NO}
            await bench.passes(15.0)
            assert deeds(bench)[1:] == [("stop", OLD.id), ("start", NEXT.id)]
        assert bench.disk.read(DRAINS_FILE) == b"[]"

    run_virtual(story())


def test_the_next_agent_asks_on_who_does_not_answer_and_leads_nobody_there() -> None:
    async def story() -> None:
        bench, service = Bench(), db(LEAVE)
        async with bench.life():
            await bench.order(target(1, service, OLD))
            bench.workload.hang(OLD.id)
            await bench.order(target(2, service), 15.0)
            assert bench.instances[OLD.id].held_up == "leave runs", "as a switchover may"
            assert await devices(bench.network) == set()
        async with bench.life(1.0):
            assert await devices(bench.network) == set()
            bench.workload.recover(OLD.id)
            await bench.passes(2.0)
            assert await devices(bench.network) == {"i1"}
            assert deeds(bench) == [("start", OLD.id)]
            await bench.passes(LEAVE.timeout_ms / 1000 + 20)
            assert deeds(bench) == [("start", OLD.id), ("stop", OLD.id)]
        assert bench.disk.read(DRAINS_FILE) == b"[]"

    run_virtual(story())


def test_who_was_just_found_is_not_ended_for_a_hook_that_fails_before_it_was_probed() -> None:
    async def story() -> None:
        bench, service = Bench(), db(LEAVE)
        async with bench.life():
            await bench.order(target(1, service, OLD))
            bench.workload.hang(OLD.id)
            await bench.order(target(2, service), 15.0)
            assert bench.instances[OLD.id].phase is Phase.UNHEALTHY
        bench.workload.recover(OLD.id)
        bench.workload.unwell = {SAYS_NO, f"{OLD.id} leave"}
        async with bench.life(5.0):
            assert bench.instances[OLD.id].phase is Phase.READY
            assert "leave failed: " in bench.instances[OLD.id].held_up
            assert deeds(bench) == [("start", OLD.id)]

    run_virtual(story())


def test_who_is_wanted_again_when_the_next_agent_starts_is_asked_no_more() -> None:
    async def story() -> None:
        bench, service = Bench(), db(LEAVE)
        bench.workload.unwell = {SAYS_NO, f"{OLD.id} leave"}
        async with bench.life():
            await bench.order(target(1, service, OLD))
            await bench.order(target(2, service))
            bench.controllers.alive = False
        bench.controllers.alive = True
        bench.controllers.latest = target(3, service, OLD)
        bench.controllers.known = 3
        async with bench.life(5.0):
            assert bench.disk.read(DRAINS_FILE) == b"[]"
            assert bench.instances[OLD.id].held_up == ""
            assert deeds(bench) == [("start", OLD.id)]

    run_virtual(story())
