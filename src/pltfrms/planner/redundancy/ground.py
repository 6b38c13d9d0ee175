"""What services stand on: aggregates, the store, the backbone, after one more failure. Pure."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from pltfrms.model.network.topology import Aggregate, AnnouncePolicy, Machine, Role
from pltfrms.model.running.redundancy import Loss, Survival, Weakness
from pltfrms.planner.redundancy.beliefs import Belief, Beliefs, Subject, weak
from pltfrms.planner.redundancy.ways import NOTHING, NextLoss, failures

_JOINING: Final = frozenset({Loss.EDGE, Loss.FABRIC, Loss.LINK, Loss.DATACENTER})


def aggregates(beliefs: Beliefs) -> Iterator[Subject]:
    """Yield for each aggregate that is announced, or always should be, who alone does it."""
    for aggregate in beliefs.least.platform.aggregates:
        about = f"aggregate/{aggregate.prefix}"
        now = beliefs.judge(partial(_announced, aggregate, frozenset()))
        if now is not Survival.SURVIVED:
            if now is Survival.NOT_KNOWN or _always(aggregate):
                yield about, weak(about, NOTHING, now, "nobody announces it even now")
            continue
        found: list[Weakness] = []
        for failure, edges in _announcers(aggregate, beliefs):
            survival = beliefs.judge(partial(_announced, aggregate, edges))
            found += weak(about, failure, survival, f"no other {failure.loss} announces it")
        yield about, found


def _always(aggregate: Aggregate) -> bool:
    return bool(aggregate.unicast) or aggregate.announce is AnnouncePolicy.ALWAYS


def _announced(aggregate: Aggregate, without: frozenset[str], belief: Belief) -> bool:
    return bool(belief.announced[aggregate.prefix] - without)


def _announcers(
    aggregate: Aggregate, beliefs: Beliefs
) -> Iterator[tuple[NextLoss, frozenset[str]]]:
    """Yield what may fail, and the edges that fail with it."""
    platform = beliefs.least.platform
    for edge in platform.machines_of(Role.EDGE):
        yield NextLoss(Loss.EDGE, edge.name), frozenset({edge.name})
    if len(aggregate.only) == 1:
        return
    for datacenter in platform.datacenters:
        edges = platform.machines_of(Role.EDGE, datacenter.name)
        yield NextLoss(Loss.DATACENTER, datacenter.name), frozenset(e.name for e in edges)


def store(beliefs: Beliefs) -> Iterator[Subject]:
    """Yield whether a majority of controllers is left: without it nothing is decided."""
    controllers = beliefs.least.platform.machines_of(Role.CONTROLLER)
    if not controllers:
        return
    needed = len(controllers) // 2 + 1

    def judge(lost: int = 0, datacenter: str = "") -> Survival:
        return beliefs.judge(
            lambda belief: len(_living(belief, controllers, datacenter)) - lost >= needed
        )

    words = f"{needed} of {len(controllers)} controllers must live, or nothing is decided"
    found = weak("store", NOTHING, judge(), words)
    if not found:
        found = weak("store", NextLoss(Loss.CONTROLLER, ""), judge(lost=1), words)
        for name in dict.fromkeys(each.datacenter for each in controllers):
            found += weak(
                "store", NextLoss(Loss.DATACENTER, name), judge(datacenter=name), words
            )
    yield "store", found


def _living(belief: Belief, controllers: tuple[Machine, ...], without: str) -> list[Machine]:
    return [
        each for each in controllers if each.name in belief.alive and each.datacenter != without
    ]


def backbone(beliefs: Beliefs) -> Iterator[Subject]:
    """Yield what is needed for all datacenters with a living edge to reach each other."""
    platform = beliefs.least.platform
    if not platform.links:
        return
    now = beliefs.judge(partial(_joined, NOTHING))
    found = weak("backbone", NOTHING, now, "datacenters do not reach each other even now")
    if not found:
        for failure in failures(platform):
            if failure.loss in _JOINING:
                survival = beliefs.judge(partial(_joined, failure))
                why = "some datacenters do not reach each other then"
                found += weak("backbone", failure, survival, why)
    yield "backbone", found


def _joined(failure: NextLoss, belief: Belief) -> bool:
    """Return whether there is a group that has an edge of each datacenter."""
    groups = belief.everywhere.groups(failure)
    edges = [
        each for each in belief.platform.machines_of(Role.EDGE) if each.name in belief.alive
    ]
    places = {edge.datacenter for edge in edges}
    if failure.loss is Loss.DATACENTER:
        places -= {failure.what}
    reached: dict[str, set[str]] = {}
    for edge in edges:
        if edge.name in groups:
            reached.setdefault(groups[edge.name], set()).add(edge.datacenter)
    return len(places) <= 1 or any(places <= found for found in reached.values())
