"""For how long a run may be alive, whatever becomes of the machines that know of it.

A node begins a run only by a word that it made itself, at most `CLAIM_MS` before; it ends the
run after its timeout. So whoever has seen for `lease_ms` that it was allowed to begin knows
that it is over. Each controller measures that itself: wall clocks may be wrong.
"""

from typing import Final

from pltfrms.model.services.jobs import JobRun

CLAIM_MS: Final = 60_000
"""So long after a node has asked to begin a run it may do so; later it asks anew."""
START_MS: Final = 15_000
"""So long the start of a run may take, then; it is in the margin."""
INIT_MS: Final = 5_000
"""So long after its time and its grace the init of a run must have ended it."""
_MARGIN_MS: Final = 30_000
_DRIFT: Final = 100
"""One part in so many may a clock be slower than another one."""


def lease_ms(run: JobRun) -> int:
    """Return for how long a run may be alive after it was allowed to begin."""
    alive = CLAIM_MS + run.spec.timeout_ms + run.spec.run.stop_grace_ms
    return alive + alive // _DRIFT + _MARGIN_MS
