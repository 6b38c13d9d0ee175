"""Everything outside the agent that it talks to, as one bundle of ports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pltfrms.drivers.balancer.ports import Balancer
from pltfrms.drivers.bird.ports import Bird
from pltfrms.drivers.controlplane.ports import ControlPlane
from pltfrms.drivers.kernel.counters import ByteCounts
from pltfrms.drivers.kernel.ports import LinkPinger, Network, PacketFilter
from pltfrms.drivers.ports import Clock, Disk
from pltfrms.drivers.wireguard.ports import TunnelDriver
from pltfrms.drivers.workload.ports import Asker, Prober, Workload
from pltfrms.model.network.topology import Platform


class CertificateKeeper(Protocol):
    """Who keeps this machine's certificate young."""

    @property
    def ends_ms(self) -> int | None:
        """When the certificate ends, as Unix time; None: it cannot be read."""
        ...

    async def look(self) -> None:
        """Renew it if it is time; whatever it raises is why it cannot be."""
        ...


class RoleFollower(Protocol):
    """Whoever starts what a controller runs."""

    async def __call__(self, *, controller: bool) -> None:
        """Hear whether this machine is one, by what it was told; whatever it raises is said."""
        ...


class Archive(Protocol):
    """Where BIRD keeps what the outside said to us."""

    def file(self, now_ms: int) -> str:
        """Return the file for an instant (Unix time), ready to be opened; or OSError."""
        ...

    def prune(self, now_ms: int) -> None:
        """Delete the oldest files if there are too many; or OSError."""
        ...


async def nothing(*, controller: bool) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The ports of an agent: the real drivers on a machine, their twins in tests."""

    boot: str
    """Stays the same until the machine boots."""
    clock: Clock
    control_plane: ControlPlane
    network: Network
    workload: Workload
    prober: Prober
    asker: Asker
    bird: Bird
    disk: Disk
    pinger: LinkPinger
    archive: Archive
    tunnels: TunnelDriver
    packet_filter: PacketFilter
    """Of an edge: what comes in from outside."""
    egress_filter: PacketFilter
    """Of a node: what its instances send to the internet."""
    role_filter: PacketFilter
    """Of an edge: who asks for a role that nobody has."""
    balancer: Balancer
    byte_counts: Callable[[], Mapping[str, ByteCounts]]
    """What the kernel has counted on the machine's network devices, by name; or OSError."""
    frozen_here: Callable[[], bool]
    """Whether somebody on this machine has frozen it, with or without controllers."""
    certificate: CertificateKeeper | None = None
    """None: this machine has no identity, and speaks plainly."""
    roots: Callable[[], str] = str
    """Whom to believe as a controller, as PEM; empty: they answer plainly. Or UsageError."""
    follow_controllers: Callable[[Platform], None] = lambda _platform: None
    """Ask the controllers of this platform from now on."""
    follow_role: RoleFollower = nothing
    """Have started what a controller runs, on a machine that has become one."""
