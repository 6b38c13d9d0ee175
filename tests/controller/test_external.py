"""Controllers and edges that others manage: nobody waits for them, nobody misses them."""

from dataclasses import replace

import pytest

from pltfrms.errors import NotFoundError
from pltfrms.model.messages.api import Change, Heartbeat, InterventionChange, Verb
from pltfrms.model.network.topology import Machine, Platform, Role
from pltfrms.model.running.state import MachineStatus, RoutingState, RoutingStatus
from pltfrms.planner.placement.explain import explain_service
from pltfrms.planner.placement.plan import make_plan
from pltfrms.render.bird import policy_fingerprint
from tests.controller.cluster import Cluster
from tests.planner.targets import make_target
from tests.simulation.virtual import run_virtual
from tests.strategies import make_platform, make_spec

OTHERS = ("fra-x9", "lon-e1")


def _platform() -> Platform:
    """Return a platform with an external edge beside ours, and one that is all lon has."""
    ours = make_platform({"ams": 3, "fra": 3, "lon": 3})
    x9 = Machine(name="fra-x9", datacenter="fra", role=Role.EDGE, id=9, external=True)
    machines = tuple(replace(one, external=one.name in OTHERS) for one in ours.machines)
    return replace(ours, machines=(*machines, x9))


PLATFORM = _platform()


async def _story(cluster: Cluster) -> None:
    for name in OTHERS:
        del cluster.agents[name]
    cluster.start()
    await cluster.until(lambda: len(cluster.stored().leases) == len(PLATFORM.managed), 10)
    await cluster.operations.apply(Change(services=(make_spec("web", 2),)))
    await cluster.until(lambda: cluster.settled("web"), 10)
    # Long enough to call anybody lost who should have been heard of.
    await cluster.clock.sleep(60)
    cluster.require_alive()


def test_nothing_is_missing_without_them() -> None:
    async def run() -> None:
        cluster = Cluster(PLATFORM)
        await _story(cluster)
        view = cluster.operations.snapshot()
        assert view.notes == ()
        assert set(view.snapshot.machines) == {one.name for one in PLATFORM.managed}
        events = await cluster.operations.events(0, 0, 1000)
        assert [event.about for event in events if event.what == "machine lost"] == []
        # A node's death is repaired where others manage the only edge, as everywhere.
        node = next(one.node for one in view.snapshot.allocations.values() if "lon" in one.node)
        cluster.agents[node].dead = True
        cluster.agents[node].ready_at.clear()
        await cluster.until(lambda: len(cluster.serving("web")) < 6, 1)
        await cluster.until(lambda: len(cluster.serving("web")) == 6, 12)

    run_virtual(run())


def test_they_get_no_target_and_have_no_heartbeat() -> None:
    async def run() -> None:
        cluster = Cluster(PLATFORM)
        await _story(cluster)
        snapshot = cluster.operations.snapshot().snapshot
        for name in OTHERS:
            with pytest.raises(NotFoundError, match="others manage"):
                await cluster.operations.target(name, 0, 0)
            with pytest.raises(NotFoundError, match="others manage"):
                make_target(snapshot, name)
            heartbeat = Heartbeat(status=MachineStatus(machine=name))
            with pytest.raises(NotFoundError):
                await cluster.operations.heartbeat(heartbeat)
            drain = InterventionChange(verb=Verb.DRAIN, edge=name, by="ada")
            with pytest.raises(NotFoundError):
                await cluster.operations.intervene(drain)

    run_virtual(run())


def test_turns_pass_them_by() -> None:
    async def run() -> None:
        cluster = Cluster(PLATFORM)
        await _story(cluster)
        edges = [one.name for one in PLATFORM.managed if one.role is Role.EDGE]
        turns: set[str] = set()
        for _ in range(4):  # one after the other; what one says is known a little later
            for edge in edges:
                wanted = policy_fingerprint(PLATFORM, edge)
                running = wanted if edge in turns else "old"
                routing = RoutingStatus(
                    wanted=wanted, running=running, state=RoutingState.CONFIRMED
                )
                cluster.agents[edge].cut = True
                generation = cluster.stored().commit
                status = MachineStatus(machine=edge, generation=generation, routing=routing)
                reply = await cluster.operations.heartbeat(Heartbeat(status=status))
                turns |= {edge} if reply.turn else set()
            await cluster.clock.sleep(0.5)
        assert turns == set(edges)

    run_virtual(run())


def test_the_plan_is_as_if_they_were_not_there() -> None:
    async def run() -> None:
        cluster = Cluster(PLATFORM)
        await _story(cluster)
        snapshot = cluster.operations.snapshot().snapshot
        alone = replace(snapshot, platform=replace(PLATFORM, machines=PLATFORM.managed))
        assert make_plan(snapshot) == make_plan(alone)
        assert make_plan(snapshot).steps == ()
        why = explain_service(snapshot, "web")
        assert "fra-x9: others manage it; what it announces is not known." in why

    run_virtual(run())
