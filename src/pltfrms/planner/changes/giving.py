"""Which addresses a service gets, and how it moves from one to another. Pure.

A service keeps its addresses for life. To move it, its spec says the new one beside the old
one; both answer until the old one is taken out of the spec. So one change either adds addresses
or gives some up, never both: clients always have one that they know.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from pltfrms.errors import UsageError
from pltfrms.model.addresses import Prefix, contains, prefixes_of
from pltfrms.model.network.homes import called, free_prefix, general, home_of, unfit
from pltfrms.model.network.topology import Aggregate, Platform
from pltfrms.model.running.plan import Allocation
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.members import next_numbers
from pltfrms.model.services.references import texts_of
from pltfrms.model.services.roles import RolePrefixes
from pltfrms.model.services.service import Service, ServiceSpec

_MEMBER4: Final = "${pltfrms.replica.address4}"
_APART: Final = 128
"""From the number of a service, that of its address if it can be, to that of its role."""


def first_prefixes(snapshot: Snapshot, spec: ServiceSpec, number: int) -> tuple[Prefix, ...]:
    """Return the prefixes of a new service, whose id is `number`.

    One of each family that the platform has, or what the spec says.

    Raises:
        UsageError: an aggregate is full, or an address cannot be had.
    """
    platform = snapshot.platform
    if spec.addresses:
        return _said(snapshot, spec)
    families = sorted({each.prefix.version for each in platform.service_aggregates})
    if not families:
        raise UsageError(
            f"service {spec.name}: the platform has no aggregate to take its prefixes from; "
            "add a prefix to `aggregates`"
        )
    return tuple(_from_aggregates(snapshot, spec, family, number) for family in families)


def next_prefixes(snapshot: Snapshot, spec: ServiceSpec, before: Service) -> tuple[Prefix, ...]:
    """Return the prefixes of a service whose spec changes.

    Raises:
        UsageError: an address cannot be had, or clients would lose the one that they know.
    """
    _check_aggregates(snapshot, spec, before)
    if not spec.addresses:
        return before.prefixes
    after = _said(snapshot, spec)
    added = [each for each in after if each not in before.prefixes]
    given_up = [each for each in before.prefixes if each not in after]
    if added and given_up:
        both = ", ".join(_bare((*after, *given_up)))
        raise UsageError(
            f"service {spec.name}: it cannot move to {', '.join(_bare(added))} and give up "
            f"{', '.join(_bare(given_up))} at once, clients would lose it; first write "
            f"addresses: [{both}], and take the old one out when no client uses it any more"
        )
    taken_back = not added and set(given_up) <= set(before.fresh)
    if (added or given_up) and not taken_back:
        _check_rolled_out(snapshot, before)
    return after


def with_prefixes(service: Service, prefixes: Iterable[Prefix]) -> Service:
    """Return a service with these prefixes; the first of each family is the main one."""
    wanted = tuple(prefixes)
    four = next((each for each in wanted if isinstance(each, IPv4Network)), None)
    six = next((each for each in wanted if isinstance(each, IPv6Network)), None)
    more = tuple(each for each in wanted if each not in {four, six})
    return replace(service, prefix4=four, prefix6=six, more=more)


def moved(before: Service, after: Service) -> Service:
    """Return a service whose prefixes have changed, with those that its instances lack.

    Its version is one that no instance has yet. What it already lacked does not change with
    that: instances that have it stay the way to it.
    """
    added = tuple(each for each in after.prefixes if each not in before.prefixes)
    if added:  # all instances have the others, else `next_prefixes` refuses
        return replace(after, fresh=added, fresh_from=after.version)
    fresh = tuple(each for each in before.fresh if each in after.prefixes)
    return replace(after, fresh=fresh, fresh_from=before.fresh_from if fresh else 0)


def made_again(service: Service, namesakes: Iterable[Allocation]) -> Service:
    """Return a new service; what still runs of a deleted namesake has none of its prefixes.

    Nor does it pass for an instance of the new one: its version is older.
    """
    versions = [each.version for each in namesakes]
    if not versions:
        return service
    version = 1 + max(versions)
    return replace(service, version=version, fresh=service.prefixes, fresh_from=version)


def with_roles(snapshot: Snapshot, service: Service) -> Service:
    """Return a service in which each role of its spec has its prefixes.

    A role keeps them as long as there is the service, also while the spec has it not.

    Raises:
        UsageError: the aggregates that the service has its own from are full.
    """
    known = {role.name: role for role in service.roles}
    taken = [each for other in snapshot.services.values() for each in other.all_prefixes]
    taken += service.all_prefixes
    for spec in service.spec.roles:
        if spec.name not in known:
            number = service.id + _APART * (1 + len(known))
            known[spec.name] = role = _role(
                snapshot.platform, service, spec.name, number, taken
            )
            taken += role.prefixes
    return replace(service, roles=tuple(known[name] for name in sorted(known)))


def with_numbers(snapshot: Snapshot, service: Service) -> Service:
    """Return a service whose replicas with volumes have their IPv4 numbers, if any are left.

    Raises:
        UsageError: it names an address that one of its replicas has not got.
    """
    platform, spec = snapshot.platform, service.spec
    if not service.keeps(service.version):
        return service
    if platform.infrastructure4 is not None:
        others = (each for each in snapshot.services.values() if each.name != spec.name)
        taken = (number for each in others for number in each.numbers4)
        highest = platform.numbering.instances
        counts = {"": spec.per_datacenter, **dict(spec.counts)}
        numbers = next_numbers(service.numbers4, counts, taken, highest)
        service = replace(service, numbers4=numbers)
    most = max(spec.per_datacenter, *(count for _, count in spec.counts), 0)
    if len(service.numbers4) < most and any(_MEMBER4 in text for text in texts_of(spec.run)):
        raise UsageError(
            f"service {spec.name}: {_MEMBER4} has no value for every replica: all IPv4 "
            "addresses for replicas with volumes are given, or there are none; take "
            "${pltfrms.replica.address6}"
        )
    return service


def _role(
    platform: Platform, service: Service, name: str, number: int, taken: Collection[Prefix]
) -> RolePrefixes:
    """Return a role with one prefix of each family that its service has, from beside them."""
    found: dict[int, Prefix] = {}
    for main in prefixes_of(service.prefix4, service.prefix6, ()):
        home = home_of(platform, main.network_address)
        free = free_prefix(platform, home, number, taken) if home else None
        if free is None:
            raise UsageError(
                f"service {service.name}: {home.prefix if home else main} has no address left "
                f"for its role {name}; add an aggregate to the platform, or move the service"
            )
        found[main.version] = free
    four, six = found.get(4), found.get(6)
    return RolePrefixes(
        name=name,
        prefix4=four if isinstance(four, IPv4Network) else None,
        prefix6=six if isinstance(six, IPv6Network) else None,
    )


def _check_rolled_out(snapshot: Snapshot, service: Service) -> None:
    """Refuse while an instance lacks an address: one that others know might be lost."""
    behind = sorted(
        each.id
        for each in snapshot.allocations.values()
        if each.service == service.name
        and service.prefixes_at(each.version) != service.prefixes
    )
    if behind:
        more = f" and {len(behind) - 1} more" if len(behind) > 1 else ""
        raise UsageError(
            f"service {service.name}: its addresses cannot change yet: {behind[0]}{more} "
            f"cannot answer on {', '.join(_bare(service.fresh))} before it is replaced; wait "
            f"until all have version {service.fresh_from} or later (`pltfrms explain "
            f"service/{service.name}` says why one has not), or write the addresses from before"
        )


def _said(snapshot: Snapshot, spec: ServiceSpec) -> tuple[Prefix, ...]:
    """Return the prefixes that a spec says, if they can be had."""
    owners = {
        prefix: name
        for name, service in snapshot.services.items()
        for prefix in (
            service.all_prefixes
            if name != spec.name
            else (each for role in service.roles for each in role.prefixes)
        )
    }
    for address in spec.addresses:
        prefix, home = ip_network(address), home_of(snapshot.platform, address)
        if prefix in owners:
            raise UsageError(
                f"service {spec.name}: {address} is an address of service {owners[prefix]}; "
                "no two services have the same"
            )
        nowhere = f"{address} is in no aggregate of the platform"
        why = unfit(snapshot.platform, home, address) if home else nowhere
        if why:
            raise UsageError(f"service {spec.name}: {why}; choose another address")
    return tuple(map(ip_network, dict.fromkeys(spec.addresses)))


def _from_aggregates(snapshot: Snapshot, spec: ServiceSpec, family: int, number: int) -> Prefix:
    platform = snapshot.platform
    taken = {each for service in snapshot.services.values() for each in service.all_prefixes}
    wanted = _wanted(platform, spec, family)
    for aggregate in wanted:
        found = free_prefix(platform, aggregate, number, taken)
        if found:
            return found
    if not wanted:
        raise UsageError(
            f"service {spec.name}: every IPv{family} aggregate is announced by some "
            "datacenters only, so say which it is to be: `aggregate:` in its file"
        )
    others = [
        str(each.prefix)
        for each in platform.service_aggregates
        if each.prefix.version == family and each not in wanted
        if free_prefix(platform, each, number, taken)
    ]
    names = ", ".join(str(each.prefix) for each in wanted)
    named = f", or name one with room, `aggregate: {others[0]}`" if others else ""
    raise UsageError(
        f"service {spec.name}: {names} has no address left for service id {number}; "
        f"add an aggregate to the platform{named}"
    )


def _wanted(platform: Platform, spec: ServiceSpec, family: int) -> tuple[Aggregate, ...]:
    """Return the aggregates of a family that a service may get an address from."""
    said = [each for word in spec.aggregates for each in called(platform, word)]
    mine = tuple(each for each in said if each.prefix.version == family)
    return mine or general(platform, family)


def _check_aggregates(snapshot: Snapshot, spec: ServiceSpec, before: Service) -> None:
    """Refuse another aggregate for a running service, with the way that works."""
    platform = snapshot.platform
    taken = {each for service in snapshot.services.values() for each in service.all_prefixes}
    for each in (each for word in spec.aggregates for each in called(platform, word)):
        family = each.prefix.version
        if any(contains(each.prefix, prefix) for prefix in before.prefixes):
            continue
        other = free_prefix(platform, each, before.id, taken)
        found = "which is full" if other is None else f"such as {_bare([other])[0]}"
        ours = [prefix for prefix in before.prefixes if prefix.version == family]
        raise UsageError(
            f"service {spec.name}: it has {', '.join(_bare(ours)) or 'no address'} for life, "
            f"not an address of {each.prefix}; to move it write all it is to answer on as "
            f"`addresses`, old and new ({found}), instead of `aggregate`"
        )


def _bare(prefixes: Iterable[Prefix]) -> list[str]:
    return [str(prefix.network_address) for prefix in prefixes]
