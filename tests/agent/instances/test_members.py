"""A replica with a volume, on one node: its addresses, its names, the file of all others."""

import json
from dataclasses import replace
from ipaddress import ip_network

from pltfrms.drivers.workload.memory import Behaviour
from pltfrms.model.running.balancer import as_balanced
from pltfrms.model.running.machine import PROTO_BIRD, ROLE_TABLE, Instance, Route
from pltfrms.model.running.plan import Target
from pltfrms.model.running.volumes import Volume
from pltfrms.model.services.members import Membership
from pltfrms.model.services.roles import claim_of
from pltfrms.model.services.service import Service
from pltfrms.model.services.storage import PEERS_FILE
from tests.agent.bench import Bench, devices
from tests.agent.instances.test_volumes import KEPT, OLD, VOLUME, kept
from tests.simulation.virtual import run_virtual

DB = replace(KEPT, numbers4=(9, 4))
MEMBERS = Membership(counts=(("fra", 2), ("ams", 1)), numbers4=DB.numbers4)
OWN4, OWN6 = "10.1.0.9/32", "fd00:0:1:1001:0:1:0:1/128"
OTHER = Volume(
    id="web.ams.1@7",
    service="web",
    datacenter="ams",
    replica=1,
    generation=7,
    node="ams-n1",
    begun_ms=1_790_000_000_000,
)


def target(
    generation: int, *peers: Volume, service: Service = DB, known: bool = True
) -> Target:
    told = replace(kept(generation, OLD, volumes=(VOLUME,)), services=(service,), peers=peers)
    return replace(told, balanced=(as_balanced(service, MEMBERS),) if known else ())


def members(bench: Bench) -> dict[str, dict[str, object]]:
    text = bench.workload.live(OLD.id)[PEERS_FILE]
    return {each["name"].split(".")[0]: each for each in json.loads(text)["members"]}


def test_its_addresses_lead_to_it_until_another_node_has_a_newer_volume() -> None:
    async def story() -> None:
        bench = Bench()
        newer = Route(
            prefix=ip_network(OWN6),
            table=ROLE_TABLE,
            proto=PROTO_BIRD,
            metric=claim_of(2, 1, 9),
        )
        async with bench.life():
            await bench.order(target(1, VOLUME))
            for own in (OWN4, OWN6):
                assert await devices(bench.network, own) == {"i1"}
            bench.network.set_route(replace(newer, metric=claim_of(0, 1, 9)))
            await bench.passes(3.0)
            assert await devices(bench.network, OWN6) == {"i1"}
            bench.network.set_route(newer)
            await bench.passes(3.0)
            assert await devices(bench.network, OWN6) == set()
            assert await devices(bench.network, OWN4) == {"i1"}
            said = " ".join(bench.status.problems)
            assert f"{OWN6} of {OLD.id}: another node has a newer volume" in said
            bench.network.delete_route(newer)
            bench.network.delete_route(replace(newer, metric=claim_of(0, 1, 9)))
            await bench.passes(3.0)
            assert await devices(bench.network, OWN6) == {"i1"}
            assert bench.status.problems == ()
            await bench.order(target(2, VOLUME, known=False))
            assert await devices(bench.network, OWN6) == set(), "its service is deleted"

    run_virtual(story())


def test_it_knows_its_own_name_and_addresses() -> None:
    words = (
        "${pltfrms.replica.name}",
        "${pltfrms.replica.address4}",
        "${pltfrms.replica.address6}",
    )
    run = replace(DB.spec.run, process=("db", *words))
    started: list[tuple[str, ...]] = []

    def seen(spec: object) -> Behaviour:
        started.append(spec.process)  # type: ignore[attr-defined]
        return Behaviour()

    async def story() -> None:
        bench = Bench()
        bench.workload.behave = seen
        async with bench.life():
            await bench.order(target(1, service=replace(DB, spec=replace(DB.spec, run=run))))
            outgoing = bench.workload.outgoing(OLD.id)
            assert outgoing is not None
            assert [str(each) for each in outgoing.lasting] == [OWN4, OWN6]

    run_virtual(story())
    assert started[-1] == ("db", "fra-1.web.test.internal", "10.1.0.9", "fd00:0:1:1001:0:1:0:1")


def test_all_members_are_in_its_file_which_follows_them_without_a_restart() -> None:
    run = replace(DB.spec.run, peers_signal="HUP")
    service = replace(DB, spec=replace(DB.spec, run=run))

    async def story() -> None:
        bench = Bench()
        async with bench.life():
            await bench.order(target(1, VOLUME, service=service))
            assert list(members(bench)) == ["fra-1", "fra-2", "ams-1"]
            assert members(bench)["fra-1"]["node"] == "fra-n1"
            assert members(bench)["ams-1"]["node"] is None
            assert members(bench)["fra-2"]["address4"] == "10.1.0.4"
            assert bench.workload.signals(OLD.id) == []
            await bench.order(target(2, VOLUME, OTHER, service=service))
            ams = members(bench)["ams-1"]
            assert (ams["node"], ams["since"]) == ("ams-n1", "2026-09-21T14:13:20Z")
            assert ams["address6"] == "fd00:0:1:1002:0:1:0:1"
            assert bench.workload.signals(OLD.id) == ["HUP"]
        bench.controllers.alive = False
        async with bench.life():
            await bench.passes(10.0)
            assert members(bench)["ams-1"]["node"] == "ams-n1"
            assert bench.workload.signals(OLD.id) == ["HUP"], "it has the same file"
        assert [deed.what for deed in bench.workload.deeds] == ["start"]

    run_virtual(story())


def test_who_has_not_answered_yet_is_signalled_when_it_has() -> None:
    run = replace(DB.spec.run, peers_signal="USR1")
    service = replace(DB, spec=replace(DB.spec, run=run))

    async def story() -> None:
        bench = Bench()
        bench.workload.behave = lambda _spec: Behaviour(healthy_after_ms=8000)
        async with bench.life():
            await bench.order(target(1, VOLUME, service=service), 2)
            await bench.order(target(2, VOLUME, OTHER, service=service), 2)
            assert members(bench)["ams-1"]["node"] == "ams-n1"
            assert bench.workload.signals(OLD.id) == [], "it could end it"
            await bench.passes(15.0)
            assert bench.workload.signals(OLD.id) == ["USR1"]

    run_virtual(story())


def test_a_signal_that_could_not_be_sent_is_sent_later() -> None:
    run = replace(DB.spec.run, peers_signal="HUP")
    service = replace(DB, spec=replace(DB.spec, run=run))

    async def story() -> None:
        bench = Bench()
        send, wants = bench.workload.signal, [True]

        async def signal(instance: Instance, name: str) -> None:
            if wants:
                wants.pop()
                raise OSError("no descriptors left")
            await send(instance, name)

        bench.workload.signal = signal  # type: ignore[method-assign]
        async with bench.life():
            await bench.order(target(1, VOLUME, service=service))
            await bench.order(target(2, VOLUME, OTHER, service=service), 8)
            assert wants == []
            assert bench.workload.signals(OLD.id) == ["HUP"]

    run_virtual(story())
