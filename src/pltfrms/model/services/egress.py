"""From which addresses instances speak with the internet, and what they may reach there. Pure.

A datacenter has unicast prefixes (`Aggregate.unicast`); of each family the first one numbers
its nodes and instances, from ids alone:

    IPv6, a /48 or shorter `P`: P:NODE::/64 of a node, P:NODE::SLOT of an instance
    IPv4: `per_node` addresses of a node, from NODE x per_node on; the first is what it
    translates to, the one with number SLOT that of an instance with an address of its own
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from pltfrms.model.addresses import Address, Prefix
from pltfrms.model.network.topology import Aggregate, Machine, Platform, Role
from pltfrms.model.services.outgoing import EgressMode
from pltfrms.model.services.service import ServiceSpec

_NODE_LENGTH: Final = 64
"""Of a node's part of an IPv6 unicast prefix."""
POOLS: Final = 0x1000 << 64
"""The /52 of an IPv6 infrastructure prefix with the pools of all nodes (`Platform.pool6`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The addresses of one instance towards the internet; None: it has none in that family."""

    own4: Address | None = None
    """On its own interface."""
    own6: Address | None = None
    translated4: IPv4Address | None = None
    """Its node's, to which its IPv4 packets are translated."""

    @property
    def own(self) -> tuple[Address, ...]:
        """The addresses that the instance itself has."""
        return tuple(each for each in (self.own4, self.own6) if each is not None)


def unicast_of(platform: Platform, datacenter: str, version: int) -> Aggregate | None:
    """Return the aggregate from which a datacenter's instances speak, of one family."""
    return next(
        (
            each
            for each in platform.aggregates
            if each.unicast == datacenter and each.prefix.version == version
        ),
        None,
    )


def ours(platform: Platform, version: int) -> tuple[Prefix, ...]:
    """Return what is no internet: infrastructure and aggregates of one family."""
    every = (*platform.infrastructure, *(each.prefix for each in platform.aggregates))
    return tuple(each for each in every if each.version == version)


def services_and_instances(platform: Platform, version: int) -> tuple[Prefix, ...]:
    """Return where services and instances have addresses, of one family.

    Only in IPv4 the addresses of machines are among them.
    """
    four = () if platform.infrastructure4 is None else (platform.infrastructure4,)
    every = (*four, pools6(platform), *(each.prefix for each in platform.aggregates))
    return tuple(each for each in every if each.version == version)


def pools6(platform: Platform) -> IPv6Network:
    """Return where instances of all nodes have their IPv6 addresses."""
    return IPv6Network((int(platform.infrastructure6.network_address) | POOLS, 52))


def service_id_in(address: IPv6Address) -> int:
    """Return the id of the service that an instance's address says (`Platform.instance6`)."""
    return int(address) >> 32 & 0xFFFF


def addresses_per_node(aggregate: Aggregate) -> int:
    """Return how many addresses of an IPv4 unicast prefix belong to each node."""
    return aggregate.per_node or 1


def node_egress4(platform: Platform, node: Machine) -> IPv4Network | None:
    """Return the addresses of a node in its datacenter's unicast prefix."""
    found = unicast_of(platform, node.datacenter, 4)
    if found is None or not isinstance(found.prefix, IPv4Network):
        return None
    count = addresses_per_node(found)
    first = int(found.prefix.network_address) + node.id_as(Role.NODE) * count
    return IPv4Network((first, 33 - count.bit_length()), strict=False)


def node_egress6(platform: Platform, node: Machine) -> IPv6Network | None:
    """Return the part of a datacenter's unicast prefix that a node's instances have."""
    found = unicast_of(platform, node.datacenter, 6)
    if found is None or not isinstance(found.prefix, IPv6Network):
        return None
    first = int(found.prefix.network_address) | (node.id_as(Role.NODE) << _NODE_LENGTH)
    return IPv6Network((first, _NODE_LENGTH), strict=False)


def node_egress(platform: Platform, node: Machine) -> tuple[Prefix, ...]:
    """Return all that a node announces for its instances to be answered by the internet."""
    every = (node_egress4(platform, node), node_egress6(platform, node))
    return tuple(each for each in every if each is not None)


def egress_mode(platform: Platform, spec: ServiceSpec, datacenter: str) -> EgressMode:
    """Return how a service's instances in a datacenter reach the internet."""
    if spec.run.adopted is not None:  # it speaks as its node does
        return EgressMode.NONE
    if not any(unicast_of(platform, datacenter, version) for version in (4, 6)):
        return EgressMode.NONE
    return spec.egress.mode or EgressMode.DATACENTER


def sources(platform: Platform, spec: ServiceSpec, node: Machine, slot: int) -> Sources:
    """Return the addresses of the instance of a service in a slot of a node."""
    mode = egress_mode(platform, spec, node.datacenter)
    if mode is EgressMode.NONE:
        return Sources()
    four, six = node_egress4(platform, node), node_egress6(platform, node)
    own6 = ip_address(int(six.network_address) + slot) if six else None
    if mode is EgressMode.DATACENTER:
        inside4 = platform.instance4(node, slot)
        translated = four.network_address if four and inside4 else None
        return Sources(own6=own6, translated4=translated)
    has4 = four is not None and slot < four.num_addresses
    return Sources(own4=four.network_address + slot if four and has4 else None, own6=own6)


def slots_with_own(platform: Platform, spec: ServiceSpec, datacenter: str) -> int | None:
    """Return the highest slot whose instance has what the service asks for; None: any."""
    if egress_mode(platform, spec, datacenter) is not EgressMode.OWN:
        return None
    found = unicast_of(platform, datacenter, 4)
    return slots_to_spare(platform, datacenter) if found else None


def slots_to_spare(platform: Platform, datacenter: str) -> int:
    """Return the highest slot with an IPv4 address of its own; 0: there is none."""
    found = unicast_of(platform, datacenter, 4)
    return addresses_per_node(found) - 1 if found else 0
