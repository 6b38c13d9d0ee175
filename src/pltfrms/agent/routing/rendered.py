"""BIRD's configuration, rendered only when something that it is made of has changed."""

from dataclasses import dataclass, replace
from typing import Final

from pltfrms.model.network.topology import Platform
from pltfrms.planner.routing.instants import next_instant_ms
from pltfrms.render.bird import policy_fingerprint, render_bird
from pltfrms.render.conditions import Conditions

_KEPT: Final = 2
"""While a machine waits for its turn, the confirmed policy and the wanted one are rendered."""


@dataclass(frozen=True, slots=True)
class _Text:
    platform: Platform
    conditions: Conditions
    """Of any time."""
    since_ms: int
    until_ms: int
    """When time alone may change the text."""
    text: str

    def is_of(self, platform: Platform, conditions: Conditions, now_ms: int) -> bool:
        same = (self.platform, self.conditions) == (platform, conditions)
        return same and self.since_ms <= now_ms < self.until_ms


class Rendered:
    """What was rendered last for one machine."""

    def __init__(self, machine: str) -> None:
        """Render nothing yet."""
        self._machine = machine
        self._texts: tuple[_Text, ...] = ()
        self._fingerprint: tuple[Platform, str] | None = None

    def text(self, platform: Platform, conditions: Conditions) -> str:
        """Return what `render_bird` returns."""
        now_ms, timeless = conditions.now_ms, replace(conditions, now_ms=0)
        for each in self._texts:
            if each.is_of(platform, timeless, now_ms):
                return each.text
        text = render_bird(platform, self._machine, conditions)
        until_ms = next_instant_ms(platform, conditions.interventions, now_ms)
        new = _Text(platform, timeless, now_ms, until_ms, text)
        self._texts = (new, *self._texts)[:_KEPT]
        return text

    def fingerprint(self, platform: Platform) -> str:
        """Return what `policy_fingerprint` returns."""
        if self._fingerprint is None or self._fingerprint[0] != platform:
            self._fingerprint = platform, policy_fingerprint(platform, self._machine)
        return self._fingerprint[1]
