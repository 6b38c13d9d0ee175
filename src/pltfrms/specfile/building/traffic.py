"""Shapes of traffic engineering and RPKI -> words of the model."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from pltfrms.model.addresses import Address
from pltfrms.model.network.peering import OriginValidation, PeerKind, RtrCache
from pltfrms.model.network.topology import Machine, Platform, Role
from pltfrms.model.network.traffic import Community, Override
from pltfrms.specfile.building.notes import Notes
from pltfrms.specfile.findings import Finding, Where, nearest
from pltfrms.specfile.shapes.peering import OverrideShape, PeerShape, RpkiShape
from pltfrms.specfile.shapes.platform import PlatformShape


def build_traffic(shape: PlatformShape, notes: Notes) -> tuple[Override, ...]:
    """Return the overrides; names of communities are replaced by what their peers call so."""
    return tuple(
        _override(("traffic", index), entry, shape.peers, notes)
        for index, entry in enumerate(shape.traffic)
    )


def _override(
    where: Where, shape: OverrideShape, peers: Mapping[str, PeerShape], notes: Notes
) -> Override:
    return Override(
        prefix=shape.prefix,
        peer=shape.peer,
        kind=PeerKind(shape.kind) if shape.kind else None,
        datacenter=shape.datacenter,
        edge=shape.edge,
        announce=shape.announce,
        prepend=shape.prepend,
        med=shape.med,
        no_export=shape.no_export,
        communities=tuple(_communities(where, shape, peers, notes)),
        preference=shape.preference,
        until_ms=shape.until or 0,
        why=shape.why,
    )


def _communities(
    where: Where, shape: OverrideShape, peers: Mapping[str, PeerShape], notes: Notes
) -> Iterator[Community]:
    known = peers[shape.peer].communities if shape.peer in peers else {}
    for index, said in enumerate(shape.communities):
        if not isinstance(said, str):
            yield said
        elif said in known:
            yield known[said]
        else:
            who = shape.peer or "an override without peer:"
            hint = nearest(said, known) or f"communities: {{{said}: …}} in the peer"
            finding = Finding((*where, "communities", index), f"{who} has no {said!r}", hint)
            notes.findings.append(finding)


def build_validation(shape: RpkiShape, platform: Platform, notes: Notes) -> OriginValidation:
    """Return origin validation; machines of `platform` that are caches give their addresses."""
    caches = tuple(
        RtrCache(
            address=_cache_address(
                platform, ("rpki", "caches", index, "address"), entry.address, notes
            ),
            port=entry.port,
        )
        for index, entry in enumerate(shape.caches)
    )
    return OriginValidation(caches=caches, hold_seconds=shape.hold)


def _cache_address(platform: Platform, where: Where, said: str, notes: Notes) -> Address:
    try:
        return ip_address(said)
    except ValueError:
        pass
    # It keeps its place, for the indexes of the others; nobody finds this address wrong.
    stand_in = platform.infrastructure6.network_address
    machine = next((one for one in platform.machines if one.name == said), None)
    reason = _why_no_cache(platform, said, machine)
    if reason is not None:
        what, hint = reason
        notes.findings.append(Finding(where, what, hint, said))
    if machine is None:
        return stand_in
    try:
        return platform.loopback6(machine)
    except ValueError:  # of ids that the checks find out of range
        return stand_in


def _why_no_cache(
    platform: Platform, said: str, machine: Machine | None
) -> tuple[str, str] | None:
    """Return why a machine is no cache, and what to do; None if it may be one."""
    known = [
        one.name for one in platform.machines if one.roles != (Role.NODE,) and not one.external
    ]
    if machine is None:
        return f"{said!r} is neither an address nor a machine", nearest(said, known)
    if machine.roles == (Role.NODE,):
        hint = nearest(said, known)
        return f"{said} is a node: caches run on controllers or edges", hint
    if machine.external:
        return f"{said} is managed by others", "give the address of the cache"
    return None
