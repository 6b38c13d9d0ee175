"""What makes no sense in a platform, whoever wrote it: a file or a caller of the API."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.location import Location
from pltfrms.model.network.topology import (
    ROLES_IN_ORDER,
    SECTIONS,
    Datacenter,
    Machine,
    Platform,
    Role,
    Timers,
)
from pltfrms.model.services.names import LONGEST_DOMAIN, is_domain
from pltfrms.specfile.checking.platforms.egress import check_unicast
from pltfrms.specfile.checking.platforms.host_paths import check_allowed
from pltfrms.specfile.checking.platforms.numbering import check_ids, check_numbering
from pltfrms.specfile.checking.platforms.operators import check_operators
from pltfrms.specfile.checking.platforms.peering import check_peering
from pltfrms.specfile.checking.platforms.ports import check_ports
from pltfrms.specfile.checking.platforms.readers import check_readers
from pltfrms.specfile.checking.platforms.routing import check_routing
from pltfrms.specfile.checking.platforms.traffic import check_traffic
from pltfrms.specfile.checking.platforms.vantage import check_vantage
from pltfrms.specfile.findings import (
    MAX_LENGTH,
    MIN_LENGTH,
    Finding,
    Where,
    check_asn,
    check_cores,
    check_machine_name,
    check_name,
    check_scope,
    nearest,
    not_routable,
    where_of,
)

_RACK = re.compile(r"[A-Za-z0-9._-]{0,31}\Z")
_DAY_MS = 24 * 3600 * 1000


def platform_findings(platform: Platform) -> Iterator[Finding]:
    """Yield everything that is wrong with a platform."""
    yield from check_name(("platform",), platform.name)
    yield from check_asn(("asn",), platform.asn)
    if platform.domain and not is_domain(platform.domain):
        what = f"{platform.domain[:70]!r} is not a domain for names of services"
        hint = (
            f"small letters, digits, - and dots, as svc.example.net; at most {LONGEST_DOMAIN}"
        )
        yield Finding(("domain",), what, hint)
    yield from _check_prefixes(platform)
    yield from _check_timers(platform)
    yield from _check_datacenters(platform)
    yield from _check_machines(platform)
    yield from check_ports(platform)
    yield from check_routing(platform)
    yield from check_peering(platform)
    yield from check_traffic(platform)
    yield from check_operators(platform)
    yield from check_vantage(platform)
    yield from check_readers(platform)
    yield from check_allowed(platform.allowed_host_paths)


# ---- prefixes ------------------------------------------------------------------------------


def _check_prefixes(platform: Platform) -> Iterator[Finding]:
    yield from check_numbering(platform)
    prefixes = [aggregate.prefix for aggregate in platform.aggregates]
    for index, prefix in enumerate(prefixes):
        where = ("aggregates", index)
        yield from _check_aggregate(where, prefix)
        yield from _check_overlaps(where, prefix, platform.infrastructure)
        if prefix in prefixes[:index]:
            yield Finding(where, f"{prefix} is in the list twice", "keep one")
        yield from _check_region(platform, index)
        yield from check_unicast(platform, index)
    if not platform.service_aggregates:
        what = "there is no prefix for services"
        yield Finding(("aggregates",), what, "IPv4, IPv6 or both", absent="")


def _check_region(platform: Platform, index: int) -> Iterator[Finding]:
    """Find what is wrong with the name of an aggregate, and where it is announced."""
    aggregate, where = platform.aggregates[index], ("aggregates", index)
    if aggregate.name:
        yield from check_name((*where, "name"), aggregate.name)
    if aggregate.unicast and (aggregate.name or aggregate.datacenters):
        what = f"a unicast prefix belongs to {aggregate.unicast} alone, not to services"
        yield Finding(where, what, "leave out name and datacenters")
    for other in platform.aggregates[:index]:
        alike = other.prefix.version == aggregate.prefix.version
        if aggregate.name and other.name == aggregate.name and alike:
            what = f"{other.prefix} is called {aggregate.name} too"
            yield Finding((*where, "name"), what, "one name, one prefix of each family")
    yield from _check_announcing(platform, index)


def _check_announcing(platform: Platform, index: int) -> Iterator[Finding]:
    aggregate, where = platform.aggregates[index], ("aggregates", index)
    known = [datacenter.name for datacenter in platform.datacenters]
    for place, name in enumerate(aggregate.datacenters):
        here = (*where, "datacenters", place)
        if name not in known:
            yield Finding(here, f"there is no datacenter {name!r}", nearest(name, known), name)
        elif name in aggregate.datacenters[:place]:
            yield Finding(here, f"{name} is in the list twice", "names are unique")
        elif not platform.machines_of(Role.EDGE, name):
            what = f"{name} has no edges, so it announces nothing"
            yield Finding(
                here, what, "name a datacenter with edges", absent=("datacenters", name)
            )


def _check_aggregate(where: Where, prefix: Prefix) -> Iterator[Finding]:
    longest = MAX_LENGTH[prefix.version]
    yield from check_scope(where, prefix)
    if prefix.prefixlen > longest:
        what = f"{prefix} is longer than /{longest}: other networks would filter it"
        yield Finding(where, what, f"use a prefix of /{longest} or shorter")
    if prefix.prefixlen < MIN_LENGTH[prefix.version]:
        what = f"{prefix} is shorter than /{MIN_LENGTH[prefix.version]}: nobody has so much"
        yield Finding(where, what, "name the prefixes that your registry gave you")
    elif not_routable(prefix):
        yield Finding(where, f"{prefix} cannot be routed in the internet")


def _check_overlaps(
    where: Where, prefix: Prefix, others: Iterable[Prefix]
) -> Iterator[Finding]:
    for other in others:
        if prefix.version == other.version and prefix.overlaps(other):
            yield Finding(where, f"{prefix} overlaps {other}", "prefixes must not overlap")


# ---- timers --------------------------------------------------------------------------------


def _check_timers(platform: Platform) -> Iterator[Finding]:
    timers = platform.timers
    for name, value, low, high, unit in (
        ("bfd_interval", timers.bfd_interval_ms, 10, 10_000, "ms"),
        ("external_bfd_interval", timers.external_bfd_interval_ms, 10, 10_000, "ms"),
        ("bfd_multiplier", timers.bfd_multiplier, 2, 20, ""),
        ("heartbeat", timers.heartbeat_ms, 50, 60_000, "ms"),
        ("contact_ttl", timers.contact_ttl_seconds, 1, 600, "s"),
        ("stable_after", timers.stable_after_seconds, 0, 86_400, "s"),
        ("withdraw_after", timers.withdraw_after_ms, 0, _DAY_MS, "ms"),
        ("announce_after", timers.announce_after_ms, 0, _DAY_MS, "ms"),
        ("flap_hold", timers.flap_hold_seconds, 0, 300, "s"),
        ("flap_half_life", timers.flap_half_life_seconds, 1, 86_400, "s"),
        ("drain_wait", timers.drain_wait_seconds, 0, 3600, "s"),
        ("confirm", timers.confirm_seconds, 5, 600, "s"),
    ):
        if not low <= value <= high:
            what = f"{value}{unit} is outside {low}{unit}..{high}{unit}"
            yield Finding(("timers", name), what)
    yield from _check_timer_sense(timers)


def _check_timer_sense(timers: Timers) -> Iterator[Finding]:
    if timers.contact_ttl_seconds * 1000 <= 2 * timers.heartbeat_ms:
        what = (
            f"contact_ttl {timers.contact_ttl_seconds}s must be more than two heartbeats"
            f" ({2 * timers.heartbeat_ms}ms)"
        )
        hint = "else one late heartbeat ends the contact with a machine that is well"
        yield Finding(("timers", "contact_ttl"), what, hint)
    if timers.flap_half_life_seconds < timers.flap_hold_seconds:
        what = f"must not be less than flap_hold ({timers.flap_hold_seconds}s)"
        hint = "else flaps are forgotten before they count"
        yield Finding(("timers", "flap_half_life"), what, hint)
    detection_ms = timers.external_bfd_interval_ms * timers.bfd_multiplier
    if timers.confirm_seconds * 1000 <= detection_ms:
        what = (
            f"must be more than external BFD needs to find a neighbour gone ({detection_ms}ms)"
        )
        hint = "else a configuration is confirmed before its damage is seen"
        yield Finding(("timers", "confirm"), what, hint)


# ---- datacenters and machines --------------------------------------------------------------


def _check_datacenters(platform: Platform) -> Iterator[Finding]:
    if not platform.machines_of(Role.NODE):
        what = "no datacenter has nodes: nothing can run"
        yield Finding(("datacenters",), what, "nodes: {fra-n1: {cpu: 4, memory: 8GiB}}", "")
    if not platform.machines_of(Role.CONTROLLER):
        what = "no datacenter has controllers: nothing would be decided"
        yield Finding(("datacenters",), what, "controllers: [fra-c1]", "")
    owners: dict[int, str] = {}
    names: set[str] = set()
    for datacenter in platform.datacenters:
        where = ("datacenters", datacenter.name)
        yield from check_name(where, datacenter.name)
        if datacenter.name in names:
            yield Finding(where, f"a second datacenter {datacenter.name}")
        names.add(datacenter.name)
        owner = owners.setdefault(datacenter.id, datacenter.name)
        if owner != datacenter.name:
            what = f"id {datacenter.id} is already that of {owner}"
            yield Finding((*where, "id"), what, "ids are unique")
        yield from _check_datacenter(where, platform, datacenter)


def _check_location(where: Where, location: Location | None) -> Iterator[Finding]:
    if location is None:
        return
    for name, value, most in (("lat", location.lat, 90), ("lon", location.lon, 180)):
        if not -most <= value <= most:  # also of what is no number
            yield Finding((*where, name), f"{value} is nowhere", f"-{most} to {most} degrees")


def _check_datacenter(
    where: Where, platform: Platform, datacenter: Datacenter
) -> Iterator[Finding]:
    if not datacenter.city.isprintable():
        yield Finding((*where, "city"), "has characters that cannot be printed")
    yield from _check_location((*where, "location"), datacenter.location)
    machines = [each for each in platform.machines if each.datacenter == datacenter.name]
    if not datacenter.fabrics and len(machines) > 1:
        what = f"there is none: {machines[0].name} and {machines[1].name} need one between them"
        yield Finding((*where, "fabrics"), what, "fabrics: [a, b]", "")
    for fabric in datacenter.fabrics:
        yield from check_name((*where, "fabrics", fabric), fabric)
    if not platform.machines_of(Role.EDGE, datacenter.name):
        what = "has no edges: nothing can reach its machines"
        yield Finding((*where, "edges"), what, "edges: [fra-e1, fra-e2]", "")


def _check_machines(platform: Platform) -> Iterator[Finding]:
    known = {datacenter.name for datacenter in platform.datacenters}
    counts = Counter(machine.name.casefold() for machine in platform.machines)
    fabrics = {fabric for datacenter in platform.datacenters for fabric in datacenter.fabrics}
    for machine in platform.machines:
        where = where_of(machine)
        yield from check_machine_name(where, machine.name)
        if machine.datacenter not in known:
            yield Finding(where, f"its datacenter {machine.datacenter} does not exist")
        if counts[machine.name.casefold()] > 1:
            what = f"{counts[machine.name.casefold()]} machines are called {machine.name}"
            yield Finding(
                where, what, "names are unique in the whole platform, whatever the case"
            )
        other, _, last = machine.name.rpartition(".")
        if last in fabrics and counts[other.casefold()]:
            what = f"it is also what a session with {other} over fabric {last} is called"
            yield Finding(where, what, "take another name")
        if not _RACK.match(machine.rack):
            what = f"{machine.rack!r} is not a rack's name"
            yield Finding((*where, "rack"), what, "letters, digits, . _ -")
        if machine.has(Role.NODE):
            section = ("datacenters", machine.datacenter, SECTIONS[Role.NODE], machine.name)
            yield from _check_size(section, machine)
        yield from _check_roles(platform, where, machine)
    yield from check_ids(platform)
    yield from _check_private_asn(platform)


def _check_roles(platform: Platform, where: Where, machine: Machine) -> Iterator[Finding]:
    in_order = [role for role in ROLES_IN_ORDER if machine.has(role)]
    if list(machine.roles) != in_order:
        said, right = (" and ".join(roles) for roles in (machine.roles, in_order))
        yield Finding(where, f"its roles are {said}", f"each once, in this order: {right}")
    other = next((role for role in machine.roles if role is not Role.EDGE), None)
    if machine.external and other:
        what = f"a {other} cannot be external: our agent runs on it"
        yield Finding((*where, "external"), what)
    both = machine.has(Role.EDGE) and machine.has(Role.NODE)
    if both and not machine.external and platform.has_external_edges(machine.datacenter):
        what = f"it is edge and node, and others manage an edge of {machine.datacenter}"
        yield Finding(where, what, "let it be a node alone there, or all edges be ours")


def _check_size(where: Where, node: Machine) -> Iterator[Finding]:
    yield from check_cores((*where, "cpu"), node.cpu, "cores, such as 4")
    if node.memory_bytes <= 0:
        yield Finding((*where, "memory"), "must be more than 0", "such as 8GiB")


def _check_private_asn(platform: Platform) -> Iterator[Finding]:
    known = {datacenter.name for datacenter in platform.datacenters}
    used = {
        platform.private_asn(machine): machine.name
        for machine in itertools.chain(
            platform.machines_of(Role.NODE), platform.machines_of(Role.CONTROLLER)
        )
        if machine.datacenter in known
    }
    if platform.asn in used:
        what = f"{platform.asn} is the private ASN of {used[platform.asn]}"
        yield Finding(("asn",), what, "use the ASN that your registry gave you")
