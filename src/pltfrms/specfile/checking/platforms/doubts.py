"""What is no mistake in a platform, but may be one."""

from collections.abc import Iterator
from typing import Final

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.announcements import announcements
from pltfrms.model.network.asns import reserved_asns
from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.topology import Aggregate, Platform, Role
from pltfrms.model.services.egress import unicast_of
from pltfrms.specfile.checking.platforms.egress import unicast_notes
from pltfrms.specfile.findings import Finding, Where

_NEVER_MS: Final = 1 << 62
"""When overrides with an end are over."""


def platform_notes(platform: Platform, now_ms: int) -> Iterator[Finding]:
    """Yield what should be looked at in a platform without problems."""
    heard = {
        (each.datacenter, each.prefix)
        for each in announcements(platform, Interventions(), _NEVER_MS)
        if each.visible
    }
    for index, aggregate in enumerate(platform.aggregates):
        where = ("aggregates", index)
        yield from _unheard(where, platform, aggregate, heard)
        yield from _unused(where, platform, aggregate)
        yield from _private(where, platform, aggregate.prefix)
        yield from unicast_notes(platform, index)
    yield from _alone(platform)
    for index, override in enumerate(platform.traffic):
        if 0 < override.until_ms <= now_ms:
            until = ("traffic", index, "until")
            yield Finding(until, "is over: this override does nothing", "remove it")


def _unheard(
    where: Where, platform: Platform, aggregate: Aggregate, heard: set[tuple[str, Prefix]]
) -> Iterator[Finding]:
    """Find where an aggregate cannot be announced; what others' edges do is not known."""
    prefix = aggregate.prefix
    named = aggregate.only or tuple(each.name for each in platform.datacenters)
    silent = [
        name
        for name in named
        if (name, prefix) not in heard
        and platform.machines_of(Role.EDGE, name)
        and not platform.has_external_edges(name)
    ]
    if not silent or (len(silent) < len(named) and not aggregate.datacenters):
        return
    families = {
        (platform.machine(session.edge).datacenter, ours.version)
        for peer in platform.peers
        for session in peer.sessions
        for ours in session.ours
    }
    lacking = [name for name in silent if (name, prefix.version) not in families]
    some = len(silent) < len(named)
    what = f"not announced by {', '.join(silent)}" if some else "announced by nobody"
    why = f"{', '.join(lacking)}: no session of IPv{prefix.version}" if lacking else ""
    yield Finding(where, f"{prefix} is {what}", why or "overrides in traffic forbid it")


def _alone(platform: Platform) -> Iterator[Finding]:
    """Find places that bring traffic in, and have no way to where anything runs."""
    homes = {machine.name: machine.datacenter for machine in platform.machines}
    linked = {
        home
        for link in platform.links
        if len({homes.get(link.a), homes.get(link.b)}) > 1
        for home in (homes.get(link.a), homes.get(link.b))
    }
    for datacenter in platform.datacenters:
        name = datacenter.name
        edges = platform.machines_of(Role.EDGE, name)
        if edges and name not in linked and not platform.machines_of(Role.NODE, name):
            what = f"{name} has no node and no link: what comes in there goes nowhere"
            hint = f"backbone: [{{link: [{edges[0].name}, ...]}}], or nodes"
            yield Finding(("datacenters", name), what, hint)


def _unused(where: Where, platform: Platform, aggregate: Aggregate) -> Iterator[Finding]:
    if aggregate.unicast and not platform.machines_of(Role.NODE, aggregate.unicast):
        what = f"{aggregate.prefix} is announced, but {aggregate.unicast} has no node"
        yield Finding(where, what, "nothing there speaks with the internet: leave it out")
    elif aggregate.unicast:
        first = unicast_of(platform, aggregate.unicast, aggregate.prefix.version)
        if first is not None and first is not aggregate:
            what = f"{aggregate.prefix} is announced, but nothing has an address of it"
            hint = f"instances of {aggregate.unicast} speak from the first one, {first.prefix}"
            yield Finding(where, what, hint)


def _private(where: Where, platform: Platform, prefix: Prefix) -> Iterator[Finding]:
    laboratory = bool(reserved_asns(platform)[1])
    if not prefix.is_global and not laboratory:
        what = f"{prefix} is private or for documentation: no other network takes it"
        yield Finding(where, what, "right in a laboratory; else name a prefix of your registry")
