"""Each document of an agent, cut at every byte: nobody takes it for another, and it is said."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from pltfrms.agent.control.targets import TARGET_FILE, VERSIONS_FILE, Targets
from pltfrms.agent.freeze import Frost
from pltfrms.agent.instances.drains import DRAINS_FILE, Drains, InstanceDrain
from pltfrms.agent.journal import Journal
from pltfrms.agent.patience import PatientDisk
from pltfrms.agent.problems import Problems
from pltfrms.agent.routing.costs import COSTS_FILE, Costs
from pltfrms.agent.routing.memory import AGGREGATES_FILE, Memory
from pltfrms.agent.routing.permits import PERMITS_FILE, Permits
from pltfrms.agent.routing.policy import POLICY_FILE, Policy
from pltfrms.model.network.topology import Guards, NodePrefixes
from pltfrms.model.running.machine import Instance
from pltfrms.model.running.plan import Target
from tests.agent.bench import ONE, PLATFORM, WEB, Bench, make_target
from tests.planner.targets import make_target as target_of
from tests.simulation.virtual import run_virtual
from tests.strategies import make_snapshot

PLACED = replace(PLATFORM, guards=Guards(node_prefixes=NodePrefixes.PLACED))
INSTANCE = Instance(allocation=ONE.id, pid=7, device="i1", fingerprint="f00")


class Machine:
    """A machine with one torn document, and an agent that has just begun."""

    def __init__(self, name: str, documents: Mapping[str, bytes]) -> None:
        self.bench = Bench(name)
        self.bench.disk.documents = dict(documents)
        self.problems = Problems(lambda: None)
        self.disk = PatientDisk(self.bench.disk, self.problems)

    def cuts(self, document: str) -> Iterator[int]:
        """Cut it at every byte, before an agent that knows nothing."""
        whole = self.bench.disk.documents[document]
        for size in range(len(whole)):
            self.bench.disk.documents[document] = whole[:size]
            self.problems = Problems(lambda: None)
            self.disk = PatientDisk(self.bench.disk, self.problems)
            yield size
        self.bench.disk.documents[document] = whole


def _order(machine: str) -> Target:
    target = make_target(5, ONE, machine=machine)
    if machine.endswith("e1"):
        target = target_of(make_snapshot(PLACED, (WEB,), (ONE,)), machine)
    return replace(target, generation=5)


async def _documents(name: str) -> Mapping[str, bytes]:
    bench = Bench(name)
    async with bench.life():
        await bench.order(_order(name), 6.0)
    drains = Drains(bench.disk, Problems(lambda: None))
    drains.keep(
        InstanceDrain(instance=INSTANCE, allocation=ONE, service=WEB, why="gone", begun_at=1.0)
    )
    return bench.disk.documents


@pytest.fixture(scope="module")
def node() -> Machine:
    return Machine("fra-n1", run_virtual(_documents("fra-n1")))


@pytest.fixture(scope="module")
def edge() -> Machine:
    return Machine("fra-e1", run_virtual(_documents("fra-e1")))


def test_a_target_that_is_cut_is_not_taken_for_another_one(node: Machine) -> None:
    for _ in node.cuts(TARGET_FILE):
        targets = Targets("fra-n1", node.bench.disk, lambda: PLATFORM)
        assert targets.current.generation == 0
        assert targets.current.platform_revision == 0  # it asks for the whole
        assert TARGET_FILE in targets.loss
    assert Targets("fra-n1", node.bench.disk, lambda: PLATFORM).current.generation == 5


def test_versions_that_are_cut_leave_those_of_the_target(node: Machine) -> None:
    whole = Targets("fra-n1", node.bench.disk, lambda: PLATFORM)
    assert not whole.loss
    for _ in node.cuts(VERSIONS_FILE):
        targets = Targets("fra-n1", node.bench.disk, lambda: PLATFORM)
        assert targets.current == whole.current
        assert targets.versions == whole.current.services
        assert VERSIONS_FILE in targets.loss


def test_a_policy_that_is_cut_is_neither_confirmed_nor_on_trial(edge: Machine) -> None:
    for _ in edge.cuts(POLICY_FILE):
        policy = Policy("fra-e1", edge.disk)
        with edge.problems.watch("confirmed routing"):
            policy.recall()
        assert policy.confirmed is None
        assert not policy.interrupted
        assert any("confirmed routing" in each for each in edge.problems.sentences)
    policy = Policy("fra-e1", edge.disk)
    policy.recall()
    assert policy.confirmed is not None


def test_permits_that_are_cut_are_those_of_the_target_again(edge: Machine) -> None:
    async def story() -> None:
        whole = edge.bench.disk.documents[PERMITS_FILE]
        before = Permits(edge.bench.clock, edge.disk, edge.problems)
        before.apply(_order("fra-e1"))
        for _ in edge.cuts(PERMITS_FILE):
            permits = Permits(edge.bench.clock, edge.disk, edge.problems)
            assert edge.problems.sentences
            assert permits.by_node() is None, "nobody is kept out before a target is heard"
            permits.apply(_order("fra-e1"))
            assert permits.by_node() == before.by_node()
            edge.bench.disk.documents[PERMITS_FILE] = whole

    run_virtual(story())


def test_a_memory_of_aggregates_that_is_cut_takes_nothing_away(edge: Machine) -> None:
    async def story() -> None:
        bench = edge.bench
        prefixes = [each.prefix for each in PLATFORM.aggregates]
        routes = await bench.network.routes(101)
        for size in edge.cuts(AGGREGATES_FILE):
            memory = Memory(replace(bench.make_world(), disk=edge.disk), edge.problems)
            states, outside = memory.recall(prefixes, routes)
            assert states.keys() == set(prefixes), size
            assert outside
            assert any("aggregates" in each for each in edge.problems.sentences)

    run_virtual(story())


def test_drains_that_are_cut_are_begun_anew_and_end_nobody(node: Machine) -> None:
    for _ in node.cuts(DRAINS_FILE):
        drains = Drains(node.disk, node.problems)
        drains.read((INSTANCE,))
        assert drains.of(INSTANCE) is None
        assert any("drains" in each for each in node.problems.sentences)
    drains = Drains(node.disk, node.problems)
    drains.read((INSTANCE,))
    assert drains.of(INSTANCE)


def test_costs_that_are_cut_are_measured_again(edge: Machine) -> None:
    async def story() -> None:
        for _ in edge.cuts(COSTS_FILE):
            assert _costs(edge).by_link() == {}
        assert _costs(edge).by_link()

    run_virtual(story())


def _costs(edge: Machine) -> Costs:
    world = edge.bench.make_world()
    journal = Journal("fra-e1", world.clock, lambda: None)
    return Costs(world, journal, edge.problems, "fra-e1", Frost(lambda: False), lambda: None)
