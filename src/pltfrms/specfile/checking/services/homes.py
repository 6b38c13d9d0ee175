"""What makes no sense in the aggregate and the addresses that a service wants."""

from collections.abc import Iterable, Iterator

from pltfrms.model.network.homes import called, home_of, unfit
from pltfrms.model.network.topology import Aggregate, AnnouncePolicy, Platform, Role
from pltfrms.model.services.replicas import replicas_of
from pltfrms.model.services.service import ServiceSpec
from pltfrms.specfile.findings import Finding, Where, nearest


def check_homes(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    """Yield what is wrong with where the addresses of a service are to come from."""
    yield from _check_aggregates(spec, platform)
    for index, address in enumerate(spec.addresses):
        where, home = ("addresses", index), home_of(platform, address)
        if home is None:
            what = f"{address} is in no aggregate of the platform"
            yield Finding(where, what, f"there are: {_listed(platform.service_aggregates)}")
            continue
        why = unfit(platform, home, address)
        if why:
            yield Finding(where, why, "choose another address of it")
        yield from _check_reach(where, spec, platform, home)


def _check_aggregates(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    chosen: dict[int, Aggregate] = {}
    for index, word in enumerate(spec.aggregates):
        where, meant = ("aggregate", index), called(platform, word)
        if not meant:
            words = {str(each.prefix) for each in platform.service_aggregates}
            words |= {each.name for each in platform.service_aggregates if each.name}
            yield Finding(where, f"there is no aggregate {word!r}", nearest(word, words))
        for each in meant:
            first = chosen.setdefault(each.prefix.version, each)
            if first is not each:
                what = f"{each.prefix} is a second one of IPv{each.prefix.version}"
                yield Finding(where, what, "keep one of each family")
            yield from _check_reach(where, spec, platform, each)


def _check_reach(
    where: Where, spec: ServiceSpec, platform: Platform, aggregate: Aggregate
) -> Iterator[Finding]:
    """Find an aggregate that no datacenter would announce because of the service."""
    with_nodes = {node.datacenter for node in platform.machines_of(Role.NODE)}
    runs = {name for name, count in replicas_of(platform, spec).items() if count}
    local = aggregate.announce is AnnouncePolicy.HEALTHY_LOCAL
    here = set(aggregate.datacenters)
    # One without nodes announces what runs anywhere.
    if local and here and here <= with_nodes - runs:
        only = ", ".join(aggregate.datacenters)
        what = f"{aggregate.prefix} is announced only in {only}, where the service does not run"
        yield Finding(where, what, "run it there too, or let it announce: any-healthy")


def _listed(aggregates: Iterable[Aggregate]) -> str:
    return ", ".join(str(each.prefix) for each in aggregates) or "none"
