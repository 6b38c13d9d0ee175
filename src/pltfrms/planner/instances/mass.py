"""Decide when instances start that would all do so at once. Pure.

Guard `jittered_recovery`. Whatever is drawn comes from ids, so that everybody who asks gets the
same answer, and nothing needs to be agreed upon.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Final

from pltfrms.model.network.topology import Platform
from pltfrms.model.services.service import Service

AT_ONCE: Final = 8
"""So many instances may begin on a node together."""
EACH_SECONDS: Final = 0.05
SPREAD_MAX_SECONDS: Final = 5.0
"""Longest time over which the instances of a node are begun."""
_TURN_SPARE_MS: Final = 5000
_SHARES: Final = 1 << 32


def share_of(allocation: str) -> float:
    """Return a number from 0 to below 1 that is as good as drawn for an allocation."""
    return int.from_bytes(hashlib.sha256(allocation.encode()).digest()[:4]) / _SHARES


def start_delays(allocations: Collection[str]) -> Mapping[str, float]:
    """Return the seconds that each of these waits, all of which are to begin on a node now."""
    if len(allocations) <= AT_ONCE:
        return dict.fromkeys(allocations, 0.0)
    spread = min(SPREAD_MAX_SECONDS, EACH_SECONDS * len(allocations))
    return {each: spread * share_of(each) for each in allocations}


def is_its_turn(
    platform: Platform, service: Service, datacenter: str, rank: int, count: int, unix_ms: int
) -> bool:
    """Return whether an unwell instance may be restarted now, while most others are so, too.

    It is number `rank` of the `count` of the service in its datacenter, from 0. At most one of
    the service has its turn, in all datacenters; a turn is as long as a start may take.
    """
    names = service.spec.datacenters or tuple(each.name for each in platform.datacenters)
    spec = service.spec
    turn = unix_ms // (spec.run.stop_grace_ms + spec.probe.grace_ms + _TURN_SPARE_MS)
    if datacenter not in names:  # it stands in there until others serve elsewhere
        return False
    mine = turn % len(names) == names.index(datacenter)
    return mine and turn // len(names) % count == rank
