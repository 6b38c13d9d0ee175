"""What a controller counts; the API turns it into metrics."""

from collections import Counter
from dataclasses import dataclass, field

from pltfrms.model.running.plan import Reason


@dataclass(slots=True)
class Counters:
    """Counts since the start of this controller."""

    steps: Counter[Reason] = field(default_factory=Counter)
    """Committed steps by reason."""
    rollouts: Counter[Reason] = field(default_factory=Counter)
    """Committed steps of rollouts by reason."""
    commits: int = 0
    plans: int = 0
    """Plans made, because there was something new to plan."""
    audits: int = 0
    missed: int = 0
    """Plans made to see whether a change was missed, and how often one was."""
    broken_plans: int = 0
    """Plans of which nothing was done, because they broke a rule."""
    conflicts: int = 0
    """Commits refused because somebody else committed first."""
    heartbeats: int = 0
    store_calls: int = 0
    store_errors: int = 0
    """Calls that the store did not answer."""
    store_seconds: float = 0.0
    """Time that all calls took."""
