"""What makes no sense in the ports of a service, and in who may ask there."""

import re
from collections.abc import Iterator
from ipaddress import ip_network

from pltfrms.model.network.topology import Platform
from pltfrms.model.services.service import CLIENT_INTERNET, CLIENT_SERVICE, ServiceSpec
from pltfrms.specfile.checking.services.variables import families_of
from pltfrms.specfile.findings import Finding, Where, check_scope

_PORT = re.compile(r"([1-9][0-9]{0,4})/(tcp|udp)\Z")
_MAX_PORT = 65_535
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}\Z")
_CLIENTS = "internet, service:NAME, or a prefix such as 198.18.0.0/15"
_MOST_CLIENTS = 100


def check_service_ports(spec: ServiceSpec) -> Iterator[Finding]:
    """Yield what is wrong with ports and their clients by themselves."""
    yield from check_port_list(("ports",), spec.ports)
    yield from _check_limits(spec)


def check_port_list(where: Where, ports: tuple[str, ...]) -> Iterator[Finding]:
    """Yield what is wrong with ports by themselves."""
    for index, port in enumerate(ports):
        match = _PORT.match(port)
        if match is None or int(match.group(1)) > _MAX_PORT:
            yield Finding((*where, index), f"{port!r} is not a port", "such as 80/tcp")
        elif port in ports[:index]:
            yield Finding((*where, index), f"{port} is in the list twice", "keep one")


def _check_limits(spec: ServiceSpec) -> Iterator[Finding]:
    if spec.clients and spec.run.adopted is not None:
        what = "others start it, in the machine's own network, where we refuse nobody"
        yield Finding(("ports",), what, "leave clients out, and use a firewall of the machine")
    for where, client in _clients(spec):
        yield from _check_client(where, client)
    for each in spec.clients:
        if each.port not in spec.ports or not each.clients:
            yield Finding(("ports",), f"{each.port!r} has clients, and is no port")
        elif len(each.clients) > _MOST_CLIENTS:
            what = f"has {len(each.clients)} clients, at most {_MOST_CLIENTS} fit"
            yield Finding(("ports", spec.ports.index(each.port)), what, "say shorter prefixes")


def check_clients_here(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    """Yield clients that could not be known on this platform."""
    if 6 in families_of(spec, platform):  # noqa: PLR2004
        return
    for where, client in _clients(spec):
        if client.startswith(CLIENT_SERVICE):
            what = f"instances of {client.removeprefix(CLIENT_SERVICE)} are known by their IPv6"
            hint = f"{what} addresses: give {spec.name} one, or say prefixes"
            yield Finding(where, f"{spec.name} has no IPv6", hint)


def _check_client(where: Where, client: str) -> Iterator[Finding]:
    if client == CLIENT_INTERNET:
        return
    if client.startswith(CLIENT_SERVICE):
        if not _NAME.match(client.removeprefix(CLIENT_SERVICE)):
            yield Finding(where, f"{client!r} names no service", "such as service:api")
        return
    try:
        prefix = ip_network(client)
    except ValueError:
        yield Finding(where, f"{client!r} is no client", _hint(client))
    else:
        yield from check_scope(where, prefix)
        if str(prefix) != client:
            yield Finding(where, f"{client!r} is no client", f"write {prefix}")


def _hint(client: str) -> str:
    """Say how it is written; of an address with bits behind its prefix, which one was meant."""
    try:
        return f"did you mean {ip_network(client, strict=False)}?"
    except ValueError:
        return _CLIENTS


def _clients(spec: ServiceSpec) -> Iterator[tuple[Where, str]]:
    """Yield every client, with where it stands."""
    for each in spec.clients:
        if each.port in spec.ports:
            here = ("ports", spec.ports.index(each.port), "clients")
            yield from (((*here, index), client) for index, client in enumerate(each.clients))
