"""What a router's configuration depends on beside the platform."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pltfrms.model.network.interventions import Interventions
from pltfrms.model.running.plan import Permit


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How things are now, where a configuration is rendered."""

    costs: Mapping[str, int] = field(default_factory=dict)
    """OSPF cost of backbone links by name (`A--B`), the same at both ends; a link that is
    missing costs 100."""
    cold: bool = False
    """BIRD has just been started: adds what it needs only in its first seconds
    (see `cold_routes`)."""
    hold_outside: bool = False
    """Keep the sessions with the outside closed: origin validation is not ready yet."""
    interventions: Interventions = field(default_factory=Interventions)
    now_ms: int = 0
    """Unix time; overrides that ended before it do not count."""
    permits: Mapping[str, tuple[Permit, ...]] | None = None
    """What each node may announce, by its name, where the platform asks for that; None: it is
    not known, and every node may announce any service."""
    archive: str = ""
    """File for the MRT archive of the sessions with the outside; empty: none."""


NORMAL = Conditions()
"""Nothing measured, nothing drained, nothing expired."""
