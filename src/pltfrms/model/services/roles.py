"""Roles of a service: addresses that follow whoever says that it has the role.

Where only one may have a role, each who says so makes a claim: one number, and everywhere the
highest one wins. It is made of the epoch that the instance says (the timeline of a database,
say), and, for two that say the same, of where their node is numbered.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from pltfrms.model.addresses import Prefix, prefixes_of

EPOCH_MAX: Final = 16_000
"""Higher ones count as this one: a claim is a number of 32 bits."""
ROLE_INTERVAL_MS: Final = 200
"""From one question to an instance whether it has a role to the next, unless it is said."""
CLAIM_STEP: Final = 1 << 18
"""From one epoch to the next; every claim is at least as high."""
_NODES: Final = 1 << 10
"""Nodes of a datacenter that a claim tells apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePrefixes:
    """What a role of a service has for life, whether its spec has the role now or not."""

    name: str
    prefix4: IPv4Network | None = None
    prefix6: IPv6Network | None = None

    @property
    def prefixes(self) -> tuple[Prefix, ...]:
        """The /32 and the /128."""
        return prefixes_of(self.prefix4, self.prefix6, ())


def role_prefixes(roles: Iterable[RolePrefixes], names: Iterable[str]) -> Iterator[Prefix]:
    """Yield the prefixes of the roles of these names."""
    wanted = frozenset(names)
    for role in roles:
        if role.name in wanted:
            yield from role.prefixes


def claim_of(epoch: int, datacenter: int, node: int) -> int:
    """Return the claim of an instance that says this epoch, by the ids of where it is."""
    rank = datacenter * _NODES + node % _NODES
    return (min(epoch, EPOCH_MAX) + 1) * CLAIM_STEP + CLAIM_STEP - 1 - rank


def epoch_of(claim: int) -> int:
    """Return the epoch of which a claim is made."""
    return claim // CLAIM_STEP - 1
