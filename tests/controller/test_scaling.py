"""The load changes how many replicas there are, with three controllers; in virtual time."""

from dataclasses import replace

from pltfrms.model.messages.api import Change
from pltfrms.model.services.service import Scale
from pltfrms.planner.placement.steps.scaling import CALM_MS
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import simulate
from tests.controller.test_rollouts import told
from tests.strategies import make_spec

SCALED = replace(make_spec(), scale=Scale(min=2, max=3, cpu=0.7))


def of(cluster: Cluster, site: str) -> list[str]:
    return [each for each in cluster.serving("web") if each.startswith(site)]


def test_more_come_at_once_and_fewer_later_whichever_controller_lives() -> None:
    work = {"fra": 100, "ams": 100, "lon": 100}
    """In percent of what one instance is promised."""

    async def story(cluster: Cluster) -> None:
        def busy(name: str) -> int:
            site = name.split(".")[1]
            return work[site] // max(1, len(of(cluster, site)))

        cluster.busy = busy
        await cluster.operations.apply(Change(services=(SCALED,), by="ada"))
        version = cluster.stored().services["web"].version
        await cluster.clock.sleep(20)
        assert not await told(cluster, "scaled up")
        work["fra"] = 250
        await cluster.until(lambda: len(of(cluster, "fra")) == 3, 10)
        (said,) = await told(cluster, "scaled up")
        assert said.startswith("fra: 2 -> 3 replicas, which use ")
        work["fra"] = 60
        await next(seat for seat in cluster.seats.values() if seat.operations).crash()
        began_ms = cluster.clock.unix_ms()
        await cluster.until(lambda: len(of(cluster, "fra")) == 2, 2 * CALM_MS / 1000)
        assert cluster.clock.unix_ms() - began_ms > CALM_MS * 0.9
        await cluster.clock.sleep(2 * CALM_MS / 1000)
        assert len(cluster.serving("web")) == 6
        (said,) = await told(cluster, "scaled down")
        assert said == "fra: 3 -> 2 replicas, which use 20 % of their cpu"
        assert cluster.stored().services["web"].version == version

    simulate(story)
