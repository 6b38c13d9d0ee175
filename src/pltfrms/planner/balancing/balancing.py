"""Decide what the director of a machine knows, and where it sees packets. Pure."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address
from typing import Final

from pltfrms.model.network.topology import Platform
from pltfrms.model.running.balancer import (
    STATE_FACTOR,
    BalancerSettings,
    Candidate,
    CandidateState,
    Hook,
    HookKind,
)

_STATES: Final = frozenset(CandidateState)
_ID_SHIFT: Final = 32
_ID_MASK: Final = 0xFFFF


def service_id_of(instance: IPv6Address) -> int:
    """Return the id of the service whose instance has this unicast address."""
    return int(instance) >> _ID_SHIFT & _ID_MASK


def candidate_of(address: IPv6Address, metrics: Iterable[int]) -> Candidate | None:
    """Return what routes with these metrics to an address of table 105 say; None: nothing.

    A metric that says no state is left out: it is not from our BIRD.
    """
    # While BIRD changes a route there may be two of it: the better state counts.
    for state, weight in sorted(divmod(metric, STATE_FACTOR) for metric in metrics):
        if state in _STATES and weight:
            return Candidate(address=address, weight=weight, state=CandidateState(state))
    return None


def settings_of(platform: Platform, machine: str) -> BalancerSettings:
    """Return what the director of a machine works with; KeyError if there is no such."""
    me = platform.machine(machine)
    return BalancerSettings(
        source=platform.balancer_source(me), infrastructure=platform.infrastructure6
    )


def hooks_of(
    platform: Platform, machine: str, instances: Mapping[str, IPv6Address]
) -> tuple[Hook, ...]:
    """Return the devices that the director watches; `instances` are addresses by device.

    An edge sees what comes in, from wherever: what its nodes could not spread themselves, too.
    A node sees what its instances send and get. KeyError if there is no such machine.
    """
    me = platform.machine(machine)
    outside = sorted({session.interface for _, session in platform.sessions_of(machine)})
    inside = sorted(
        {
            *platform.fabric_interfaces(me),
            *(link.interface_at(machine) for link in platform.links_of(machine)),
        }
    )
    return (
        *(Hook(device=device, kind=HookKind.OUTSIDE) for device in outside),
        *(Hook(device=device, kind=HookKind.INSIDE) for device in inside),
        *(
            Hook(device=device, kind=HookKind.INSTANCE, address=address)
            for device, address in sorted(instances.items())
        ),
    )
