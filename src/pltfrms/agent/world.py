"""Everything outside the agent that it talks to, as one bundle of ports."""

from dataclasses import dataclass

from pltfrms.agent.rtt import LinkPinger
from pltfrms.drivers.ports import Bird, Clock, ControlPlane, Disk, Network, Prober, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The ports of an agent: the real drivers on a machine, their twins in tests."""

    clock: Clock
    control_plane: ControlPlane
    network: Network
    workload: Workload
    prober: Prober
    bird: Bird
    disk: Disk
    pinger: LinkPinger
