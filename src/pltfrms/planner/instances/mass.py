"""Decide when instances start that would all do so at once. Pure.

Guard `jittered_recovery`. Whatever is drawn comes from ids, so that everybody who asks gets the
same answer, and nothing needs to be agreed upon.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import Final

from pltfrms.model.network.topology import Platform
from pltfrms.model.services.replicas import replicas_of
from pltfrms.model.services.service import Service

AT_ONCE: Final = 8
"""So many instances may begin on a node together."""
EACH_SECONDS: Final = 0.05
SPREAD_MAX_SECONDS: Final = 5.0
"""Longest time over which the instances of a node are begun."""
_TURN_SPARE_MS: Final = 5000
"""For what takes longer than it should, and for clocks that differ."""
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
    platform: Platform, service: Service, datacenter: str, replica: int, unix_ms: int
) -> bool:
    """Return whether a replica that is unwell may begin its restart now, as all others are so.

    At most one of the service has its turn, in all datacenters, whoever is there and however
    they are. A turn is as long as a drain and a start may take, and they begin early in it.
    """
    spec, scale = service.spec, service.spec.scale
    wanted = {name: count for name, count in replicas_of(platform, spec).items() if count}
    if datacenter not in wanted:  # it stands in there until others serve elsewhere
        return False
    names, count = tuple(wanted), scale.max if scale else wanted[datacenter]
    begin_ms = _TURN_SPARE_MS + 2 * spec.probe.interval_ms
    restart_ms = spec.drain_ms + spec.run.stop_grace_ms + spec.probe.grace_ms
    turn, into_ms = divmod(unix_ms, begin_ms + restart_ms + _TURN_SPARE_MS)
    mine = into_ms < begin_ms and turn % len(names) == names.index(datacenter)
    return mine and turn // len(names) % count == replica - 1
