"""For how long this controller itself has seen stages of rollouts bake, and runs of jobs."""

from collections.abc import Mapping

from pltfrms.drivers.ports import Clock
from pltfrms.model.services.jobs import BEGUN, JobRun
from pltfrms.model.services.rollouts import baked_at_ms
from pltfrms.model.services.service import Service


class Bakes:
    """Measures by the monotonic clock: a wall clock may be wrong, ours or another's."""

    def __init__(self, clock: Clock) -> None:
        """Begin with none."""
        self._clock = clock
        self._begun: dict[tuple[str, int, int], float] = {}

    def seen_ms(self, services: Mapping[str, Service]) -> dict[str, int]:
        """Return how long each stage that bakes now was seen to, by service."""
        now, known = self._clock.monotonic(), self._begun
        baking = {
            name: (name, service.version, service.rolling.since_ms)
            for name, service in services.items()
            if service.rolling and baked_at_ms(service) is not None
        }
        self._begun = {key: known.get(key, now) for key in baking.values()}
        return {name: int((now - self._begun[key]) * 1000) for name, key in baking.items()}


class RunsSeen:
    """Measures likewise for how long runs may have been running."""

    def __init__(self, clock: Clock) -> None:
        """Begin with none."""
        self._clock = clock
        self._begun: dict[tuple[str, str], float] = {}

    def seen_ms(self, runs: Mapping[str, JobRun]) -> dict[str, int]:
        """Return how long each run that may be running was seen to, by its id."""
        now, known = self._clock.monotonic(), self._begun
        begun = [(run.id, run.claim) for run in runs.values() if run.state in BEGUN]
        self._begun = {key: known.get(key, now) for key in begun}
        return {key[0]: int((now - since) * 1000) for key, since in self._begun.items()}
