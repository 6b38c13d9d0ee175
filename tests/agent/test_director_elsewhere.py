"""An edge whose instances of a service are all ill, and others that may be better."""

from pltfrms.agent.director.elsewhere import HOLD_SECONDS
from pltfrms.model.running.machine import REMOTE_TABLE, Route
from tests.agent.bench import WEB
from tests.agent.test_director import Directed, instance, ready
from tests.simulation.virtual import run_virtual

ACTIVE, BACKUP = 1010, 3010
BETTER = Route(prefix=WEB.prefixes[0], table=REMOTE_TABLE, proto=12, metric=32)
"""Another datacenter has somebody who is well."""


def change(machine: Directed, slot: int, metric: int) -> None:
    """Have BIRD tell that an instance is in another state."""
    for each in (ACTIVE, BACKUP):
        machine.network.delete_route(ready(slot, each))
    machine.network.set_route(ready(slot, metric))


def test_an_edge_leaves_a_service_to_others_only_while_all_are_ill_here_and_not_there() -> None:
    async def scenario() -> None:
        machine = Directed()
        both = {instance(1), instance(2)}
        async with machine.running():
            machine.network.set_route(BETTER)
            for slot in (1, 2):
                machine.network.set_route(ready(slot))
            await machine.clock.sleep(2 * HOLD_SECONDS)
            assert machine.served() == both, "who is well here serves here"
            change(machine, 1, BACKUP)
            await machine.clock.sleep(2 * HOLD_SECONDS)
            assert machine.served() == both
            change(machine, 2, BACKUP)
            await machine.clock.sleep(HOLD_SECONDS - 0.5)
            assert machine.served() == both, "perhaps it is so everywhere in a moment"
            assert machine.director.elsewhere == frozenset()
            await machine.clock.sleep(2.0)
            assert machine.served() == set()
            assert machine.director.elsewhere == {WEB.id}
            machine.network.delete_route(BETTER)
            await machine.clock.sleep(1.1)
            assert machine.served() == both, "nobody is well anywhere"
            machine.network.set_route(BETTER)
            await machine.clock.sleep(HOLD_SECONDS + 1.5)
            assert machine.served() == set()
            change(machine, 1, ACTIVE)
            await machine.clock.sleep(0.05)
            assert machine.served() == both, "somebody here is well again"
            assert machine.director.elsewhere == frozenset()

    run_virtual(scenario())


def test_who_is_ill_for_a_moment_while_others_are_well_elsewhere_goes_on_serving() -> None:
    async def scenario() -> None:
        machine = Directed()
        async with machine.running():
            machine.network.set_route(ready(1))
            await machine.clock.sleep(1.0)
            for _ in range(5):
                machine.network.set_route(BETTER)
                change(machine, 1, BACKUP)
                for _ in range(20):
                    await machine.clock.sleep(0.1)
                    assert machine.served() == {instance(1)}
                change(machine, 1, ACTIVE)
                await machine.clock.sleep(0.5)

    run_virtual(scenario())


def test_who_comes_up_ill_takes_no_clients_from_others_that_are_well() -> None:
    async def scenario() -> None:
        machine = Directed()
        machine.network.set_route(BETTER)
        machine.network.set_route(ready(1, BACKUP))
        async with machine.running():
            for _ in range(100):
                assert machine.served() == set()
                await machine.clock.sleep(0.05)
            machine.network.set_route(ready(2, BACKUP))
            await machine.clock.sleep(0.05)
            assert machine.served() == set()

    run_virtual(scenario())


def test_a_node_knows_nobody_elsewhere() -> None:
    async def scenario() -> None:
        machine = Directed("fra-n1")
        machine.network.set_route(BETTER)
        machine.network.set_route(ready(1, BACKUP))
        async with machine.running():
            await machine.clock.sleep(10.0)
            assert machine.served() == {instance(1)}

    run_virtual(scenario())
