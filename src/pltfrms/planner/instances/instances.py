"""Derive from a target what is needed to start its instances."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv6Address, ip_interface
from typing import Final

from pltfrms.errors import UsageError
from pltfrms.model.addresses import Interface
from pltfrms.model.network.topology import Machine, Platform
from pltfrms.model.running.machine import InstanceSecret, InstanceSpec, Outgoing
from pltfrms.model.running.plan import Allocation, Target
from pltfrms.model.services.container import Container, reached_at
from pltfrms.model.services.egress import ours, sources
from pltfrms.model.services.members import Member, member_of
from pltfrms.model.services.names import domain_of
from pltfrms.model.services.secrets import DeliveredSecret, delivery_words
from pltfrms.model.services.service import Service

INSTANCE_LINK_LOCAL: Final = IPv6Address("fe80::2")
"""The instance's end of its veth; the machine's end is fe80::1."""
_VARIABLE: Final = re.compile(r"\$\{pltfrms\.([\w.-]+)\}")


def instance_device(slot: int) -> str:
    """Return the name of the machine's end of the veth of the instance in a slot."""
    return f"i{slot}"


def service_versions(target: Target, before: Iterable[Service]) -> tuple[Service, ...]:
    """Return the services in the versions that the target's allocations run.

    A target has the newest version of a service, and the one that a rollout comes from. Others
    that still run here are kept from what was known `before`.
    """
    known = {(service.name, service.version): service for service in before}
    told = (*target.earlier, *target.services)
    known |= {(service.name, service.version): service for service in told}
    needed = {(each.service, each.version) for each in target.allocations}
    return tuple(known[key] for key in sorted(needed & known.keys()))


def with_secrets(
    target: Target, versions: Iterable[Service], before: Iterable[DeliveredSecret]
) -> Target:
    """Return a target that also has the values which only older versions that run here use.

    Controllers do not know these any more; they are kept from what was known `before`. So is
    what they name and have no key for.
    """
    had = {(each.name, each.version): each for each in before}
    given = tuple(
        each if each.sealed else had.get((each.name, each.version), each)
        for each in target.secrets
    )
    told = {(each.name, each.version) for each in given}
    used = {
        (use.name, use.version)
        for each in versions
        for use in each.spec.run.secrets
        if use.version
    }
    kept = (had[key] for key in sorted(used - told) if key in had)
    return replace(target, secrets=(*given, *kept))


def instance_secrets(
    target: Target, service: Service, *, runs: bool = False
) -> tuple[InstanceSecret, ...]:
    """Return what an instance of a service is given, as the target of its machine has it.

    Raises:
        UsageError: the target lacks a value, and the instance does not run yet.
    """
    found = []
    for use in service.spec.run.secrets:
        known = [each for each in target.secrets if each.name == use.name]
        wanted = use.version or max((each.version for each in known), default=0)
        sealed = next((each.sealed for each in known if each.version == wanted), "")
        if not sealed and not runs:
            raise UsageError(
                f"value {wanted} of secret {use.name} is not known here yet: no controller has "
                "given it, or this machine has no key for secrets"
            )
        words = delivery_words(target.machine, use.name, wanted)
        found.append(InstanceSecret(use=use, version=wanted, about=words, sealed=sealed))
    return tuple(found)


def instance_spec(
    platform: Platform,
    service: Service,
    allocation: Allocation,
    secrets: tuple[InstanceSecret, ...] = (),
) -> InstanceSpec:
    """Return what is needed to start the instance of an allocation.

    Raises:
        KeyError: the platform has not got the allocation's node.
        UsageError: command, files or environment name an unknown `${pltfrms.X}`.
    """
    node = platform.machine(allocation.node)
    address4 = platform.instance4(node, allocation.slot)
    address6 = platform.instance6(node, service.id, allocation.slot)
    run, member = service.spec.run, member_at(platform, service, allocation)
    words = {
        "instance": allocation.id,
        "service": allocation.service,
        "datacenter": allocation.datacenter,
        "node": allocation.node,
        "replica": str(allocation.replica),
        "prefix4": str(service.prefix4 or ""),
        "prefix6": str(service.prefix6 or ""),
        "address6": str(address6),
        **dict(run.found),
    } | ({"address4": str(address4)} if address4 else {})
    if member is not None:
        words |= _words_of(platform, service, member)
    return InstanceSpec(
        allocation=allocation.id,
        process=tuple(_fill(word, words) for word in run.process),
        files=tuple((name, _fill(text, words)) for name, text in run.files),
        environment=tuple((name, _fill(text, words)) for name, text in run.environment),
        device=instance_device(allocation.slot),
        service_addresses=_interfaces(prefix.network_address for prefix in service.prefixes),
        unicast_addresses=_interfaces(filter(None, (address4, address6))),
        cpu=run.cpu,
        memory_bytes=run.memory_bytes,
        stop_grace_ms=run.stop_grace_ms,
        outgoing=_outgoing(platform, service, node, allocation.slot, member),
        container=_container(run.container, words),
        storage=service.spec.storage.started if service.spec.storage else None,
        volume=allocation.volume,
        adopted=run.adopted,
        elsewhere=reached_at(run.elsewhere, node.name),
        secrets=secrets,
        binary=run.binary,
        modes=run.modes,
        io=run.io,
        role_addresses=_interfaces(each.network_address for each in service.role_prefixes),
    )


def _container(container: Container | None, words: Mapping[str, str]) -> Container | None:
    if container is None:
        return None
    command, args = container.command, container.args
    return replace(
        container,
        command=tuple(_fill(word, words) for word in command),
        args=tuple(_fill(word, words) for word in args),
    )


def _outgoing(
    platform: Platform, service: Service, node: Machine, slot: int, member: Member | None
) -> Outgoing | None:
    own = sources(platform, service.spec, node, slot).own
    if not own and member is None:
        return None
    families = sorted(address.version for address in own)
    inside = tuple(prefix for version in families for prefix in ours(platform, version))
    lasting = tuple(each.network_address for each in member.prefixes) if member else ()
    return Outgoing(
        addresses=_interfaces(own),
        inside=inside,
        lasting=_interfaces(lasting),
        near=tuple(
            each
            for each in platform.infrastructure
            if each.version in {address.version for address in lasting}
        ),
    )


def member_at(platform: Platform, service: Service, allocation: Allocation) -> Member | None:
    """Return the member that an allocation is; None: it keeps nothing."""
    if not allocation.volume:
        return None
    place = (allocation.datacenter, allocation.replica)
    return member_of(platform, service.id, service.numbers4, place)


def _words_of(platform: Platform, service: Service, member: Member) -> dict[str, str]:
    words = {
        "replica.name": f"{member.label}.{service.name}.{domain_of(platform)}",
        "replica.address6": str(member.address6),
    }
    if member.address4 is not None:
        words["replica.address4"] = str(member.address4)
    return words


def _interfaces(addresses: Iterable[object]) -> tuple[Interface, ...]:
    return tuple(ip_interface(str(address)) for address in addresses)  # /32 and /128


def _fill(text: str, words: Mapping[str, str]) -> str:
    def word(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in words:
            known = ", ".join(sorted(words))
            raise UsageError(f"unknown variable {match.group()}; there are: {known}")
        return words[name]

    return _VARIABLE.sub(word, text)
