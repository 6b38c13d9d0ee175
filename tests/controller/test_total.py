"""Three controllers spread a total, through failures, a drain and another list of sites."""

from collections import Counter
from dataclasses import replace

from pltfrms.model.messages.api import Change, InterventionChange, Verb
from tests.controller.cluster import Cluster
from tests.controller.test_cluster import WEB, simulate

SEVEN = replace(WEB, per_datacenter=0, total=7, max_per_node=3)


def spread(cluster: Cluster) -> dict[str, int]:
    """Return how many replicas serve, by datacenter."""
    return dict(Counter(each.split(".")[0] for each in cluster.serving("web")))


def any_on(cluster: Cluster, node: str) -> bool:
    return any(each.node == node for each in cluster.stored().allocations.values())


def test_a_total_stays_where_it_is_until_the_spec_says_so() -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.operations.apply(Change(services=(SEVEN,)))
        await cluster.until(lambda: cluster.settled("web"), 20)
        assert spread(cluster) == {"ams": 3, "fra": 2, "lon": 2}, "the smallest id has one more"
        # A node dies: its replica comes again in the same datacenter.
        cluster.agents["ams-n1"].dead = True
        await cluster.until(lambda: not any_on(cluster, "ams-n1"), 20)
        await cluster.until(lambda: spread(cluster) == {"ams": 3, "fra": 2, "lon": 2}, 20)
        # All of a datacenter die: nobody else takes its share.
        for number in (1, 2, 3):
            cluster.agents[f"lon-n{number}"].dead = True
        await cluster.clock.sleep(30)
        assert spread(cluster) == {"ams": 3, "fra": 2}
        for agent in cluster.agents.values():
            agent.dead = False
        await cluster.until(lambda: cluster.settled("web"), 30)
        drain = InterventionChange(verb=Verb.DRAIN, node="fra-n1")
        await cluster.operations.intervene(drain)
        await cluster.clock.sleep(30)
        assert spread(cluster) == {"ams": 3, "fra": 2, "lon": 2}
        await cluster.operations.intervene(replace(drain, verb=Verb.UNDRAIN))
        await cluster.until(lambda: cluster.settled("web"), 30)
        # It leaves a datacenter: now they move, and at no time do fewer than seven serve.
        least = 7

        def see() -> bool:
            nonlocal least
            least = min(least, len(cluster.serving("web")))
            return cluster.settled("web")

        two = replace(SEVEN, datacenters=("ams", "fra"))
        await cluster.operations.apply(Change(services=(two,)))
        await cluster.until(see, 30)
        assert spread(cluster) == {"ams": 4, "fra": 3}
        assert least == 7

    simulate(story)
