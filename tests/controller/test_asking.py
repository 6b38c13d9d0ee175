"""What controllers know of traffic and of RPKI when they judge a change, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from pltfrms.controller.asked.operations import Operations
from pltfrms.drivers.glass.client import GlassMachine
from pltfrms.errors import ConflictError, UnavailableError
from pltfrms.model.messages.api import Change, Heartbeat, InterventionChange, Verb
from pltfrms.model.messages.guards import Guard
from pltfrms.model.network.peering import (
    OriginQuestion,
    OriginValidation,
    Peer,
    PeerKind,
    Roa,
    RtrCache,
    Session,
    Validity,
)
from pltfrms.model.network.topology import Aggregate, Platform
from pltfrms.model.running.state import Load, MachineStatus
from pltfrms.planner.changes.origins import answer
from tests.controller.cluster import Cluster
from tests.simulation.virtual import run_virtual
from tests.strategies import make_platform

NEW = ip_network("198.18.4.0/24")
GBIT = 10**9


def session(edge: str, port: str, number: int) -> Session:
    return Session(
        edge=edge,
        ours=(ip_interface(f"203.0.113.{2 * number + 1}/31"),),
        theirs=(ip_address(f"203.0.113.{2 * number}"),),
        interface=port,
        capacity_mbps=10_000,
    )


TRANSITS = tuple(
    Peer(
        name=name,
        kind=PeerKind.TRANSIT,
        asn=64601 + at,
        sessions=(
            session("fra-e1", f"x-{name}", 2 * at),
            session("ams-e1", f"x-{name}", 2 * at + 1),
        ),
    )
    for at, name in enumerate(("transit1", "transit2"))
)
PLATFORM: Platform = replace(
    make_platform({"fra": 1, "ams": 1, "lon": 1}),
    peers=TRANSITS,
    origin_validation=OriginValidation(caches=(RtrCache(address=ip_address("10.1.255.1")),)),
)
WITH_NEW = replace(PLATFORM, aggregates=(*PLATFORM.aggregates, Aggregate(prefix=NEW)))


class FakeOrigins:
    """Edges that know these ROAs, unless they are silent."""

    def __init__(self, *roas: Roa) -> None:
        self.roas = roas
        self.silent: set[str] = set()
        self.asked: list[str] = []

    async def validities(
        self, place: GlassMachine, questions: Sequence[OriginQuestion]
    ) -> Mapping[OriginQuestion, Validity]:
        self.asked.append(place.machine)
        if place.machine in self.silent:
            raise UnavailableError(f"{place.machine} has no ROAs")
        return answer(self.roas, questions)


Story = Callable[[Cluster, Operations], Awaitable[None]]


def tell(
    story: Story, origins: FakeOrigins | None = None, platform: Platform = PLATFORM
) -> None:
    async def run() -> None:
        cluster = Cluster(platform)
        cluster.start()
        await cluster.until(lambda: len(cluster.stored().leases) == 9, 10)
        operations = Operations(cluster.operations.controller, origins)
        await asyncio.ensure_future(story(cluster, operations))
        cluster.require_alive()

    run_virtual(run())


# ---- RPKI ----------------------------------------------------------------------------------


def test_a_new_aggregate_of_another_origin_is_refused_until_it_is_meant() -> None:
    origins = FakeOrigins(Roa(prefix=NEW, asn=64999, max_length=24))

    async def story(cluster: Cluster, operations: Operations) -> None:
        preview = await operations.plan(Change(platform=WITH_NEW))
        (verdict,) = preview.verdicts
        assert (verdict.guard, verdict.about) == (Guard.ROA, str(NEW))
        with pytest.raises(ConflictError, match="--yes-i-mean roa"):
            await operations.apply(Change(platform=WITH_NEW))
        assert cluster.stored().platform == PLATFORM
        await operations.apply(Change(platform=WITH_NEW, despite=(Guard.ROA,)))
        assert cluster.stored().platform == WITH_NEW
        events = await operations.events(0, 0, 1000)
        (event,) = [each for each in events if each.what == "guard overridden"]
        assert (event.about, "AS64500" in event.detail) == ("guard/roa", True)

    tell(story, origins)
    assert set(origins.asked) == {"fra-e1"}, "one edge is enough"


def test_a_valid_one_passes_and_what_has_no_roa_is_warned_of() -> None:
    async def valid(_cluster: Cluster, operations: Operations) -> None:
        preview = await operations.apply(Change(platform=WITH_NEW))
        assert (preview.verdicts, preview.doubts) == ((), ())

    async def uncovered(_cluster: Cluster, operations: Operations) -> None:
        preview = await operations.apply(Change(platform=WITH_NEW))
        (doubt,) = preview.doubts
        assert (preview.verdicts, doubt.about) == ((), str(NEW))
        assert "no ROA covers it" in doubt.sentence

    tell(valid, FakeOrigins(Roa(prefix=NEW, asn=PLATFORM.asn, max_length=24)))
    tell(uncovered, FakeOrigins())


def test_the_next_edge_is_asked_when_one_is_silent_and_then_it_is_not_known() -> None:
    origins = FakeOrigins(Roa(prefix=NEW, asn=64999, max_length=24))

    async def story(_cluster: Cluster, operations: Operations) -> None:
        origins.silent = {"fra-e1"}
        preview = await operations.plan(Change(platform=WITH_NEW))
        assert preview.verdicts
        assert origins.asked == ["fra-e1", *["ams-e1"] * 2], "lon-e1 has no session"
        origins.silent = {"fra-e1", "ams-e1"}
        preview = await operations.plan(Change(platform=WITH_NEW))
        (doubt,) = preview.doubts
        assert preview.verdicts == ()
        assert doubt.sentence == ("not known whether a ROA allows it: ams-e1 has no ROAs")

    tell(story, origins)


def test_without_caches_it_is_not_known_and_nobody_is_asked() -> None:
    bare = replace(PLATFORM, origin_validation=OriginValidation())
    origins = FakeOrigins()

    async def story(_cluster: Cluster, operations: Operations) -> None:
        change = Change(platform=replace(WITH_NEW, origin_validation=OriginValidation()))
        (doubt,) = (await operations.plan(change)).doubts
        assert "the platform has no RPKI caches" in doubt.sentence

    tell(story, origins, bare)
    assert origins.asked == []


def test_what_announces_nothing_new_asks_nobody() -> None:
    origins = FakeOrigins()

    async def story(_cluster: Cluster, operations: Operations) -> None:
        less = replace(PLATFORM, guards=replace(PLATFORM.guards, shrink_percent=50))
        await operations.apply(Change(platform=less))

    tell(story, origins)
    assert origins.asked == []


# ---- traffic -------------------------------------------------------------------------------


async def report(cluster: Cluster, edge: str, loads: Mapping[str, tuple[float, float]]) -> None:
    """Have an edge tell its loads, in Gbit/s in and out, and from now on nothing else."""
    cluster.agents[edge].cut = True
    status = MachineStatus(
        machine=edge,
        loads={
            port: Load(received_bps=int(there * GBIT), sent_bps=int(back * GBIT))
            for port, (there, back) in loads.items()
        },
    )
    await cluster.operations.heartbeat(Heartbeat(status=status))
    await cluster.clock.sleep(0.5)


def test_a_drain_without_headroom_is_refused_with_numbers() -> None:
    async def story(cluster: Cluster, operations: Operations) -> None:
        await report(cluster, "fra-e1", {"x-transit1": (0.2, 6.2), "x-transit2": (0.2, 5.1)})
        drain = InterventionChange(verb=Verb.DRAIN, peer="transit1", edge="fra-e1")
        with pytest.raises(ConflictError) as refused:
            await operations.intervene(drain)
        assert (
            "headroom: transit1@fra-e1: carries 6.2 Gbit/s out; left in fra: 10 Gbit/s with "
            "5.1 Gbit/s in use -> 113 %, more than 90 %"
        ) in str(refused.value)
        assert cluster.stored().interventions.drains == ()
        other = await operations.intervene(replace(drain, dry_run=True, edge="ams-e1"))
        assert (other.verdicts, len(other.doubts)) == ((), 1), "not known: nothing is refused"
        reply = await operations.intervene(replace(drain, despite=(Guard.HEADROOM,)))
        assert reply.changed

    tell(story)


def test_a_plan_without_headroom_is_refused_too_and_what_is_unknown_is_named() -> None:
    async def story(cluster: Cluster, operations: Operations) -> None:
        first = replace(TRANSITS[0], sessions=TRANSITS[0].sessions[1:])
        less = Change(platform=replace(PLATFORM, peers=(first, TRANSITS[1])))
        preview = await operations.plan(less)
        assert [each.guard for each in preview.verdicts] == []
        (doubt,) = preview.doubts
        assert doubt.sentence == (
            "not known whether there is room in fra for its traffic: the load of "
            "transit1@fra-e1, the load of transit2@fra-e1"
        )
        await report(cluster, "fra-e1", {"x-transit1": (6.2, 0.2), "x-transit2": (5.1, 0.2)})
        (verdict,) = (await operations.plan(less)).verdicts
        assert verdict.sentence.startswith("carries 6.2 Gbit/s in; ")
        await cluster.clock.sleep(10)
        preview = await operations.plan(less)
        assert preview.verdicts == (), "what an edge out of contact said is old"
        assert preview.doubts

    tell(story)
