"""What is kept of the versions of a service, by controllers in virtual time."""

from pltfrms.model.messages.api import Change
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import simulate
from tests.controller.test_rollouts import apply, rollout, version


def test_history_knows_who_accepted_a_version_also_after_another_one_failed() -> None:
    async def told_of(cluster: Cluster) -> dict[int, tuple[str, str]]:
        kept = (await cluster.operations.history("web")).versions
        return {each.service.version: (each.by, each.why) for each in kept}

    async def story(cluster: Cluster) -> None:
        cluster.broken[3] = 0.0
        whole = {1: ("", ""), 2: ("ada", "better"), 3: ("ada", "better")}
        await apply(cluster, version(2, bake_ms=0))
        await cluster.until(lambda: not rollout(cluster).under_way, 30)
        await apply(cluster, version(3, bake_ms=0))
        await cluster.until(lambda: not rollout(cluster).under_way, 30)
        assert cluster.stored().services["web"].version == 2
        assert await told_of(cluster) == whole
        change = Change(services=(version(4, bake_ms=0),), by="bob", why="mended")
        await cluster.operations.apply(change)
        assert await told_of(cluster) == whole | {4: ("bob", "mended")}

    simulate(story)
