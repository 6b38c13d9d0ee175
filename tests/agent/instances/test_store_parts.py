"""An instance that has a part of the store knows where it is asked, and whom to believe."""

import json
from dataclasses import replace

from pltfrms.agent.world import World
from pltfrms.errors import UsageError
from pltfrms.model.running.plan import Target
from pltfrms.model.services.parts import ROOTS_FILE, STORE_FILE, StoreUse
from tests.agent.bench import PLATFORM, WEB, Bench, devices, make_target
from tests.simulation.virtual import run_virtual
from tests.strategies import make_allocation

OWN = make_allocation("web.fra.1-1", "fra-n1")
ASKING = replace(
    WEB,
    spec=replace(WEB.spec, run=replace(WEB.spec.run, store=StoreUse(secret="w"))),  # noqa: S106 (a name)
)
GATE = "fra-c1.machine.test.pltfrms.internal"


class Believing(Bench):
    """A machine that has joined, or not."""

    roots = ""
    unreadable = False

    def make_world(self) -> World:
        return replace(super().make_world(), roots=self._read)

    def _read(self) -> str:
        if self.unreadable:
            raise UsageError("others may read it")
        return self.roots

    def live(self, name: str) -> str | None:
        return self.workload.live(OWN.id).get(name)


def wanted(generation: int, *, asks: bool = True) -> Target:
    return replace(make_target(generation, OWN), services=(ASKING if asks else WEB,))


def test_it_is_told_where_to_ask_with_what_is_near_first() -> None:
    async def story() -> None:
        bench = Believing()
        async with bench.life():
            await bench.order(wanted(1))
            said = json.loads(bench.live(STORE_FILE) or "")
            gates = list(said.pop("hosts"))
            assert said == {
                "prefix": "/pltfrms-parts/web/",
                "user": "web",
                "protocol": "http",
                "roots": None,
            }
            controllers = [each for each in PLATFORM.machines if each.name.endswith("-c1")]
            at = [f"[{PLATFORM.loopback6(each)}]:7480" for each in controllers]
            assert sorted(gates) == sorted(at)
            assert gates[0] == at[[each.name for each in controllers].index("fra-c1")]
            assert bench.live(ROOTS_FILE) is None

    run_virtual(story())


def test_by_tls_it_is_told_names_and_whom_to_believe_as_that_changes() -> None:
    async def story() -> None:
        bench = Believing()
        bench.roots = "a root"
        async with bench.life():
            await bench.order(wanted(1))
            said = json.loads(bench.live(STORE_FILE) or "")
            assert (said["protocol"], said["roots"]) == ("https", ROOTS_FILE)
            assert said["hosts"][0] == f"{GATE}:7480"
            assert bench.live(ROOTS_FILE) == "a root"
            assert any(GATE in line for line in bench.workload.names(OWN.id))
            bench.roots = "a root, and another one"
            await bench.passes(10.0)
            assert bench.live(ROOTS_FILE) == "a root, and another one"
            bench.unreadable = True
            await bench.order(wanted(2))
            assert bench.live(ROOTS_FILE) == "a root, and another one"
            assert bench.status.problems == ()
        assert [deed.what for deed in bench.workload.deeds] == ["start"]

    run_virtual(story())


def test_who_cannot_be_told_whom_to_believe_is_not_started() -> None:
    async def story() -> None:
        bench = Believing()
        bench.unreadable = True
        async with bench.life():
            await bench.order(wanted(1))
            assert bench.workload.deeds == []
            assert "others may read it" in " ".join(bench.status.problems)
            bench.unreadable = False
            await bench.order(wanted(2))
            assert [deed.what for deed in bench.workload.deeds] == ["start"]

    run_virtual(story())


def test_who_runs_keeps_its_routes_and_its_gates_while_nobody_knows_whom_to_believe() -> None:
    """Another agent, and an identity that cannot be read by then: the instance has its own."""

    async def story() -> None:
        bench = Believing()
        bench.roots = "a root"
        async with bench.life():
            await bench.order(wanted(1))
            assert await devices(bench.network) == {"i1"}
            before = bench.live(STORE_FILE), bench.workload.names(OWN.id)
        bench.unreadable = True
        async with bench.life(20.0):
            assert await devices(bench.network) == {"i1"}
            assert (bench.live(STORE_FILE), bench.workload.names(OWN.id)) == before
            assert bench.live(ROOTS_FILE) == "a root"
            assert "others may read it" in " ".join(bench.status.problems)
            bench.roots, bench.unreadable = "another root", False
            await bench.passes(10.0)
            assert bench.live(ROOTS_FILE) == "another root"
            assert bench.status.problems == ()
        assert [deed.what for deed in bench.workload.deeds] == ["start"]

    run_virtual(story())


def test_who_has_no_part_is_told_nothing() -> None:
    async def story() -> None:
        bench = Believing()
        bench.roots = "a root"
        async with bench.life():
            await bench.order(wanted(1, asks=False))
            assert bench.workload.live(OWN.id) == {}
            assert not any(GATE in line for line in bench.workload.names(OWN.id))

    run_virtual(story())
