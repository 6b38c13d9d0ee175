"""Which vantage point asks what. Pure.

A question costs its service a connection, and the platform the way there. So a vantage point
asks no more than its budget in a round, however many services there are, and a service is asked
by no more than ASKERS machines, however many edges: the questions lie in a circle, and each
machine asks those from its own place on.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Final

from pltfrms.model.network.topology import Machine, Platform, Role
from pltfrms.model.network.vantage import VantageSpec
from pltfrms.model.running.vantage import Questions, VantageQuestion
from pltfrms.model.services.service import Probe, ProbeKind, Service

ASKERS: Final = 30
"""Machines that ask the same question in a round: about six connections a second for a service
with two addresses."""
TIMEOUT_MS: Final = 2000
"""Longer than a probe on the machine itself gets: the way counts, too."""
_TCP: Final = "/tcp"
_PART: Final = 0.1
"""Of the connections by which a service is scaled, that one replica is to have: so many may be
ours in all replicas together, and add none."""


def asks_from(platform: Platform, machine: Machine) -> bool:
    """Return whether a machine of ours is to ask anything."""
    wanted = platform.vantage
    here = not wanted.datacenters or machine.datacenter in wanted.datacenters
    role = machine.has(Role.EDGE) or (wanted.nodes and machine.has(Role.NODE))
    return here and role and not machine.external and not wanted.off


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """All questions in the order in which machines share them, and these machines."""

    wanted: VantageSpec
    machines: tuple[str, ...]
    questions: tuple[VantageQuestion, ...]


def circle_of(platform: Platform, services: Mapping[str, Service]) -> Circle:
    """Return what is the same for all vantage points."""
    wanted, machines = platform.vantage, _by_turns(platform)
    asked = (
        question
        for name in _shuffled(services)
        if name in wanted.services or not wanted.services
        if not is_load(platform, len(machines), services[name])
        for question in questions_about(services[name])
    )
    return Circle(wanted=wanted, machines=machines, questions=tuple(asked))


def questions_of(circle: Circle, vantage: str) -> Questions:
    """Return what a vantage point is to ask; nothing if it is none of the platform's."""
    wanted = circle.wanted
    mine = circle.questions[: wanted.most]  # who is outside is told what all there are told
    if vantage not in wanted.outside:
        mine = _share(circle, vantage)
    made_of = hashlib.sha256(f"{wanted.every_ms} {mine!r}".encode()).hexdigest()[:16]
    return Questions(made_of=made_of, interval_ms=wanted.every_ms, questions=mine)


def is_load(platform: Platform, machines: int, service: Service) -> bool:
    """Return whether questions of so many machines count as load of a service, and scale it."""
    scale = service.spec.scale
    if scale is None or scale.connections is None:
        return False
    askers = min(machines, ASKERS + 1) + len(platform.vantage.outside)
    a_second = askers * len(questions_about(service)) * 1000 / platform.vantage.every_ms
    return a_second > _PART * scale.connections


def _share(circle: Circle, vantage: str) -> tuple[VantageQuestion, ...]:
    """Return the part of a machine in the circle of questions."""
    asked = circle.questions
    each = min(circle.wanted.most, len(asked))
    enough = ASKERS * len(asked) // each if each else 0
    if vantage not in circle.machines[:enough]:
        return ()
    first = circle.machines.index(vantage) * each
    return tuple(asked[(first + step) % len(asked)] for step in range(each))


def _by_turns(platform: Platform) -> tuple[str, ...]:
    """Return the machines that ask, of each datacenter in turn."""
    sites: dict[str, list[str]] = {each.name: [] for each in platform.datacenters}
    for each in platform.machines:
        if asks_from(platform, each):
            sites[each.datacenter].append(each.name)
    return tuple(name for row in zip_longest(*sites.values()) for name in row if name)


def _shuffled(names: Iterable[str]) -> list[str]:
    """Return names in an order that is always the same, and not that of the alphabet.

    Services whose names begin alike belong together, and would all be beyond a budget.
    """
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())


def questions_about(service: Service) -> list[VantageQuestion]:
    """Return all that can be asked of a service."""
    addresses = [prefix.network_address for prefix in service.prefixes]
    return [
        VantageQuestion(service=service.name, address=address, probe=probe)
        for probe in _probes(service)
        for address in addresses
    ]


def _probes(service: Service) -> list[Probe]:
    """Return how a client would ask: by the service's probe, and at its other ports of TCP.

    Who may not ask is not asked, and what a probe says that others must not know stays here.
    """
    spec = service.spec
    own = spec.probe
    closed = {each.port for each in spec.clients}
    ports = [int(port.removesuffix(_TCP)) for port in spec.ports if _opens(port, closed)]
    found = []
    said = own.kind is not ProbeKind.EXEC and not (own.http and own.http.headers)
    answers = not spec.ports or own.port in ports
    if said and answers and own.tcp_port:
        found.append(replace(own, timeout_ms=max(own.timeout_ms, TIMEOUT_MS)))
    asked = {probe.port for probe in found}
    plain = (Probe(kind=ProbeKind.TCP, port=port, timeout_ms=TIMEOUT_MS) for port in ports)
    return [*found, *(probe for probe in plain if probe.port not in asked)]


def _opens(port: str, closed: set[str]) -> bool:
    """Return whether everybody may connect to a port."""
    return port.endswith(_TCP) and port not in closed and port.removesuffix(_TCP).isdigit()
