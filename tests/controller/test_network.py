"""Guards, interventions and turns, with three controllers and one store, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from pltfrms.agent.routing.routing import QUIET_SECONDS
from pltfrms.codec import encode
from pltfrms.controller.contact import turns as turns_module
from pltfrms.controller.records.state import INTERVENTIONS_KEY
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import ConflictError, NotFoundError, UnavailableError, UsageError
from pltfrms.model.messages.api import Change, Event, Heartbeat, InterventionChange, Verb
from pltfrms.model.messages.guards import Guard
from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.network.links import Link
from pltfrms.model.network.peering import Peer, PeerKind, Session
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import MachineStatus, RoutingState, RoutingStatus
from pltfrms.planner.routing.turns import Turn
from pltfrms.render import bird as bird_module
from pltfrms.render.bird import policy_fingerprint
from tests.controller.cluster import Cluster
from tests.simulation.virtual import run_virtual
from tests.strategies import make_platform, make_spec

WEB = make_spec()
EDGES = ("ams-e1", "fra-e1", "lon-e1")


def make_peer(name: str, number: int, edges: tuple[str, ...], asn: int) -> Peer:
    """Return a transit with one session, of both families, at each edge."""
    return Peer(
        name=name,
        kind=PeerKind.TRANSIT,
        asn=asn,
        blackhole=True,
        sessions=tuple(
            Session(
                edge=edge,
                ours=(
                    ip_interface(f"203.0.{number}.{16 * at + 2}/30"),
                    ip_interface(f"2001:db8:f{number:x}:{at}::2/64"),
                ),
                theirs=(
                    ip_address(f"203.0.{number}.{16 * at + 1}"),
                    ip_address(f"2001:db8:f{number:x}:{at}::1"),
                ),
                interface=f"x-{name}",
            )
            for at, edge in enumerate(edges)
        ),
    )


PLATFORM = replace(
    make_platform({"ams": 3, "fra": 3, "lon": 3}),
    peers=(make_peer("transit1", 112, EDGES, 64601), make_peer("transit2", 113, EDGES, 64602)),
    links=(
        Link(a="ams-e1", b="fra-e1"),
        Link(a="fra-e1", b="lon-e1"),
        Link(a="lon-e1", b="ams-e1"),
    ),
)
WITHOUT_TRANSIT2 = replace(PLATFORM, peers=PLATFORM.peers[:1])
DRAIN = InterventionChange(
    verb=Verb.DRAIN, peer="transit1", edge="fra-e1", why="line works", by="ada"
)
ALL = InterventionChange(verb=Verb.DRAIN, peer="transit1", wait_ms=1000, by="ada")


def simulate(story: Callable[[Cluster], Awaitable[None]]) -> None:
    async def run() -> None:
        cluster = Cluster(PLATFORM)
        cluster.start()
        await cluster.until(lambda: len(cluster.stored().leases) == 15, 10)
        await asyncio.ensure_future(story(cluster))
        cluster.require_alive()

    run_virtual(run())


async def told(cluster: Cluster, what: str) -> list[Event]:
    events = await cluster.operations.events(0, 0, 1000)
    return [event for event in events if event.what == what]


async def confirm(cluster: Cluster) -> None:
    """Let every edge say that it runs what is wanted now."""
    for edge in EDGES:
        await beat(cluster, edge, policy_fingerprint(PLATFORM, edge))
    await cluster.clock.sleep(1)


async def beat(
    cluster: Cluster,
    machine: str,
    running: str,
    state: RoutingState = RoutingState.CONFIRMED,
    wanted: str = "",
) -> str:
    """Send the heartbeat of an agent that has the newest target; return the turn."""
    routing = RoutingStatus(wanted=wanted or running, running=running, state=state)
    generation = cluster.stored().commit
    status = MachineStatus(machine=machine, generation=generation, routing=routing)
    return (await cluster.operations.heartbeat(Heartbeat(status=status))).turn


# ---- the brake on mass changes --------------------------------------------------------------


def test_a_brake_is_released_for_those_that_are_lost_and_held_then() -> None:
    async def story(cluster: Cluster) -> None:
        until_ms = cluster.clock.unix_ms() + 600_000
        wish = InterventionChange(
            verb=Verb.RELEASE, datacenter="fra", until_ms=until_ms, why="fire", by="ada"
        )
        before = cluster.stored().commit
        for dry_run in (True, False):
            with pytest.raises(ConflictError, match="the brake of fra holds nothing"):
                await cluster.operations.intervene(replace(wish, dry_run=dry_run))
        assert cluster.stored().commit == before
        for name in ("fra-n1", "fra-n2"):
            cluster.agents[name].dead = True
        await cluster.clock.sleep(20)
        reply = await cluster.operations.intervene(wish)
        (release,) = reply.interventions.releases
        assert release.nodes == ("fra-n1", "fra-n2")
        assert not (await cluster.operations.intervene(wish)).changed
        (event,) = await told(cluster, "brake released")
        assert (event.about, event.detail) == (
            "brake/fra",
            "fra-n1, fra-n2; fire; by ada",
        )

    simulate(story)


# ---- interventions -------------------------------------------------------------------------


def test_a_drain_is_a_commit_that_every_agent_gets() -> None:
    async def story(cluster: Cluster) -> None:
        before = cluster.stored().commit
        reply = await cluster.operations.intervene(DRAIN)
        assert reply.changed
        assert reply.revision > before
        assert {each.session for each in reply.routing} == {"transit1@fra-e1"}
        (drain,) = cluster.stored().interventions.drains
        assert (drain.about, drain.wait_ms, drain.by) == ("transit1@fra-e1", 60_000, "ada")
        await cluster.clock.sleep(1)
        target = await cluster.operations.target("fra-e1", before, 1000)
        assert target
        assert (target.generation, target.interventions.drains) == (reply.revision, (drain,))
        (event,) = await told(cluster, "drain begun")
        assert event.about == "drain/transit1@fra-e1"
        assert event.detail == "line works; by ada"

    simulate(story)


def test_the_same_twice_is_once_in_both_directions() -> None:
    async def story(cluster: Cluster) -> None:
        end = replace(DRAIN, verb=Verb.UNDRAIN)
        nothing = await cluster.operations.intervene(end)
        assert (nothing.changed, nothing.revision) == (False, cluster.stored().commit)
        first = await cluster.operations.intervene(DRAIN)
        again = await cluster.operations.intervene(DRAIN)
        assert (again.changed, again.revision) == (False, first.revision)
        for change in (
            replace(end, edge="lon-e1"),
            replace(end, edge=""),
            replace(end, peer="transit9"),
            replace(DRAIN, peer="transit9"),
            InterventionChange(verb=Verb.UNDRAIN, edge="fra-n1"),
        ):
            with pytest.raises(NotFoundError):
                await cluster.operations.intervene(change)
        assert (await cluster.operations.intervene(end)).changed
        assert cluster.stored().interventions == Interventions()
        assert not (await cluster.operations.intervene(end)).changed
        assert len(await told(cluster, "drain called off")) == 1
        for verb in (Verb.UNFREEZE, Verb.UNBLACKHOLE):
            change = InterventionChange(verb=verb, prefix="198.51.100.7/32")
            assert not (await cluster.operations.intervene(change)).changed

    simulate(story)


def test_the_end_of_a_drain_is_told_as_what_it_is() -> None:
    async def story(cluster: Cluster) -> None:
        end = replace(DRAIN, verb=Verb.UNDRAIN)
        for seconds, what, count in (
            (1, "drain called off", 1),
            (3, "drain ended", 1),
            (9, "drain ended", 2),  # by itself
        ):
            until_ms = cluster.clock.unix_ms() + 8000
            await cluster.operations.intervene(replace(DRAIN, until_ms=until_ms))
            await cluster.clock.sleep(seconds)
            assert (await cluster.operations.intervene(end)).changed
            assert cluster.stored().interventions == Interventions()
            assert len(await told(cluster, what)) == count

    simulate(story)


def test_a_dry_run_changes_nothing_whatever_guards_say() -> None:
    async def story(cluster: Cluster) -> None:
        before = cluster.stored()
        reply = await cluster.operations.intervene(
            InterventionChange(verb=Verb.DRAIN, peer="transit1", dry_run=True)
        )
        assert reply.changed
        assert reply.routing
        assert {verdict.guard for verdict in reply.verdicts} == {Guard.SHRINK_GUARD}
        assert cluster.stored().commit == before.commit

    simulate(story)


def test_guards_refuse_unless_named_and_overriding_is_told() -> None:
    async def story(cluster: Cluster) -> None:
        before = cluster.stored().commit
        with pytest.raises(ConflictError) as refused:
            await cluster.operations.intervene(ALL)
        said = str(refused.value)
        assert "shrink_guard: announcements: 6 of 12 (50 %) would be withdrawn" in said
        assert said.endswith("to do it anyway: --yes-i-mean shrink_guard")
        with pytest.raises(ConflictError):
            await cluster.operations.intervene(replace(ALL, despite=(Guard.HEADROOM,)))
        assert cluster.stored().commit == before
        meant = replace(ALL, despite=(Guard.SHRINK_GUARD, Guard.HEADROOM))
        assert (await cluster.operations.intervene(meant)).changed
        (event,) = await told(cluster, "guard overridden")
        assert event.about == "guard/shrink_guard"
        assert event.detail.startswith("announcements: 6 of 12")
        assert event.detail.endswith("; by ada")

    simulate(story)


def test_wishes_at_the_same_time_all_come_true() -> None:
    async def story(cluster: Cluster) -> None:
        seats = list(cluster.seats.values())
        changes = [replace(DRAIN, edge=edge) for edge in EDGES]
        meant = [replace(each, despite=tuple(Guard)) for each in changes]
        await asyncio.gather(
            *(
                seat.operations.intervene(change)
                for seat, change in zip(seats, meant, strict=True)
                if seat.operations
            ),
            cluster.operations.apply(Change(services=(WEB,))),
        )
        drained = {drain.edge for drain in cluster.stored().interventions.drains}
        assert drained == set(EDGES)
        assert "web" in cluster.stored().services

    simulate(story)


def test_a_blackhole_needs_a_sensible_address_and_end() -> None:
    async def story(cluster: Cluster) -> None:
        now_ms = cluster.clock.unix_ms()
        change = InterventionChange(
            verb=Verb.BLACKHOLE, prefix="198.51.100.7/32", until_ms=now_ms + 60_000
        )
        assert (await cluster.operations.intervene(change)).changed
        (event,) = await told(cluster, "blackhole begun")
        assert event.about == "blackhole/198.51.100.7/32"
        with pytest.raises(UsageError):
            await cluster.operations.intervene(replace(change, prefix="192.0.2.1/32"))
        with pytest.raises(NotFoundError):
            await cluster.operations.intervene(
                replace(change, verb=Verb.UNBLACKHOLE, prefix="198.51.100.8/32")
            )

    simulate(story)


# ---- freeze --------------------------------------------------------------------------------


def test_a_frozen_network_replaces_nothing_until_it_is_unfrozen() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.operations.apply(Change(services=(WEB,)))
        await cluster.until(lambda: cluster.settled("web"), 10)
        freeze = InterventionChange(verb=Verb.FREEZE, why="odd", by="ada")
        reply = await cluster.operations.intervene(freeze)
        node = next(iter(cluster.stored().allocations.values())).node
        cluster.agents[node].dead = True
        cluster.agents[node].ready_at.clear()
        cluster.agents[node].cut = True
        await cluster.clock.sleep(60)
        assert cluster.stored().commit == reply.revision
        (note,) = cluster.operations.snapshot().notes
        assert (note.about, note.reason, note.detail) == (
            "network",
            Reason.FROZEN,
            "odd; by ada",
        )
        preview = await cluster.operations.plan(
            Change(services=(replace(WEB, per_datacenter=3),))
        )
        assert preview.plan.steps == ()
        await cluster.operations.intervene(InterventionChange(verb=Verb.UNFREEZE))
        await cluster.until(lambda: len(cluster.serving("web")) == 6, 12)

    simulate(story)


def test_interventions_that_cannot_be_read_decide_nothing() -> None:
    async def story(cluster: Cluster) -> None:
        for seat in cluster.seats.values():
            await seat.crash()
        cluster.state.commit((Put(key=INTERVENTIONS_KEY, value=b"{"),), ())
        for seat in cluster.seats.values():
            seat.start()
        await cluster.clock.sleep(10)
        with pytest.raises(UnavailableError):
            cluster.operations.snapshot()
        drain = Drain(peer="transit1", since_ms=0, wait_ms=0)
        good = Put(key=INTERVENTIONS_KEY, value=encode(Interventions(drains=(drain,))))
        cluster.state.commit((good,), ())
        await cluster.clock.sleep(5)
        assert cluster.operations.snapshot().snapshot.interventions.drains == (drain,)

    simulate(story)


# ---- changes of the platform ---------------------------------------------------------------


def test_apply_says_what_peers_see_and_obeys_guards() -> None:
    async def story(cluster: Cluster) -> None:
        change = Change(platform=WITHOUT_TRANSIT2, by="ada")
        planned = await cluster.operations.plan(change)
        assert {v.guard for v in planned.verdicts} == {Guard.SHRINK_GUARD}
        assert {c.session for c in planned.routing} == {f"transit2@{edge}" for edge in EDGES}
        with pytest.raises(ConflictError, match="--yes-i-mean shrink_guard"):
            await cluster.operations.apply(change)
        assert cluster.stored().platform == PLATFORM
        applied = await cluster.operations.apply(replace(change, despite=(Guard.SHRINK_GUARD,)))
        assert (applied.routing, applied.verdicts) == (planned.routing, planned.verdicts)
        assert cluster.stored().platform == WITHOUT_TRANSIT2
        (event,) = await told(cluster, "guard overridden")
        assert event.about == "guard/shrink_guard"
        (event,) = await told(cluster, "update accepted")
        assert event.detail.endswith("; by ada")

    simulate(story)


def test_a_service_is_no_matter_of_guards() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.operations.intervene(replace(ALL, despite=tuple(Guard)))
        await cluster.clock.sleep(2)
        applied = await cluster.operations.apply(Change(services=(WEB,)))
        assert (applied.routing, applied.verdicts) == ((), ())

    simulate(story)


# ---- turns ---------------------------------------------------------------------------------


def test_edges_change_one_after_the_other() -> None:
    async def story(cluster: Cluster) -> None:
        for agent in cluster.agents.values():
            agent.cut = True  # this test speaks for them
        await confirm(cluster)
        changed = replace(
            PLATFORM, timers=replace(PLATFORM.timers, external_bfd_interval_ms=500)
        )
        peers = tuple(
            replace(p, sessions=tuple(replace(s, bfd=True) for s in p.sessions))
            for p in PLATFORM.peers
        )
        changed = replace(changed, peers=peers)
        old = {edge: policy_fingerprint(PLATFORM, edge) for edge in EDGES}
        new = {edge: policy_fingerprint(changed, edge) for edge in EDGES}
        assert all(old[edge] != new[edge] for edge in EDGES)
        await cluster.operations.apply(Change(platform=changed))
        await cluster.clock.sleep(1)
        for edge in EDGES:  # until all have heard of it, nobody has a turn
            assert await beat(cluster, edge, old[edge], wanted=new[edge]) == ""
            await cluster.clock.sleep(0.5)
        done: list[str] = []
        for _ in EDGES:
            turns = {}
            for edge in EDGES:
                running = new[edge] if edge in done else old[edge]
                turns[edge] = await beat(cluster, edge, running, wanted=new[edge])
            ((edge, fingerprint),) = [(e, t) for e, t in turns.items() if t]
            assert fingerprint == new[edge]
            assert await beat(cluster, edge, old[edge], RoutingState.TRYING, new[edge])
            others = [e for e in EDGES if e != edge and e not in done]
            await cluster.clock.sleep(1)
            for other in others:
                assert await beat(cluster, other, old[other], wanted=new[other]) == ""
            done.append(edge)
            await beat(cluster, edge, new[edge])
            await cluster.clock.sleep(0.5)
        for edge in EDGES:
            assert await beat(cluster, edge, new[edge]) == ""
        assert await beat(cluster, "fra-n1", "x") == ""

    simulate(story)


def test_nobody_has_a_turn_after_a_revert_or_in_a_freeze() -> None:
    async def story(cluster: Cluster) -> None:
        for agent in cluster.agents.values():
            agent.cut = True
        await confirm(cluster)
        wanted = policy_fingerprint(PLATFORM, "fra-e1")
        assert await beat(cluster, "fra-e1", "old", RoutingState.WAITING, wanted) == wanted
        await beat(cluster, "fra-e1", "old", RoutingState.REVERTED, wanted)
        await cluster.clock.sleep(1)
        assert await beat(cluster, "lon-e1", "old", wanted="new") == ""
        again = await beat(cluster, "fra-e1", "old", RoutingState.WAITING, wanted)
        assert again == wanted
        await cluster.operations.intervene(InterventionChange(verb=Verb.FREEZE))
        await cluster.clock.sleep(1)
        assert await beat(cluster, "fra-e1", "old", RoutingState.WAITING, wanted) == ""

    simulate(story)


def test_edges_of_another_version_render_otherwise_and_have_their_turns_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All agents are replaced by newer ones at once: the platform stays, their texts differ."""

    def not_ours(*_: object) -> str:
        raise AssertionError("a controller renders nothing")

    monkeypatch.setattr(bird_module, "render_bird", not_ours)

    async def story(cluster: Cluster) -> None:
        for agent in cluster.agents.values():
            agent.cut = True
        for edge in EDGES:
            await beat(cluster, edge, f"version 1 of {edge}")
        await cluster.clock.sleep(1)
        running = {edge: f"version 1 of {edge}" for edge in EDGES}
        order: list[str] = []
        for seconds in range(20):
            turns = await beats_of_version_2(cluster, running)
            await cluster.clock.sleep(1)
            if seconds < QUIET_SECONDS:  # a new agent takes no turn so early
                continue
            assert len(turns) <= 1
            running |= turns
            order += turns
        assert sorted(order) == sorted(EDGES)

    simulate(story)


async def beats_of_version_2(cluster: Cluster, running: dict[str, str]) -> dict[str, str]:
    """Send a heartbeat for every edge; return the turns by edge."""
    turns = {}
    for edge in EDGES:
        new = f"version 2 of {edge}"
        state = RoutingState.CONFIRMED if running[edge] == new else RoutingState.WAITING
        turn = await beat(cluster, edge, running[edge], state, new)
        if turn:
            assert turn == new
            turns[edge] = turn
    return turns


def test_a_bug_about_turns_harms_no_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def broken(*_: object) -> Turn:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise KeyError("lon-e1")
        return Turn(reason="nobody")

    monkeypatch.setattr(turns_module, "routing_turn", broken)

    async def story(cluster: Cluster) -> None:
        for _ in range(3):
            assert await beat(cluster, "fra-e1", "old", RoutingState.WAITING, "new") == ""
        assert asked > 1
        await cluster.clock.sleep(10)
        assert len(cluster.stored().leases) == 15

    simulate(story)
