"""Say what an authoritative name server says of services: master files (RFC 1035 section 5).

They follow from the services alone, so whoever has one goes on answering without controllers.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from pltfrms.errors import UsageError
from pltfrms.model.addresses import Address, Prefix
from pltfrms.model.network.topology import Platform
from pltfrms.model.services.names import Addressed, domain_of, is_domain, is_within, names_of
from pltfrms.model.services.service import Service

_DNS: Final = "53/udp"
_SERIALS: Final = 2**32
_NO_HOST: Final = "no host may have a name like that, and servers refuse zones with one"
_HEAD: Final = """\
$ORIGIN {name}.
$TTL 3600
; expires after 4 weeks without its primary: what it says stays true
@\tIN SOA {server}. hostmaster.{domain}. {serial} 3600 600 2419200 60
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A zone as its master file says it."""

    name: str
    """Without a dot at the end."""
    text: str


def name_servers(platform: Platform, services: Iterable[Service]) -> tuple[str, ...]:
    """Return the names of the services on port 53/udp."""
    every = sorted(each.name for each in services if _DNS in each.spec.ports)
    return tuple(f"{name}.{domain_of(platform)}" for name in every if is_domain(name))


def render_zones(
    platform: Platform, services: Iterable[Addressed], revision: int, servers: Sequence[str]
) -> tuple[Zone, ...]:
    """Return the zone of the platform's domain, then those of its addresses.

    `servers` are the names of name servers.

    Raises:
        UsageError: there is no name server, or one in the zone that has no address; or the
            platform's domain is none that hosts may be in.
    """
    known = sorted(services, key=lambda each: each.name)
    every = [each for each in known if is_domain(each.name)]
    domain = domain_of(platform)
    if not is_domain(domain):
        raise UsageError(f"no host may be in {domain}: give the platform a `domain`")
    _check_servers(platform, every, servers)
    others = (each.name for each in known if not is_domain(each.name))
    left_out = (f"; {name} is left out: {_NO_HOST}" for name in others)
    zones = {domain: (*_forward(platform, every), *left_out)}
    for name in _reverse_zones(platform):
        zones[name] = tuple(_pointers(name, domain, every))
    return tuple(
        Zone(name=name, text=_text(name, domain, revision, servers, rows))
        for name, rows in zones.items()
    )


def render_list(zones: Iterable[Zone], directory: str) -> str:
    """Return what has NSD answer from files of zones, each as its pattern `pltfrms` says."""
    return "".join(
        f'zone:\n\tname: "{each.name}"\n\tzonefile: "{directory}/{each.name}.zone"\n'
        '\tinclude-pattern: "pltfrms"\n'
        for each in zones
    )


def _text(
    name: str, domain: str, revision: int, servers: Sequence[str], rows: Iterable[str]
) -> str:
    head = _HEAD.format(name=name, domain=domain, server=servers[0], serial=revision % _SERIALS)
    told = (f"@\tIN NS {each}." for each in servers)
    return head + "".join(f"{row}\n" for row in (*told, *rows))


def _check_servers(
    platform: Platform, services: Sequence[Addressed], servers: Sequence[str]
) -> None:
    if not servers:
        raise UsageError(
            f"no service says {_DNS} in its ports, so the zone has no name server: "
            "say --ns NAME"
        )
    domain = domain_of(platform)
    known = {each.name for each in names_of(platform, services)}
    for server in servers:
        if is_within(server, domain) and server not in known:
            raise UsageError(f"--ns {server}: is in {domain}, and no service is called that")


def _forward(platform: Platform, services: Sequence[Addressed]) -> Iterator[str]:
    for each in sorted(names_of(platform, services), key=lambda named: named.short):
        for address in each.addresses:
            kind = "A" if isinstance(address, IPv4Address) else "AAAA"
            yield f"{each.short}\tIN {kind} {address}"


def _reverse_zones(platform: Platform) -> tuple[str, ...]:
    """Return the names of zones around all addresses that services may have.

    Of one zone inside another, only the outer one: nobody would find the inner one.
    """
    names = {
        _zone_of(part)
        for aggregate in platform.service_aggregates
        for part in _parts(aggregate.prefix)
    }
    inner = {one for one in names if any(one.endswith(f".{other}") for other in names)}
    return tuple(sorted(names - inner))


def _parts(prefix: Prefix) -> Iterable[Prefix]:
    """Return the parts of a prefix that have a zone of their own: whole labels."""
    bits = _bits(prefix)
    return prefix.subnets(new_prefix=-(-prefix.prefixlen // bits) * bits)


def _zone_of(prefix: Prefix) -> str:
    labels = prefix.network_address.reverse_pointer.split(".")
    return ".".join(labels[(prefix.max_prefixlen - prefix.prefixlen) // _bits(prefix) :])


def _bits(prefix: Prefix) -> int:
    """Return how many bits of an address a label of its reverse name stands for."""
    return 8 if isinstance(prefix, IPv4Network) else 4


def _pointers(zone: str, domain: str, services: Iterable[Addressed]) -> Iterator[str]:
    """Yield every address in a zone with the service that answers there, by address."""
    found: dict[Address, str] = {
        prefix.network_address: each.name for each in services for prefix in each.prefixes
    }
    for address in sorted(found, key=int):
        owner = address.reverse_pointer.removesuffix(f".{zone}")
        if owner != address.reverse_pointer:
            yield f"{owner}\tIN PTR {found[address]}.{domain}."
