"""Decide whether an instance lives, where another probe tells whether it can serve. Pure."""

from dataclasses import dataclass, replace

from pltfrms.model.running.machine import ProbeAnswer
from pltfrms.model.services.service import Probe
from pltfrms.planner.instances.grace import NOTHING_HEARD, Grace, in_grace


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """All that is remembered of what an instance answered to its liveness probe."""

    since: float
    """When it was started, or found."""
    asked_at: float | None = None
    """When it last answered, or did not; None: it has not been asked."""
    lived: bool = False
    """It has succeeded since, or was announced when it was found."""
    failures: int = 0
    """In a row; those of its start do not count."""
    start: Grace = NOTHING_HEARD


def asked_alive(life: Liveness, probe: Probe, now: float, said: ProbeAnswer) -> Liveness:
    """Return what is remembered after one probe."""
    life = replace(life, asked_at=now)
    if not said.failure:
        return replace(life, lived=True, failures=0)
    if not life.lived:
        heard = said.failure if said.unwell else ""
        life = replace(life, start=life.start.heard(heard, life.since, probe, now))
        if in_grace(life.start, life.since, probe, now):
            return life
    return replace(life, failures=life.failures + 1)


def life_due_at(life: Liveness, probe: Probe) -> float:
    """Return when it is to be asked next."""
    last = life.since if life.asked_at is None else life.asked_at
    return last + probe.interval_ms / 1000


def is_lifeless(life: Liveness, probe: Probe) -> bool:
    """Return whether it is to be restarted for what it last answered."""
    return life.failures >= probe.fall
