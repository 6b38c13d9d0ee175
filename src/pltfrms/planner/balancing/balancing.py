"""Decide what the director of a machine knows, and where it sees packets. Pure."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address
from typing import Final

from pltfrms.model.balancer import (
    STATE_FACTOR,
    BalancerSettings,
    Candidate,
    CandidateState,
    Hook,
    HookKind,
)
from pltfrms.model.machine import HostRoute
from pltfrms.model.topology import (
    Platform,
    backbone_interface,
    fabric_interface,
)

_STATES: Final = frozenset(CandidateState)
_ID_SHIFT: Final = 32
_ID_MASK: Final = 0xFFFF


def service_id_of(instance: IPv6Address) -> int:
    """Return the id of the service whose instance has this unicast address."""
    return int(instance) >> _ID_SHIFT & _ID_MASK


def candidates_of(routes: Iterable[HostRoute]) -> Mapping[int, tuple[Candidate, ...]]:
    """Return the candidates by service id, sorted, from the routes of table 105.

    A route with a metric that says no state is left out: it is not from our BIRD.
    """
    found: dict[int, dict[IPv6Address, Candidate]] = {}
    for address, metric in routes:
        state, weight = divmod(metric, STATE_FACTOR)
        if state not in _STATES or not weight:
            continue
        one = Candidate(address=address, weight=weight, state=CandidateState(state))
        # While BIRD changes a route there may be two of it: the better state counts.
        others = found.setdefault(service_id_of(address), {})
        if address not in others or one.state < others[address].state:
            others[address] = one
    return {number: tuple(sorted(some.values())) for number, some in found.items()}


def with_kept(
    found: Mapping[int, tuple[Candidate, ...]], kept: Iterable[Candidate]
) -> Mapping[int, tuple[Candidate, ...]]:
    """Return the candidates found, and of those kept the ones that were not found."""
    merged = {number: {each.address: each for each in some} for number, some in found.items()}
    for one in kept:
        merged.setdefault(service_id_of(one.address), {}).setdefault(one.address, one)
    return {number: tuple(sorted(some.values())) for number, some in merged.items()}


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
            *map(fabric_interface, platform.datacenter(me.datacenter).fabrics),
            *(backbone_interface(link.far_end(machine)) for link in platform.links_of(machine)),
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
