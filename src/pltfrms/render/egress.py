"""Say what a node lets its instances send to the internet, and what it lets come back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses
from typing import Final, cast

from pltfrms.model.addresses import Address, Prefix
from pltfrms.model.network.topology import Machine, Platform, Role
from pltfrms.model.services.egress import (
    Sources,
    node_egress,
    ours,
    services_and_instances,
    sources,
    unicast_of,
)
from pltfrms.model.services.outgoing import EgressMode, EgressRule
from pltfrms.model.services.service import ServiceSpec
from pltfrms.render.text import fill

EGRESS_TABLE: Final = "inet pltfrms_egress"
"""The nftables table that is ours alone."""
EGRESS_REASONS: Final = ("not-allowed", "unasked")
"""Names of the counters: why a packet was refused."""
_WORDS = {4: "ip", 6: "ip6"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaver:
    """An instance of this node, as far as its packets to the internet are concerned."""

    device: str
    slot: int
    spec: ServiceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaving:
    """An instance that may send something, as the template says it."""

    device: str
    sources: tuple[tuple[str, Address], ...]
    """nft's word for the family, and the address it speaks from."""
    allowed: tuple[str, ...]
    """Matches of nft; empty: everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """What is the same for all instances, as nft writes elements of sets."""

    word: str
    ours: str
    passing: str
    """Services and instances, wherever they are."""
    services: str
    inside: str
    """What no instance without egress may send from: pool and unicast addresses."""
    pairs: str
    """Device and address of everything that is tracked on its way out."""
    answered: str
    """Addresses to which answers come."""
    asked_only: str
    """Of these, those of instances to which only answers come."""


def render_egress(platform: Platform, machine: str, leavers: Iterable[Leaver]) -> str:
    """Return the nftables table of a node; empty if nothing is to be judged.

    That is so where the datacenter has no unicast prefix and no service refuses to send: then
    edges drop what instances send from private addresses.
    """
    me = platform.machine(machine)
    every = sorted(leavers, key=lambda each: each.slot)
    has_prefix = any(unicast_of(platform, me.datacenter, version) for version in (4, 6))
    refused = any(each.spec.egress.mode is EgressMode.NONE for each in every)
    if not me.has(Role.NODE) or not (has_prefix or refused):
        return ""
    found = [(each, sources(platform, each.spec, me, each.slot)) for each in every]
    leaving = tuple(_leaving(platform, me, *pair) for pair in found if _speaks(pair[1]))
    return fill(
        "egress.j2",
        table=EGRESS_TABLE,
        reasons=EGRESS_REASONS,
        leaving=leaving,
        devices=", ".join(f'"{each.device}"' for each in every),
        translated=", ".join(
            str(platform.instance4(me, each.slot)) for each, from_ in found if from_.translated4
        ),
        node4=next((from_.translated4 for _, from_ in found if from_.translated4), None),
        families=tuple(_family(platform, me, found, leaving, version) for version in _WORDS),
    )


def _speaks(from_: Sources) -> bool:
    return bool(from_.own or from_.translated4)


def _leaving(platform: Platform, me: Machine, each: Leaver, from_: Sources) -> _Leaving:
    addresses = [*from_.own]
    inside = platform.instance4(me, each.slot)
    if from_.translated4 and inside:
        addresses.append(inside)
    return _Leaving(
        device=each.device,
        sources=tuple((_WORDS[address.version], address) for address in addresses),
        allowed=tuple(_match(rule) for rule in each.spec.egress.allow),
    )


def _match(rule: EgressRule) -> str:
    parts = []
    if rule.prefix is not None:
        parts.append(f"{_WORDS[rule.prefix.version]} daddr {rule.prefix}")
    if rule.protocol:
        parts.append(f"{rule.protocol} dport {rule.port}")
    return " ".join(parts)


def _family(
    platform: Platform,
    me: Machine,
    found: Sequence[tuple[Leaver, Sources]],
    leaving: Sequence[_Leaving],
    version: int,
) -> _Family:
    word = _WORDS[version]
    pools = (platform.pool4(me), platform.pool6(me))
    inside = (*(each for each in pools if each), *node_egress(platform, me))
    own = [(each, address) for each, from_ in found for address in from_.own]
    asked_only = [
        str(address)
        for each, address in own
        if address.version == version and each.spec.egress.mode is not EgressMode.OWN
    ]
    answered = [str(address) for _, address in own if address.version == version]
    answered += _translations(found) if version == 4 else []  # noqa: PLR2004
    pairs = (
        f'"{each.device}" . {address}'
        for each in leaving
        for family, address in each.sources
        if family == word
    )
    return _Family(
        word=word,
        ours=_networks(ours(platform, version)),
        passing=_networks(services_and_instances(platform, version)),
        services=_networks(
            each.prefix
            for each in platform.service_aggregates
            if each.prefix.version == version
        ),
        inside=_networks(each for each in inside if each.version == version),
        pairs=", ".join(pairs),
        answered=", ".join(answered),
        asked_only=", ".join(asked_only),
    )


def _translations(found: Iterable[tuple[Leaver, Sources]]) -> list[str]:
    """Return the node's address to which packets are translated, once, if any are."""
    return list(dict.fromkeys(str(s.translated4) for _, s in found if s.translated4))


def _networks(prefixes: Iterable[Prefix]) -> str:
    alike = cast("Iterable[IPv4Network]", prefixes)  # or IPv6; the two are never mixed
    return ", ".join(str(each) for each in collapse_addresses(alike))
