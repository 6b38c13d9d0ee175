"""Who asks a controller for something, as far as it matters for shares.

Machines of ours have shares of their own, each one: whoever else asks, and how much, takes
nothing from them. Root on this machine comes through the local socket. Everybody else is known
by the address alone, of IPv6 by the /64, of which one host has as many addresses as it likes.
Addresses of instances say their service: all instances of one are somebody, so that however
many they are, what is for everybody is not theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network, ip_address

from pltfrms.model.network.topology import Platform
from pltfrms.model.services.egress import pools6, service_id_in

_HOST_BITS = 64


class CallerKind(StrEnum):
    """What somebody is to this platform."""

    LOCAL = "local"
    """Root of this machine."""
    MACHINE = "machine"
    """A machine of the platform."""
    STRANGER = "stranger"
    """Everybody else."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a share."""

    kind: CallerKind
    name: str
    """Of a machine; else an address or prefix, or whose instances; empty: root."""

    def __str__(self) -> str:
        """Return how it is called in sentences."""
        return self.name or "root of this machine"


_ROOT = Caller(CallerKind.LOCAL, "")


class Callers:
    """Tells who is behind an address."""

    def __init__(self, platform: Callable[[], Platform | None]) -> None:
        """Know the machines of what `platform` returns; None: of none."""
        self._platform = platform
        self._known: Platform | None = None
        self._machines: dict[IPv6Address, Caller] = {}
        self._written: dict[str, Caller] = {}
        """The same by how an address is mostly written: each question asks for it."""

    def behind(self, client: tuple[str, int] | None) -> Caller:
        """Return who connects from an address and port; without one it is the local socket."""
        if not client or not client[0]:
            return _ROOT
        machines = self._by_address()
        if known := self._written.get(client[0]):
            return known
        try:
            address = ip_address(client[0].partition("%")[0])
        except ValueError:  # of a test that is no network
            return Caller(CallerKind.STRANGER, client[0])
        if isinstance(address, IPv6Address):
            if self._known is not None and address in pools6(self._known):
                number = service_id_in(address)
                return Caller(CallerKind.STRANGER, f"instances of service {number}")
            network = IPv6Network((address, _HOST_BITS), strict=False)
            return machines.get(address) or Caller(CallerKind.STRANGER, str(network))
        return Caller(CallerKind.STRANGER, str(address))

    def _by_address(self) -> dict[IPv6Address, Caller]:
        platform = self._platform()
        if platform is not self._known and platform is not None:
            self._machines = {
                platform.loopback6(each): Caller(CallerKind.MACHINE, each.name)
                for each in platform.machines
            }
            self._written = {str(address): it for address, it in self._machines.items()}
            self._known = platform
        return self._machines
