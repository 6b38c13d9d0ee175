"""Say on which ports an instance answers as its service, and to whom."""

from collections.abc import Container, Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Address, collapse_addresses
from typing import Final, cast

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.machine import PORTS_TABLE, PortRules
from pltfrms.model.services.egress import POOLS, ours
from pltfrms.model.services.roles import role_prefixes
from pltfrms.model.services.service import CLIENT_INTERNET, CLIENT_SERVICE, Service
from pltfrms.render.text import fill

_WORDS: Final = {4: "ip", 6: "ip6"}
_OF_SERVICE: Final = IPv6Address("ffff:ffff:ffff:f000:0:ffff::")
"""The bits of an instance's address that are the same for all instances of its service: those
of the pools of all nodes, and its id (`Platform.instance6`)."""


def render_ports(
    platform: Platform, service: Service, ids: Mapping[str, int]
) -> PortRules | None:
    """Return the nftables table of an instance of a service; None if there is to be none.

    So it is if the spec names no port, and for what others start in the machine itself.

    `ids` are those of services by name; who is not in it is no client. Instances of a service
    are known by their IPv6 addresses alone, which have its id in them.
    """
    spec = service.spec
    own = {role.name: role.ports for role in spec.roles if role.ports}
    if not (spec.ports or own) or spec.run.adopted is not None:
        return None
    limited = {each.port: each.clients for each in spec.clients}
    text = fill(
        "ports.j2",
        table=PORTS_TABLE,
        here=tuple(_here(_with_ports_of_service(service))),
        roles=[
            (
                f"role_{role.name}".replace("-", "_"),
                tuple(_here(role.prefixes)),
                [(_match(port), _verdict(port, limited)) for port in own[role.name]],
            )
            for role in service.roles
            if role.name in own
        ],
        everybody=[_match(port) for port in spec.ports if port not in limited],
        some=[
            (_chain(port), _match(port), tuple(_clients(platform, limited[port], ids)))
            for port in spec.ports
            if port in limited
        ],
    )
    return PortRules(text=text, strict=bool(limited))


def _with_ports_of_service(service: Service) -> tuple[Prefix, ...]:
    """Return where it answers on the ports of its spec: also where a role says no others."""
    spec = service.spec
    if not spec.ports:
        return ()
    own = {role.name for role in spec.roles if role.ports}
    roles = (role.name for role in spec.roles if role.name not in own)
    return (*service.prefixes, *role_prefixes(service.roles, roles))


def _here(prefixes: Iterable[Prefix]) -> Iterator[tuple[str, str]]:
    every = tuple(prefixes)
    for version, word in _WORDS.items():
        found = [str(each.network_address) for each in every if each.version == version]
        if found:
            yield word, ", ".join(found)


def _match(port: str) -> str:
    number, _, protocol = port.partition("/")
    return f"{protocol} dport {number}"


def _chain(port: str) -> str:
    number, _, protocol = port.partition("/")
    return f"to_{protocol}_{number}"


def _verdict(port: str, limited: Container[str]) -> str:
    """Return what becomes of a packet to a port: who may ask there may at every address."""
    return f"goto {_chain(port)}" if port in limited else "accept"


def _clients(
    platform: Platform, clients: Iterable[str], ids: Mapping[str, int]
) -> Iterator[str]:
    for client in clients:
        name = client.removeprefix(CLIENT_SERVICE)
        if client == CLIENT_INTERNET:
            for version, word in _WORDS.items():
                inside = _networks(ours(platform, version))
                yield (
                    f"{word} saddr != {{ {inside} }}"
                    if inside
                    else f"meta nfproto ipv{version}"
                )
        elif name == client:
            yield f"{_WORDS[6 if ':' in client else 4]} saddr {client}"
        elif name in ids:
            yield f"ip6 saddr & {_OF_SERVICE} == {_instances_of(platform, ids[name])}"


def _instances_of(platform: Platform, service_id: int) -> IPv6Address:
    """Return what all instances of a service have in common, wherever they are."""
    pools = int(platform.infrastructure6.network_address) | POOLS
    return IPv6Address(pools | (service_id << 32))


def _networks(prefixes: Iterable[Prefix]) -> str:
    alike = cast("Iterable[IPv4Network]", prefixes)  # or IPv6; the two are never mixed
    return ", ".join(str(each) for each in collapse_addresses(alike))
