"""What services are called: a name in the platform's domain, and their main addresses."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from pltfrms.model.addresses import Address, Prefix
from pltfrms.model.network.topology import Platform
from pltfrms.model.services.members import Membership, members_of
from pltfrms.model.services.roles import RolePrefixes

LONGEST_DOMAIN: Final = 200
"""In characters: names below it have room in what DNS takes."""
NOT_FOR_SERVICES: Final = frozenset({"localhost"})
"""What has a meaning on every machine already."""
ZONES_DIRECTORY: Final = "zones"
"""Of the working directory: where an instance finds the zones of all names."""
_LABEL: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")


class Addressed(Protocol):
    """A service, as far as its name and its prefixes are concerned."""

    @property
    def id(self) -> int:
        """Its number, for life."""

    @property
    def name(self) -> str:
        """As the spec says it."""

    @property
    def prefixes(self) -> tuple[Prefix, ...]:
        """Every /32 and /128, the main ones first."""

    @property
    def roles(self) -> tuple[RolePrefixes, ...]:
        """Its roles, each with a name below that of the service."""

    @property
    def members(self) -> Membership | None:
        """Its replicas, each with a name below that of the service, if they keep one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A service and where it answers, the same in every datacenter."""

    name: str
    """In full, without a dot at the end."""
    short: str
    addresses: tuple[Address, ...]
    """The main one of each family, IPv6 first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneUse:
    """That an instance is given the zones of all names, and how it hears of other ones."""

    reload: tuple[str, ...]
    """Command that is run inside the instance whenever they are others."""
    servers: tuple[str, ...] = ()
    """Name servers beside the service itself, which have the zones from it."""


def domain_of(platform: Platform) -> str:
    """Return the domain in which the services of a platform have their names."""
    return platform.domain or f"{platform.name}.internal"


def is_domain(text: str) -> bool:
    """Return whether a text is a domain as we take it: small, and without a dot at its end."""
    return len(text) <= LONGEST_DOMAIN and bool(_DOMAIN.match(text))


def is_within(name: str, domain: str) -> bool:
    """Return whether a name is a domain, or one in it."""
    return name == domain or name.endswith(f".{domain}")


def names_of(platform: Platform, services: Iterable[Addressed]) -> tuple[Named, ...]:
    """Return the names of services, oldest first; of those without an address there is none."""
    domain = domain_of(platform)
    return tuple(
        Named(name=f"{name}.{domain}", short=name, addresses=main)
        for each in sorted(services, key=lambda one: one.id)
        for name, prefixes in _every(platform, each)
        if (main := tuple(_main(prefixes)))
    )


def _every(platform: Platform, each: Addressed) -> Iterator[tuple[str, tuple[Prefix, ...]]]:
    """Yield the names of a service, of its roles and of its members, with their prefixes."""
    yield each.name, each.prefixes
    for role in each.roles:
        yield f"{role.name}.{each.name}", role.prefixes
    if each.members is not None:
        for one in members_of(platform, each.id, each.members):
            yield f"{one.label}.{each.name}", one.prefixes


def _main(prefixes: tuple[Prefix, ...]) -> Iterator[Address]:
    for version in (6, 4):
        found = (each.network_address for each in prefixes if each.version == version)
        yield from tuple(found)[:1]
