"""What instances have to do: now, for those that are scaled by it, and at most, for all."""

from collections.abc import Callable, Collection
from typing import Final

from pltfrms.agent.instances.runner import Runner
from pltfrms.agent.instances.usage import (
    LOOKS,
    Peaks,
    Usage,
    steady_number,
    steady_peak,
    steady_peak_percent,
    steady_percent,
)
from pltfrms.agent.world import World
from pltfrms.model.running.state import Peak
from pltfrms.model.services.service import Scale

_NOTHING: Final = (None, None, None)
_Steady = Callable[[int | None, float], int]


class _Measured:
    """One thing that instances do."""

    def __init__(self, steady: _Steady, steady_most: _Steady) -> None:
        self.now, self.most = Usage(steady), Peaks(steady_most)


class Measuring:
    """The cpu that instances use, and the connections that they accept."""

    def __init__(self, world: World) -> None:
        """Know nothing yet."""
        self._world = world
        self._cpu = _Measured(steady_percent, steady_peak_percent)
        self._connections = _Measured(steady_number, steady_peak)
        self._ready_looks: dict[str, int] = {}
        """At how many looks until now instances were ready, by allocation."""

    def look(self, runners: Collection[Runner]) -> None:
        """Look at what each has done until now; at nobody whom others start."""
        cpu, connections = dict[str, tuple[float, float]](), dict[str, tuple[float, float]]()
        workload = self._world.workload
        for runner in runners:
            run = runner.service.spec.run if runner.service else None
            if run is None or runner.instance is None or run.adopted is not None:
                continue
            seconds = workload.cpu_seconds(runner.instance)
            if seconds is not None:  # told in percent of the cores that are promised
                cpu[runner.name] = (seconds, run.cpu / 100)
            accepted = workload.accepted(runner.instance)
            if accepted is not None:
                connections[runner.name] = (accepted, 1)
        self._ready_looks = {
            each.name: self._ready_looks.get(each.name, 0) + 1 if each.ready else 0
            for each in runners
        }
        for one, used in ((self._cpu, cpu), (self._connections, connections)):
            self._see(one, used)

    def _see(self, one: _Measured, used: dict[str, tuple[float, float]]) -> None:
        """Take what was used; what a start takes is nothing that it has to do again."""
        now, looks = self._world.clock.monotonic(), self._ready_looks
        one.now.see(now, used)
        rates = {name: r for name, r in one.now.rates.items() if looks[name] >= LOOKS}
        one.most.see(now, rates, looks.keys())

    def of(self, name: str, scale: Scale | None) -> tuple[int | None, int | None, Peak | None]:
        """Return what is told of an allocation: its cpu, its connections, and its peak."""
        cpu, connections = self._cpu, self._connections
        hours = max(cpu.most.hours(name), connections.most.hours(name))
        if scale is None and not hours:
            return _NOTHING
        peak = Peak(
            cpu_percent=cpu.most.told.get(name),
            connections=connections.most.told.get(name),
            hours=hours,
        )
        by_cpu = scale is not None and scale.cpu is not None
        by_connections = scale is not None and scale.connections is not None
        return (
            cpu.now.told.get(name) if by_cpu else None,
            connections.now.told.get(name) if by_connections else None,
            peak if hours else None,
        )
