"""When time alone changes what routers should run. Pure."""

from pltfrms.model.network.interventions import Interventions
from pltfrms.model.network.topology import Platform

_HOUR_MS = 3_600_000


def next_instant_ms(platform: Platform, interventions: Interventions, now_ms: int) -> int:
    """Return the next Unix time at which a configuration may differ from now's.

    An override or a blackhole ends, a drain begins, goes into its second phase or ends, or
    a full hour begins, which is when the archive of the outside's messages gets a new file.
    """
    instants = (
        (now_ms // _HOUR_MS + 1) * _HOUR_MS,
        *(override.until_ms for override in platform.traffic),
        *(instant for drain in interventions.drains for instant in drain.instants_ms),
        *(blackhole.until_ms for blackhole in interventions.blackholes),
    )
    return min(instant for instant in instants if instant > now_ms)
