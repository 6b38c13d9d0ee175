"""A node has the secrets of what it runs on its own disk, and opens them on its own."""

from dataclasses import replace
from pathlib import Path

from pltfrms.drivers.sealing import NodeKey, seal
from pltfrms.drivers.workload.instance.secrets import opened
from pltfrms.drivers.workload.memory import Behaviour
from pltfrms.model.running.machine import InstanceSpec
from pltfrms.model.running.plan import Allocation, Target
from pltfrms.model.services.secrets import DeliveredSecret, OnChange, SecretUse, delivery_words
from pltfrms.model.services.service import Service
from tests.agent.bench import ONE, TWO, WEB, Bench, devices, make_target
from tests.simulation.virtual import run_virtual


class Node:
    """A bench whose instances are looked at as they start, and the key of its machine."""

    def __init__(self, state: Path) -> None:
        self.bench = Bench()
        self.key = NodeKey(state)
        self.key.make()
        self.given: dict[str, dict[str, str]] = {}
        """What instances that started last were told, by allocation."""
        behave = self.bench.workload.behave

        def look(spec: InstanceSpec) -> Behaviour:
            told, _ = opened(spec, NodeKey(state), state)
            self.given[spec.allocation] = dict(told.environment)
            return behave(spec)

        self.bench.workload.behave = look

    def sealed(self, version: int, value: bytes) -> DeliveredSecret:
        words = delivery_words("fra-n1", "db", version)
        text = seal(self.key.public, value, words)
        return DeliveredSecret(name="db", version=version, sealed=text)


def following(version: int, of_secret: int) -> Service:
    use = SecretUse(name="db", variable="DB", version=of_secret)
    run = replace(WEB.spec.run, secrets=(use,))
    return replace(WEB, version=version, spec=replace(WEB.spec, run=run))


def signalled() -> Service:
    use = SecretUse(name="db", file="db", on_change=OnChange.SIGNAL_HUP)
    return replace(WEB, spec=replace(WEB.spec, run=replace(WEB.spec.run, secrets=(use,))))


def told(
    generation: int, service: Service, secret: DeliveredSecret, *allocations: Allocation
) -> Target:
    target = make_target(generation, *allocations)
    return replace(target, services=(service,), secrets=(secret,))


def test_a_rebooted_node_gives_its_instances_their_secrets_without_controllers(
    tmp_path: Path,
) -> None:
    node = Node(tmp_path)
    bench = node.bench

    async def story() -> None:
        async with bench.life():
            await bench.order(told(5, following(1, 1), node.sealed(1, b"swordfish"), ONE, TWO))
        bench.controllers.alive = False
        await bench.workload.power_off()
        node.given.clear()
        async with bench.life():
            assert await devices(bench.network) == {"i1", "i2"}
            assert [each["DB"] for each in node.given.values()] == ["swordfish"] * 2
            assert bench.status.problems == ()
        assert not [text for text in bench.disk.documents.values() if b"swordfish" in text]

    run_virtual(story())


def test_what_still_runs_an_older_version_has_its_own_value_after_a_reboot(
    tmp_path: Path,
) -> None:
    node = Node(tmp_path)
    bench = node.bench

    async def story() -> None:
        async with bench.life():
            await bench.order(told(5, following(1, 1), node.sealed(1, b"one"), ONE, TWO))
            newer = replace(TWO, version=2)
            await bench.order(told(6, following(2, 2), node.sealed(2, b"two"), ONE, newer))
        bench.controllers.alive = False
        await bench.workload.power_off()
        node.given.clear()
        async with bench.life():
            assert {name: each["DB"] for name, each in node.given.items()} == {
                ONE.id: "one",
                TWO.id: "two",
            }

    run_virtual(story())


def test_a_value_that_is_not_here_is_waited_for_and_stops_nothing_else(tmp_path: Path) -> None:
    node = Node(tmp_path)
    bench = node.bench

    async def story() -> None:
        async with bench.life():
            await bench.order(told(5, following(1, 1), node.sealed(1, b"one"), ONE))
            two = replace(TWO, version=2)
            await bench.order(told(6, following(2, 2), node.sealed(1, b"one"), ONE, two))
            assert await devices(bench.network) == {"i1"}
            assert [each for each in bench.status.problems if "value 2 of secret db" in each]
            await bench.order(told(7, following(2, 2), node.sealed(2, b"two"), ONE, two))
            assert node.given[TWO.id]["DB"] == "two"
            assert bench.status.problems == ()

    run_virtual(story())


def test_who_runs_is_looked_after_though_its_newest_value_is_not_known(tmp_path: Path) -> None:
    node = Node(tmp_path)
    bench = node.bench
    lacking = DeliveredSecret(name="db", version=2)

    async def story() -> None:
        async with bench.life():
            await bench.order(told(5, signalled(), node.sealed(1, b"one"), ONE))
            await bench.order(told(6, signalled(), lacking, ONE))
            assert bench.status.problems == ()
        async with bench.life():
            await bench.passes(2)
            assert await devices(bench.network) == {"i1"}
            asked = replace(told(6, signalled(), node.sealed(2, b"two"), ONE), made_of="x")
            bench.controllers.latest = asked
            await bench.passes(40)
            said = bench.controllers.events("instance signalled: secrets have other values")
            assert len(said) == 1
            assert [deed.what for deed in bench.workload.deeds] == ["start"]

    run_virtual(story())


def test_a_value_that_was_given_is_kept_where_no_controller_opens_it_any_more(
    tmp_path: Path,
) -> None:
    node = Node(tmp_path)
    bench = node.bench

    async def story() -> None:
        async with bench.life():
            await bench.order(told(5, following(1, 1), node.sealed(1, b"one"), ONE))
            lacking = DeliveredSecret(name="db", version=1)
            await bench.order(told(6, following(1, 1), lacking, ONE, TWO))
            assert node.given[TWO.id]["DB"] == "one"
            assert bench.status.problems == ()

    run_virtual(story())


def test_who_follows_by_a_signal_gets_another_value_once_and_goes_on(tmp_path: Path) -> None:
    node = Node(tmp_path)
    bench = node.bench

    async def story() -> None:
        async with bench.life():
            for generation, (version, value) in enumerate(
                ((1, b"one"), (2, b"two"), (2, b"two")), start=5
            ):
                sealed = node.sealed(version, value)
                await bench.order(told(generation, signalled(), sealed, ONE))
            assert [deed.what for deed in bench.workload.deeds] == ["start"]
            said = bench.controllers.events("instance signalled: secrets have other values")
            assert len(said) == 1
            assert bench.instances[ONE.id].restarts == 0

    run_virtual(story())
