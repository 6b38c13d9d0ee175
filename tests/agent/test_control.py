"""Controllers are heard, refused, missed, and never needed."""

from dataclasses import replace
from ipaddress import IPv4Network, ip_network

from pltfrms.agent.journal import MAX_EVENTS
from pltfrms.api.bounds.shares import BODY_BYTES_MAX, Lane
from pltfrms.codec import encode
from pltfrms.model.network.topology import Aggregate, FurtherRole, Role
from pltfrms.model.running.machine import PROTO_ACTIVE, Route
from tests.agent.bench import ONE, PLATFORM, TWO, WEB, Bench, devices, make_target, routes
from tests.simulation.virtual import run_virtual
from tests.strategies import make_allocation
from tests.versions import with_unknown_fields, with_unknown_values


def test_a_lower_generation_is_refused_and_said() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(7, ONE))
            await bench.order(make_target(6, TWO), 5.0)
            assert set(await bench.workload.running()) == {ONE.id}
            assert bench.status.generation == 7
            assert any("generation 6 refused" in each for each in bench.status.problems)
        async with bench.life(5.0):
            assert bench.status.generation == 7
            await bench.order(make_target(8, ONE), 2.0)
            assert bench.status.problems == ()

    run_virtual(story())


def test_a_target_of_another_recovery_of_the_store_is_refused_and_said() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(replace(make_target(7, ONE), lineage=("old", "one")))
            assert bench.status.recovery == "one"
            for other in (("old", "two"), ("old",), ()):
                await bench.order(replace(make_target(9, TWO), lineage=other), 5.0)
                assert set(await bench.workload.running()) == {ONE.id}
                assert any("of recovery one, which" in it for it in bench.status.problems)
        async with bench.life(5.0):
            assert bench.status.recovery == "one", "the disk knows"
            await bench.order(replace(make_target(10, TWO), lineage=("one", "x")), 2.0)
            assert bench.status.problems == ()
            assert (bench.status.generation, bench.status.recovery) == (10, "x")

    run_virtual(story())


def test_a_target_for_another_machine_or_without_this_one_is_refused() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(7, ONE))
            for wrong in (
                replace(make_target(8), machine="fra-n2"),
                replace(make_target(8), platform=replace(PLATFORM, machines=())),
            ):
                await bench.order(wrong, 3.0)
                assert bench.status.generation == 7
                assert await devices(bench.network) == {"i1"}
                assert any("refused" in each for each in bench.status.problems)

    run_virtual(story())


def test_an_agent_keeps_what_it_has_and_says_that_it_does_not_understand_what_is_newer() -> (
    None
):
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(7, ONE))
            bench.controllers.strange = "reason: of another version"
            await bench.order(make_target(8), 15.0)
            assert set(await bench.workload.running()) == {ONE.id}
            assert await devices(bench.network) == {"i1"}
            assert bench.status.generation == 7
            (said,) = bench.status.problems
            assert "what is in force stays" in said
            assert "reason: of another version" in said
            assert bench.controllers.heartbeats[-1].status.problems == (said,)
            bench.controllers.strange = ""
            await bench.passes(3.0)
            assert bench.status.generation == 8
            assert bench.status.problems == ()

    run_virtual(story())


def test_an_agent_starts_from_what_the_next_release_left_on_its_disk() -> None:
    async def story() -> None:
        target = make_target(7, ONE)
        for name, text in with_unknown_fields(target):
            bench = Bench()
            bench.disk.documents["target.json"] = text
            async with bench.life(5.0):
                assert bench.status.generation == 7, name
                assert await devices(bench.network) == {"i1"}

    run_virtual(story())


def test_an_agent_that_understands_nothing_on_its_disk_lets_all_run_and_says_so() -> None:
    async def story() -> None:
        target = make_target(7, ONE)
        texts = [text for _, text in with_unknown_values(target)]
        assert texts
        for text in texts:
            bench = Bench()
            async with bench.life():
                await bench.order(target)
            bench.disk.documents["target.json"] = text
            bench.controllers.alive = False
            async with bench.life(60.0):
                assert set(await bench.workload.running()) == {ONE.id}
                assert any("target.json cannot be used" in p for p in bench.status.problems)

    run_virtual(story())


def test_one_part_of_a_target_that_cannot_be_applied_does_not_stop_the_others() -> None:
    async def story() -> None:
        bench = Bench()
        broken = replace(
            WEB, spec=replace(WEB.spec, run=replace(WEB.spec.run, process=("${pltfrms.x}",)))
        )
        fine = replace(WEB, spec=replace(WEB.spec, name="api"), id=2)
        fine = replace(fine, prefix4=IPv4Network("198.51.100.2/32"))
        api = make_allocation("api.fra.1-1", "fra-n1", slot=4)
        bench.bird.refusal = "syntax error"
        async with bench.life():
            target = replace(make_target(3, ONE, api), services=(broken, fine))
            await bench.order(target, 3.0)
            assert set(await bench.workload.running()) == {api.id}
            assert await devices(bench.network, "198.51.100.2/32") == {"i4"}
            problems = " ".join(bench.status.problems)
            assert "unknown variable ${pltfrms.x}" in problems
            assert "syntax error" in problems
            assert bench.controllers.heartbeats[-1].status.problems == bench.status.problems

    run_virtual(story())


def test_a_poison_allocation_harms_neither_the_others_nor_the_agent() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(3, ONE))
            nowhere = replace(TWO, node="nowhere")
            third = make_allocation("web.fra.3-1", "fra-n1", slot=3)
            await bench.order(make_target(4, ONE, nowhere, third), 3.0)
            assert await devices(bench.network) == {"i1", "i3"}
            assert any("nowhere" in problem for problem in bench.status.problems)
            await bench.workload.crash(ONE.id)
            await bench.passes(1.0)
            assert await devices(bench.network) == {"i1", "i3"}
            await bench.order(make_target(5, ONE, TWO), 3.0)
            assert await devices(bench.network) == {"i1", "i2"}
            assert bench.status.problems == ()

    run_virtual(story())


def test_a_long_time_without_controllers_changes_nothing() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(3, ONE, TWO))
            before = await bench.network.routes(100)
            deeds, configs = list(bench.workload.deeds), list(bench.bird.configs)
            bench.controllers.alive = False
            await bench.passes(300.0)
            assert await bench.network.routes(100) == before
            assert (bench.workload.deeds, bench.bird.configs) == (deeds, configs)
            await bench.workload.crash(ONE.id)
            await bench.passes(1.0)
            assert await bench.network.routes(100) == before
            bench.controllers.alive = True
            heard = len(bench.controllers.heartbeats)
            await bench.passes(1.1)
            assert len(bench.controllers.heartbeats) > heard
            assert bench.controllers.events("instance ended")

    run_virtual(story())


def test_events_are_bounded_while_nobody_hears_them_and_told_once() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life() as agent:
            bench.controllers.alive = False
            for number in range(MAX_EVENTS + 500):
                agent._journal.say("test", "counted", str(number))
            await bench.passes(5.0)
            bench.controllers.alive = True
            await bench.passes(5.0)
            counted = bench.controllers.events("counted")
            assert counted == [f"test: {number}" for number in range(500, MAX_EVENTS + 500)]

    run_virtual(story())


def test_a_change_is_reported_at_once_and_the_rest_every_heartbeat() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(1, ONE))
            await bench.passes(5.0)
            heard = len(bench.controllers.heartbeats)
            await bench.passes(10.0)
            assert 9 <= len(bench.controllers.heartbeats) - heard <= 11
            await bench.workload.crash(ONE.id)
            await bench.passes(0.1)
            assert bench.controllers.events("instance ended")

    run_virtual(story())


def test_a_newer_generation_in_a_reply_ends_the_long_poll() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(1))
            bench.controllers.deaf = True
            await bench.passes(11.0)
            bench.controllers.deaf = False
            await bench.order(make_target(2, ONE), 1.5)
            assert bench.status.generation == 2

    run_virtual(story())


def test_controllers_of_a_newer_platform_are_asked_from_then_on() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            newer = replace(PLATFORM, name="newer")
            await bench.order(replace(make_target(7, ONE), platform=newer))
            assert bench.followed == [newer]

    run_virtual(story())


def test_who_is_told_to_be_a_controller_has_what_that_takes_started() -> None:
    async def story() -> None:
        node = PLATFORM.machine("fra-n1")
        both = replace(node, further=(FurtherRole(role=Role.CONTROLLER, id=9),))
        others = tuple(each for each in PLATFORM.machines if each.name != "fra-n1")
        more = replace(PLATFORM, machines=(*others, both))
        bench = Bench(platform=more)  # as the owner has written it down
        bench.begins = False
        async with bench.life():
            assert bench.told_roles == [], "nobody has told it anything"
            await bench.order(replace(make_target(2, ONE), platform=more))
            assert (bench.told_roles, bench.status.generation) == ([True], 2)
            assert any("systemd says no" in each for each in bench.status.problems)
            bench.begins = True
            await bench.order(replace(make_target(3, ONE), platform=more))
            assert not bench.status.problems
            await bench.order(make_target(4, ONE))
            assert bench.told_roles == [True, True, False]
        async with bench.life():
            assert len(bench.told_roles) == 4, "an agent may end before it was done"

    run_virtual(story())


class SlowToBegin(Bench):
    """A machine whose systemd does not answer."""

    async def _follow_role(self, *, controller: bool) -> None:
        self.told_roles.append(controller)
        await self.clock.sleep(3600.0)


def test_a_systemd_that_does_not_answer_keeps_up_nothing_of_a_target() -> None:
    async def story() -> None:
        bench = SlowToBegin()
        async with bench.life():
            await bench.order(make_target(2, ONE), 5.0)
            assert bench.told_roles == [False]
            assert bench.status.generation == 2
            assert await routes(bench.network)

    run_virtual(story())


def test_a_later_commit_that_wants_nothing_else_is_not_asked_for() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(replace(make_target(5, ONE), made_of="abc"))
            assert bench.status.made_of == "abc"
            bench.controllers.known, bench.controllers.made_of = 9, "abc"
            await bench.passes(1.5)
            asked = bench.controllers.asked
            await bench.passes(5.0)
            assert bench.controllers.asked <= asked + 1  # its long poll ends now and then
            assert bench.status.generation == 5

    run_virtual(story())


def test_who_has_heard_that_a_later_commit_wants_nothing_else_takes_none_from_before() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(replace(make_target(5, ONE), made_of="abc"))
            bench.controllers.known, bench.controllers.made_of = 9, "abc"
            await bench.passes(1.5)
            bench.controllers.latest = replace(make_target(7, TWO), made_of="of a laggard")
            await bench.passes(1.5)
            assert bench.status.generation == 5
            assert any("generation 7 refused" in each for each in bench.status.problems)
            await bench.order(replace(make_target(10, TWO), made_of="def"), 1.5)
            assert (bench.status.generation, bench.status.made_of) == (10, "def")

    run_virtual(story())


def test_foreign_changes_of_the_kernel_are_undone_within_a_second_and_said() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(1, ONE, TWO))
            for route in await bench.network.routes(100):
                bench.network.delete_route(route)
            foreign = Route(
                prefix=ip_network("198.51.100.77/32"), table=100, proto=PROTO_ACTIVE, metric=1
            )
            bench.network.set_route(foreign)
            await bench.passes(0.3)
            assert await devices(bench.network) == {"i1", "i2"}
            assert await routes(bench.network, "198.51.100.77/32") == []
            bench.network.rules.clear()
            bench.network.addresses["lo"].clear()
            await bench.passes(1.2)
            assert bench.network.rules
            assert bench.network.addresses["lo"]
            await bench.passes(1.0)
            for what in ("route restored", "rule restored", "network restored"):
                assert len(bench.controllers.events(what)) == 1, what

    run_virtual(story())


def test_a_route_that_cannot_be_put_names_the_instance_that_it_is_for() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(1, ONE, TWO))
            del bench.network.addresses["i2"]
            await bench.passes(1.5)
            (problem,) = [each for each in bench.status.problems if "missing" in each]
            assert problem.startswith(f"routes incomplete: {TWO.id} gets no packets: ")
            assert "missing i2 (no such device) for " in problem
            assert problem.endswith(" and 3 more routes")

    run_virtual(story())


def test_our_own_changes_are_not_called_restored() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(1, ONE, TWO))
            await bench.workload.crash(ONE.id)
            await bench.passes(2.0)
            changed = replace(PLATFORM, aggregates=(Aggregate(prefix=ip_network("::/0")),))
            await bench.order(replace(make_target(2, TWO), platform=changed))
            for what in ("route restored", "rule restored", "network restored"):
                assert bench.controllers.events(what) == []

    run_virtual(story())


def test_a_heartbeat_is_taken_however_much_there_is_to_say() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life() as agent:
            await bench.order(make_target(1, ONE))
            bench.controllers.bug = "\x01" * 50_000
            await bench.passes(3.0)
            bench.controllers.bug = ""
            for number in range(200):
                agent._journal.say(f"n/{number}", "said", "\x01" * 99_999)
            heard = len(bench.controllers.heartbeats)
            await bench.passes(5.0)
            beats = bench.controllers.heartbeats[heard:]
            assert max(len(encode(beat)) for beat in beats) < BODY_BYTES_MAX[Lane.HEARTBEAT]
            said = [e.about for beat in beats for e in beat.events if e.what == "said"]
            assert said == [f"n/{number}" for number in range(200)]

    run_virtual(story())


def test_a_bug_in_one_loop_ends_neither_it_nor_the_others() -> None:
    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(make_target(1, ONE))
            bench.controllers.bug = "list index out of range"
            await bench.passes(3.0)
            assert await devices(bench.network) == {"i1"}
            assert any(bench.controllers.bug in problem for problem in bench.status.problems)
            bench.controllers.bug = ""
            heard = len(bench.controllers.heartbeats)
            await bench.passes(3.0)
            assert len(bench.controllers.heartbeats) > heard

    run_virtual(story())
