"""A change of routing policy: turns, trials, confirmation, and the way back."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from pltfrms.agent.routing import rendered
from pltfrms.agent.routing.policy import POLICY_FILE
from pltfrms.agent.routing.routing import QUIET_SECONDS
from pltfrms.errors import InvariantError
from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.network.peering import OriginValidation, Peer, PeerKind, RtrCache, Session
from pltfrms.model.network.topology import Platform
from pltfrms.model.network.traffic import Override
from pltfrms.model.running.machine import BgpState
from pltfrms.model.running.plan import Target
from pltfrms.model.running.state import RoutingState
from pltfrms.planner.routing.ospf_cost import cost_of
from pltfrms.render.bird import policy_fingerprint
from tests.agent.bench import PLATFORM, WEB, Bench
from tests.simulation.virtual import EPOCH_MS, run_virtual

SESSION = Session(
    edge="fra-e1",
    ours=(ip_interface("203.0.113.1/31"), ip_interface("2001:db8:f::1/64")),
    theirs=(ip_address("203.0.113.0"), ip_address("2001:db8:f::2")),
    interface="x-transit1",
)
TRANSIT = Peer(name="transit1", kind=PeerKind.TRANSIT, asn=64999, sessions=(SESSION,))
OLD = replace(PLATFORM, peers=(TRANSIT,))
NEW = replace(OLD, traffic=(Override(prepend=2),))
NEWER = replace(OLD, traffic=(Override(prepend=3),))
UP = tuple(
    BgpState(name=name, up=True, detail="Established", imported=5, exported=1)
    for name in ("peer.transit1.ipv4", "peer.transit1.ipv6", "edge.ams-e1", "node.fra-n1.a")
)
BROKEN = (replace(UP[0], up=False), *UP[1:])
LACK = "peer.transit1.ipv4 is not up (reverted)"


def _target(
    generation: int,
    platform: Platform,
    machine: str = "fra-e1",
    interventions: Interventions | None = None,
) -> Target:
    return Target(
        machine=machine,
        generation=generation,
        platform=platform,
        services=(WEB,),
        interventions=interventions or Interventions(),
    )


def _bench(platform: Platform = OLD, machine: str = "fra-e1") -> Bench:
    """Return a machine that has this platform from its first boot on."""
    bench = Bench(machine)
    bench.platform = platform
    bench.bird.states = UP
    return bench


def _turn(platform: Platform) -> str:
    return policy_fingerprint(platform, "fra-e1")


def _state(bench: Bench) -> RoutingState:
    return bench.status.routing.state


def test_an_edge_waits_for_its_turn_and_then_confirms_what_is_good() -> None:
    async def story() -> None:
        bench = _bench()
        async with bench.life():
            old = bench.status.routing
            assert (old.state, old.wanted) == (RoutingState.CONFIRMED, old.running)
            bench.controllers.turn = "of somebody else"
            await bench.order(_target(1, NEW), seconds=60.0)
            waiting = bench.status.routing
            assert waiting.state is RoutingState.WAITING
            assert waiting.detail == "it is not the turn of this machine"
            assert (waiting.wanted, waiting.running) == (_turn(NEW), old.running)
            assert bench.bird.trials == []
            bench.controllers.turn = _turn(NEW)
            await bench.passes(2.5)
            assert len(bench.bird.trials) == 1
            assert bench.bird.trials[0] not in bench.bird.configs
            trying = bench.status.routing
            assert (trying.state, trying.running) == (RoutingState.TRYING, _turn(NEW))
            await bench.passes(3.0)
            assert bench.status.routing == replace(
                trying, state=RoutingState.CONFIRMED, detail=""
            )
            await bench.passes(60.0)
            assert bench.bird.loaded == bench.bird.configs[-1] == bench.bird.trials[0]
            assert len(bench.controllers.events("routing confirmed")) == 1

    run_virtual(story())


def test_while_an_edge_waits_the_confirmed_policy_follows_the_conditions() -> None:
    async def story() -> None:
        bench = _bench()
        async with bench.life(6.0):
            await bench.order(_target(1, NEW), seconds=10.0)
            assert bench.status.routing.detail == "it is not the turn of this machine"
            bench.pinger.rtt_ms = 30.0
            await bench.passes(40.0)
            assert f"cost {cost_of(30.0)}" in bench.bird.loaded
            bench.controllers.alive = False
            await bench.passes(20.0)
            assert bench.status.routing.detail == "no controller says whose turn it is"
            assert bench.bird.trials == []

    run_virtual(story())


def test_what_is_not_good_is_reverted_and_not_tried_again() -> None:
    async def story() -> None:
        bench = _bench()
        async with bench.life(6.0):  # the first costs are measured
            good = bench.bird.loaded
            bench.bird.on_trial_states = BROKEN
            bench.controllers.turn = _turn(NEW)
            await bench.order(_target(1, NEW), seconds=15.0)
            assert _state(bench) is RoutingState.TRYING
            await bench.passes(6.0)
            assert (_state(bench), bench.bird.loaded) == (RoutingState.REVERTED, good)
            assert bench.status.routing.detail == LACK
            assert bench.controllers.events("routing reverted") == [f"machine/fra-e1: {LACK}"]
            await bench.passes(300.0)
        async with bench.life(300.0):
            assert (_state(bench), bench.status.routing.detail) == (RoutingState.REVERTED, LACK)
            assert len(bench.bird.trials) == 1
            bench.bird.on_trial_states = None
            bench.controllers.turn = _turn(NEWER)
            await bench.order(_target(2, NEWER), seconds=10.0)
            assert _state(bench) is RoutingState.CONFIRMED
            await bench.order(_target(3, OLD), seconds=1.0)
            assert _state(bench) is RoutingState.WAITING

    run_virtual(story())


def test_a_peer_with_another_name_must_be_there_under_it() -> None:
    async def story() -> None:
        bench = _bench()
        async with bench.life(6.0):
            upstream = replace(TRANSIT, name="upstream")
            renamed = replace(OLD, peers=(upstream,))
            bench.bird.on_trial_states = UP[2:]
            bench.controllers.turn = _turn(renamed)
            await bench.order(_target(1, renamed), seconds=30.0)
            assert bench.status.routing.detail == (
                "peer.upstream.ipv4 is not up; peer.upstream.ipv6 is not up (reverted)"
            )

    run_virtual(story())


def test_going_back_to_what_is_confirmed_needs_no_trial() -> None:
    async def story() -> None:
        bench = _bench()
        async with bench.life():
            bench.bird.on_trial_states = BROKEN
            bench.controllers.turn = _turn(NEW)
            await bench.order(_target(1, NEW), seconds=30.0)
            assert _state(bench) is RoutingState.REVERTED
            await bench.order(_target(2, OLD), seconds=2.0)
            assert _state(bench) is RoutingState.CONFIRMED
            assert len(bench.bird.trials) == 1

    run_virtual(story())


def test_losing_the_controllers_by_the_change_takes_it_back() -> None:
    async def story() -> None:
        bench = _bench()
        async with bench.life(6.0):  # the first costs are measured
            good = bench.bird.loaded
            bench.controllers.turn = _turn(NEW)
            await bench.order(_target(1, NEW), seconds=0.0)

            async def tried() -> bool:
                return bool(bench.bird.trials)

            await bench.seconds_until(tried)
            bench.controllers.alive = False
            await bench.passes(25.0)
            assert (_state(bench), bench.bird.loaded) == (RoutingState.REVERTED, good)
            assert "no controller has answered since" in bench.status.routing.detail

    run_virtual(story())


def test_bird_goes_back_when_the_agent_dies_in_a_trial() -> None:
    async def story() -> None:
        bench = _bench()
        bench.controllers.turn = _turn(NEW)
        async with bench.life(6.0):  # the first costs are measured
            good = bench.bird.loaded
            bench.bird.on_trial_states = BROKEN
            await bench.order(_target(1, NEW), seconds=5.0)
            assert _state(bench) is RoutingState.TRYING
        assert bench.bird.loaded != good
        await bench.passes(16.0)
        assert await bench.bird.running() == good
        async with bench.life(QUIET_SECONDS + 5.0):  # perhaps it was chance: once more
            assert _state(bench) is RoutingState.TRYING
            assert bench.controllers.events("routing reverted")
        async with bench.life(30.0):
            assert _state(bench) is RoutingState.REVERTED
            assert "agent ended during its trial, 2 times" in bench.status.routing.detail
            assert (bench.bird.loaded, len(bench.bird.trials)) == (good, 2)
        async with bench.life():
            assert len(bench.controllers.events("routing reverted")) == 2

    run_virtual(story())


def test_a_text_that_bird_refuses_is_offered_once() -> None:
    async def story() -> None:
        bench = _bench()
        async with bench.life(6.0):
            bench.bird.refusal = "line 3"
            bench.controllers.turn = _turn(NEW)
            await bench.order(_target(1, NEW), seconds=30.0)
            assert _state(bench) is RoutingState.REVERTED
            assert "line 3" in bench.status.routing.detail
            assert len(bench.controllers.events("routing reverted")) == 1

    run_virtual(story())


def test_nodes_need_no_turn_but_a_trial() -> None:
    async def story() -> None:
        bench = _bench(machine="fra-n1")
        bench.bird.states = (BgpState(name="edge.fra-e1.a", up=True, detail="Established"),)
        timers = replace(OLD.timers, bfd_interval_ms=200)
        async with bench.life():
            await bench.order(_target(1, replace(OLD, timers=timers), "fra-n1"), seconds=6.0)
            assert _state(bench) is RoutingState.CONFIRMED
            assert len(bench.bird.trials) == 1
            assert "200 ms" in bench.bird.loaded

    run_virtual(story())


def test_without_a_memory_what_runs_is_adopted_or_tried() -> None:
    async def story() -> None:
        bench = _bench()
        async with bench.life(6.0):
            running = bench.status.routing.running
        del bench.disk.documents[POLICY_FILE]
        async with bench.life(6.0):
            assert bench.status.routing.running == running
            assert _state(bench) is RoutingState.CONFIRMED
        bench.disk.documents[POLICY_FILE] = b"nonsense"
        bench.platform = NEW
        loaded = bench.bird.loaded
        async with bench.life(20.0):
            assert _state(bench) is RoutingState.WAITING
            assert bench.status.routing.running not in {"", running}
            assert bench.bird.loaded == loaded
            bench.controllers.turn = _turn(NEW)
            await bench.passes(10.0)
            assert _state(bench) is RoutingState.CONFIRMED
            assert bench.bird.trials == [bench.bird.loaded]

    run_virtual(story())


def test_a_bird_that_is_away_gets_what_was_confirmed() -> None:
    async def story() -> None:
        bench = _bench()
        async with bench.life(15.0):
            good = bench.bird.loaded
            bench.bird.alive = False
            bench.controllers.turn = _turn(NEW)
            await bench.order(_target(1, NEW), seconds=10.0)
            assert (bench.status.routing.running, _state(bench)) == ("", RoutingState.WAITING)
            assert bench.bird.configs[-1] == good
            bench.bird.alive = True
            await bench.passes(10.0)
            assert _state(bench) is RoutingState.CONFIRMED

    run_virtual(story())


def test_drains_and_ends_of_overrides_come_at_their_time_without_a_trial() -> None:
    async def story() -> None:
        override = Override(prepend=2, until_ms=EPOCH_MS + 7_500)
        bench = _bench(replace(OLD, traffic=(override,)))
        async with bench.life(7.0):
            prepended = bench.bird.loaded
            await bench.passes(0.7)
            assert bench.bird.loaded != prepended
            drain = Drain(peer="transit1", since_ms=EPOCH_MS + 7_700, wait_ms=3_000)
            quiet = bench.bird.loaded
            target = _target(1, bench.platform, interventions=Interventions(drains=(drain,)))
            await bench.order(target, seconds=1.0)
            leaving = bench.bird.loaded
            assert leaving != quiet
            await bench.passes(2.5)
            assert bench.bird.loaded not in {leaving, quiet}
            assert (bench.bird.trials, _state(bench)) == ([], RoutingState.CONFIRMED)

    run_virtual(story())


def test_a_policy_takes_its_aggregates_along_only_when_it_is_in_force() -> None:
    async def story() -> None:
        bench = _bench()
        fewer = replace(OLD, aggregates=OLD.aggregates[1:])
        async with bench.life():
            assert len(bench.status.aggregates) == 2
            await bench.order(_target(1, fewer), seconds=20.0)
            assert len(bench.status.aggregates) == 2
            bench.controllers.turn = _turn(fewer)
            await bench.passes(10.0)
            assert len(bench.status.aggregates) == 1

    run_virtual(story())


# ---- origin validation -----------------------------------------------------------------------

CACHES = OriginValidation(caches=(RtrCache(address=ip_address("2001:db8::9")),))
VALIDATED = replace(OLD, origin_validation=CACHES)
CACHE_DOWN = BgpState(name="rpki.1", up=False, detail="Connecting")
CACHE_UP = BgpState(name="rpki.1", up=True, detail="Established")


def _is_held(bench: Bench) -> bool:
    return any("wait until an RPKI cache answers" in each for each in bench.status.problems)


def test_a_fresh_bird_keeps_the_outside_closed_until_a_cache_answers() -> None:
    async def story() -> None:
        bench = _bench(VALIDATED)
        bench.bird.alive, bench.bird.states = False, ()
        bench.bird.cache_states = (CACHE_DOWN,)
        async with bench.life():
            closed = bench.bird.configs[-1]
            bench.bird.alive = True
            await bench.passes(20.0)
            assert _is_held(bench)
            bench.bird.cache_states = (CACHE_UP,)
            await bench.passes(1.5)
            assert not _is_held(bench)
            opened = bench.bird.loaded
            assert opened != closed
            bench.bird.cache_states = (CACHE_DOWN,)
            await bench.passes(30.0)
            assert bench.bird.loaded == opened
            assert any("no RPKI cache answers" in each for each in bench.status.problems)

    run_virtual(story())


def test_no_cache_holds_the_outside_for_a_bounded_time() -> None:
    async def story() -> None:
        bench = _bench(VALIDATED)
        bench.bird.alive, bench.bird.states = False, ()
        async with bench.life():
            bench.bird.alive = True
            await bench.passes(25.0)
            assert _is_held(bench)
            await bench.passes(10.0)
            assert not _is_held(bench)
            assert any("no RPKI cache answers" in each for each in bench.status.problems)

    run_virtual(story())


def test_what_is_open_is_not_closed_by_a_new_agent() -> None:
    async def story() -> None:
        bench = _bench(VALIDATED)
        bench.bird.cache_states = (CACHE_DOWN,)
        async with bench.life(6.0):
            opened = bench.bird.loaded
        async with bench.life(20.0):
            assert not _is_held(bench)
            assert bench.bird.loaded == opened
            bench.bird.alive = False
            await bench.passes(5.0)
            assert bench.bird.configs[-1] != opened  # for a BIRD that starts anew
            bench.bird.alive = True
            await bench.passes(5.0)
            assert bench.bird.loaded == opened

    run_virtual(story())


# ---- the archive, and what is reported -------------------------------------------------------


def test_the_archive_has_a_file_per_hour_if_there_are_peers() -> None:
    async def story() -> None:
        bench = _bench()
        bench.clock.skew_ms = 3_590_000
        async with bench.life():
            hour = EPOCH_MS // 3_600_000
            assert f'mrtdump "/archive/{hour}.mrt"' in bench.bird.loaded
            await bench.passes(8.5)
            assert f'mrtdump "/archive/{hour + 1}.mrt"' in bench.bird.loaded
            await bench.passes(60.0)
            assert bench.archive.pruned >= 1
        without = _bench(PLATFORM)
        async with without.life():
            assert "mrtdump" not in without.bird.loaded
            assert without.archive.pruned == 0

    run_virtual(story())


def test_counts_are_reported_so_that_they_rarely_change() -> None:
    async def story() -> None:
        bench = _bench()
        name = "peer.transit1.ipv4"
        bench.bird.refused = {name: {6: 3, 99: 1}}
        counts = {}
        async with bench.life():
            for imported in (7, 100, 1_249_000, 1_251_000, 1_330_000, 1_100_000):
                state = replace(UP[0], imported=imported, filtered=4)
                bench.bird.states = (state,)
                await bench.passes(31.0)
                (status,) = bench.status.sessions
                counts[imported] = status.imported
                assert (status.filtered, status.rejects) == (4, {"rpki-invalid": 3})
        assert list(counts.values()) == [7, 100, 1_200_000, 1_200_000, 1_300_000, 1_100_000]

    run_virtual(story())


def test_counts_are_of_now_only_when_bird_was_asked_since_the_session_came_up() -> None:
    async def story() -> None:
        bench = _bench()
        silent = tuple(replace(state, exported=0) for state in UP)
        bench.bird.states = tuple(replace(state, up=False) for state in silent)
        async with bench.life(5.0):
            assert all(session.counted for session in bench.status.sessions)
            bench.bird.states = silent
            seen = []
            for _ in range(50):
                await bench.passes(0.1)
                seen += [{each.counted for each in bench.status.sessions if each.up}]
            assert seen.index({False}) < seen.index({True})
            assert seen[-1] == {True}
            bench.bird.alive = False
            await bench.passes(5.0)
            assert not any(session.counted for session in bench.status.sessions)

    run_virtual(story())


def test_a_new_version_of_the_agent_lets_controllers_hear_first_what_it_wants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        bench = _bench()
        async with bench.life():
            old = bench.status.routing
            assert old.state is RoutingState.CONFIRMED

        def other(platform: Platform, machine: str) -> str:
            return f"2 {policy_fingerprint(platform, machine)}"

        monkeypatch.setattr(rendered, "policy_fingerprint", other)
        bench.controllers.turn = other(OLD, "fra-e1")
        async with bench.life(QUIET_SECONDS - 1):
            waiting = bench.status.routing
            assert (waiting.state, waiting.running) == (RoutingState.WAITING, old.running)
            assert waiting.wanted == bench.controllers.turn
            assert "has just started" in waiting.detail
            await bench.passes(12.0)
            assert bench.status.routing.running == other(OLD, "fra-e1")
            assert bench.status.routing.state is RoutingState.CONFIRMED

    run_virtual(story())


def test_what_cannot_be_rendered_is_nothing_that_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        bench = _bench()
        async with bench.life():
            with monkeypatch.context() as broken:
                broken.setattr(rendered, "policy_fingerprint", _not_rendered)
                await bench.order(_target(1, NEW), seconds=5.0)
                assert bench.status.generation == 1
                assert bench.status.routing.wanted == ""
                assert bench.status.routing.running == _turn(OLD)
            await bench.order(_target(2, OLD), seconds=5.0)
            assert bench.status.routing.wanted == _turn(OLD)

    run_virtual(story())


def _not_rendered(*_: object) -> str:
    raise InvariantError("a bug in rendering")
