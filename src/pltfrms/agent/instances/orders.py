"""What runners are told: what is to run, and what they need of their agent."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from pltfrms.agent.instances.drains import Drains
from pltfrms.agent.journal import Journal
from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.model.addresses import Address
from pltfrms.model.running.machine import Instance, InstanceSpec
from pltfrms.model.running.plan import Allocation
from pltfrms.model.services.service import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to run for one allocation."""

    allocation: Allocation
    spec: InstanceSpec
    service: Service
    exact: bool
    """The spec is of the allocation's own version; else that version is not known here, and
    an instance that runs is left alone."""


class BeforeEnd(Protocol):
    """Who runs commands inside instances that are to end, and serve."""

    def due(self, name: str) -> bool:
        """Return whether there is one to be run now."""

    async def run_due(self, name: str) -> None:
        """Run them; return when the instance may end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a runner needs of its agent."""

    world: World
    journal: Journal
    problems: Problems
    settle: Callable[[], Awaitable[None]]
    """Make routes follow who is ready and attached; returns when they do."""
    is_free: Callable[[InstanceSpec], bool]
    """Whether no other instance has the veth or the volume that one is to have, and nothing is
    to be done about the last one of its own."""
    drains: Drains
    drainable: Callable[[Service, Instance], bool]
    """Whether the flows that an instance has would find it while it drains."""
    stays: Callable[[Order, int], bool]
    """Whether an unwell instance of an order, restarted so many times without being well since,
    is to stay, as most of the others are no better."""
    hooks: BeforeEnd


def addresses_of(service: Service) -> tuple[Address, ...]:
    """Return what instances of a service are asked on."""
    return tuple(each.network_address for each in service.prefixes)
