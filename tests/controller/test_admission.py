"""What a change leaves without room is said, or refused, as the platform wants it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from pltfrms.errors import ConflictError
from pltfrms.model.messages.api import Change
from pltfrms.model.messages.guards import Guard
from pltfrms.model.network.topology import Admission, Guards, Platform
from tests.controller.cluster import Cluster
from tests.simulation.virtual import run_virtual
from tests.strategies import make_platform, make_spec

PLATFORM = make_platform({"fra": 2, "ams": 3})
WEB = make_spec(replicas=2)
ONLY = (Guard.N1_ADMISSION, "service/web")


def wanting(admission: Admission) -> Platform:
    return replace(PLATFORM, guards=Guards(n1_admission=admission))


def story(platform: Platform, tell: Callable[[Cluster], Awaitable[None]]) -> None:
    async def run() -> None:
        cluster = Cluster(platform)
        cluster.start()
        machines = len(platform.machines)
        await cluster.until(lambda: len(cluster.stored().leases) == machines, 10)
        await asyncio.ensure_future(tell(cluster))

    run_virtual(run())


def test_a_replica_without_a_second_place_is_remarked_and_taken() -> None:
    async def tell(cluster: Cluster) -> None:
        for act in (cluster.operations.plan, cluster.operations.apply):
            preview = await act(Change(services=(WEB,)))
            assert [(each.guard, each.about) for each in preview.doubts] == [ONLY]
            sentence = preview.doubts[0].sentence
            assert "without node/fra-n1 web.fra." in sentence
            assert "nor do those of 1 other nodes" in sentence
            assert not preview.verdicts

    story(wanting(Admission.WARN), tell)


def test_it_is_refused_where_that_is_wanted_unless_it_is_meant() -> None:
    async def tell(cluster: Cluster) -> None:
        with pytest.raises(ConflictError, match="n1_admission: service/web: without node/fra"):
            await cluster.operations.apply(Change(services=(WEB,)))
        assert not cluster.stored().services
        despite = Change(services=(WEB,), despite=(Guard.N1_ADMISSION,))
        assert (await cluster.operations.apply(despite)).verdicts
        await cluster.until(lambda: cluster.settled("web"), 20)
        # What was so before is no fault of a change.
        other = make_spec("api", replicas=1)
        assert not (await cluster.operations.apply(Change(services=(other,)))).verdicts

    story(wanting(Admission.REFUSE), tell)


def test_what_fits_in_and_who_does_not_ask_hear_nothing() -> None:
    async def fits(cluster: Cluster) -> None:
        preview = await cluster.operations.apply(Change(services=(make_spec(replicas=1),)))
        assert (preview.doubts, preview.verdicts) == ((), ())

    async def unasked(cluster: Cluster) -> None:
        preview = await cluster.operations.apply(Change(services=(WEB,)))
        assert (preview.doubts, preview.verdicts) == ((), ())

    story(wanting(Admission.REFUSE), fits)
    story(wanting(Admission.OFF), unasked)


def test_a_service_of_one_datacenter_alone_is_a_gap_of_it() -> None:
    async def tell(cluster: Cluster) -> None:
        spec = replace(make_spec(replicas=2), datacenters=("ams",))
        (doubt,) = (await cluster.operations.plan(Change(services=(spec,)))).doubts
        assert doubt.sentence == (
            "without datacenter/ams nobody answers: no other datacenter is to run it"
        )

    story(PLATFORM, tell)
