"""Whether clients are answered after one more failure, and whether in the same place. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.running.loads import ServiceLoad
from pltfrms.model.running.redundancy import Loss, Survival, Weakness
from pltfrms.model.services.service import Service
from pltfrms.planner.redundancy.beliefs import Belief, Beliefs, Subject, weak
from pltfrms.planner.redundancy.loads import Loads
from pltfrms.planner.redundancy.ways import NOTHING, NextLoss, failures

_WHY: Final = {
    Loss.INSTANCE: "clients reach no other ready instance",
    Loss.NODE: "clients reach ready instances on no other node",
    Loss.EDGE: "no other edge that announces it reaches a ready instance",
    Loss.FABRIC: "no other fabric leads from an edge that announces it to a ready instance",
    Loss.LINK: "no other link leads from an edge that announces it to a ready instance",
    Loss.DATACENTER: "no other datacenter answers clients",
}
_NAMED: Final = 3
_ENOUGH: Final = 2
"""Of datacenters that each answer alone: no failure takes two of them."""


def services(ordered: Sequence[Service], beliefs: Beliefs, loads: Loads) -> Iterator[Subject]:
    """Yield for each service what clients are not answered without, or not all of them."""
    platform = beliefs.least.platform
    network = tuple(failures(platform))
    for service in ordered:
        about = f"service/{service.name}"
        found: list[Weakness] = []
        if _answering_alone(service, beliefs.least) < _ENOUGH:
            found = weak(
                about, NOTHING, _judge(service, beliefs), "clients are not answered now"
            )
            found = found or [
                line
                for failure, survival in _fatal(service, beliefs, network)
                for line in weak(about, failure, survival, _WHY[failure.loss])
            ]
        told = {(each.loss, each.what) for each in found}
        if all(each.loss is not Loss.NOTHING for each in found):
            crowds = _crowds(service, beliefs, loads.get(service.name, ()))
            found += (each for each in crowds if (each.loss, each.what) not in told)
        yield about, found


def _crowds(
    service: Service, beliefs: Beliefs, loads: Sequence[ServiceLoad]
) -> Iterator[Weakness]:
    """Yield the losses after which too few are left for what a service has to do.

    Of its nodes the one with the most replicas is named: without another no fewer are left.
    """
    if not any(load.used for load in loads):
        return
    least, most = (_counts(service, each) for each in (beliefs.least, beliefs.most))
    losses = tuple(_losses(beliefs.most.platform, *most))
    for load in loads:
        for failure in losses:
            left, hoped = (_left(*counts, failure) for counts in (least, most))
            survival = Survival.SURVIVED
            if load.missing(left):
                survival = Survival.NOT_SURVIVED if load.missing(hoped) else Survival.NOT_KNOWN
            measured = not replace(load, measured=None).missing(left)
            for line in weak(
                f"service/{service.name}", failure, survival, load.shortfall(left)
            ):
                yield replace(line, measured=measured)
            if failure is NOTHING and survival is not Survival.SURVIVED:
                break


def _counts(service: Service, belief: Belief) -> tuple[Counter[str], Counter[str]]:
    """Count what is ready, by machine and by datacenter."""
    machines, sites = Counter[str](), Counter[str]()
    for place, nodes in sorted(belief.ready[service.name].items()):
        for node, allocations in nodes.items():
            machines[node] += len(allocations)
            sites[belief.everywhere.datacenter[place]] += len(allocations)
    return machines, sites


def _losses(
    platform: Platform, machines: Counter[str], sites: Counter[str]
) -> Iterator[NextLoss]:
    yield NOTHING
    for name in sorted(machines, key=lambda each: (-machines[each], each))[:1]:
        is_edge = platform.machine(name).has(Role.EDGE)
        yield NextLoss(Loss.EDGE if is_edge else Loss.NODE, name)
    yield from (NextLoss(Loss.DATACENTER, name) for name in sites)


def _left(machines: Counter[str], sites: Counter[str], failure: NextLoss) -> int:
    if failure.loss is Loss.DATACENTER:
        return sites.total() - sites[failure.what]
    return sites.total() - machines[failure.what]


def _answering_alone(service: Service, belief: Belief) -> int:
    """Return how many datacenters answer clients of a service without any other."""
    return sum(
        belief.answers(belief.stand(service, place), NOTHING, alone=True)
        for place in belief.places(service)
    )


def datacenters(ordered: Sequence[Service], beliefs: Beliefs) -> Iterator[Subject]:
    """Yield for each datacenter that answers clients without what others have to do it."""
    platform, least = beliefs.least.platform, beliefs.least
    ready = {service.name: least.places(service) for service in ordered}
    for name in (each.name for each in platform.datacenters):
        network = tuple(each for each in failures(platform) if _is_of(platform, each, name))
        gone: dict[tuple[NextLoss, Survival], list[str]] = {}
        answering = [
            service
            for service in ordered
            if name in ready[service.name]
            and least.answers(least.stand(service, name), NOTHING, alone=True)
        ]
        for service in answering:
            for each in _fatal(service, beliefs, network, name):
                gone.setdefault(each, []).append(service.name)
        if answering:
            about = f"datacenter/{name}"
            lines = (weak(about, *each, _why(names)) for each, names in gone.items())
            yield about, [line for each in lines for line in each]


def _why(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"it does not answer clients of {', '.join(names[:_NAMED])}{more} itself then"


def _is_of(platform: Platform, failure: NextLoss, datacenter: str) -> bool:
    """Return whether it is an edge or a fabric of a datacenter."""
    if failure.loss is Loss.FABRIC:
        return failure.what.partition("/")[0] == datacenter
    is_edge = failure.loss is Loss.EDGE
    return is_edge and platform.machine(failure.what).datacenter == datacenter


def _fatal(
    service: Service, beliefs: Beliefs, network: Sequence[NextLoss], datacenter: str = ""
) -> Iterator[tuple[NextLoss, Survival]]:
    """Yield the failures that a service does not survive for sure."""
    for failure, place in _hosts(service, beliefs.most, datacenter):
        survival = _judge(service, beliefs, without=place, datacenter=datacenter)
        if survival is not Survival.SURVIVED:
            yield failure, survival
    for failure in network:
        survival = _judge(service, beliefs, failure, datacenter=datacenter)
        if survival is not Survival.SURVIVED:
            yield failure, survival


def _hosts(service: Service, belief: Belief, datacenter: str) -> Iterator[tuple[NextLoss, str]]:
    """Yield the instances and nodes that leave a corner without an instance, and the corner."""
    for place, nodes in sorted(belief.ready[service.name].items()):
        if len(nodes) > 1 or datacenter not in {"", belief.everywhere.datacenter[place]}:
            continue
        ((node, allocations),) = nodes.items()
        if len(allocations) == 1:
            yield NextLoss(Loss.INSTANCE, allocations[0]), place
        if not belief.platform.machine(node).has(Role.EDGE):  # else it fails with the edges
            yield NextLoss(Loss.NODE, node), place


def _judge(
    service: Service,
    beliefs: Beliefs,
    failure: NextLoss = NOTHING,
    *,
    without: str = "",
    datacenter: str = "",
) -> Survival:
    """Say whether clients are answered in spite of a failure, and without a corner.

    With a datacenter: whether it answers them by itself.
    """

    def answers(belief: Belief) -> bool:
        stand = belief.stand(service, datacenter)
        left = stand.without(without) if without else stand
        return belief.answers(left, failure, alone=bool(datacenter))

    return beliefs.judge(answers)
