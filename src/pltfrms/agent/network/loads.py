"""Measure how much traffic an edge's ports and backbone links carry."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.drivers.kernel.counters import ByteCounts
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.state import Load

LOOK_SECONDS: Final = 10.0
LOOKS: Final = 4
"""The average is over the time from the first of so many looks to the last."""
SMALL_BPS: Final = 1_000_000
"""Smaller changes are of no interest to anybody."""
_Sample = tuple[float, ByteCounts]
"""When (monotonic), and what was counted then."""


class Loads:
    """The traffic of one edge's interfaces to others: half a minute's average."""

    def __init__(self, world: World, problems: Problems, poke: Callable[[], None]) -> None:
        """Call `poke` (which must not block) when what is to be reported changes."""
        self._world = world
        self._problems = problems
        self._poke = poke
        self.interfaces: tuple[str, ...] = ()
        """Those that are measured."""
        self._samples: dict[str, deque[_Sample]] = {}
        self.loads: Mapping[str, Load] = {}
        """What to report; an interface is missing until it was seen for half a minute."""

    def want(self, platform: Platform, machine: str) -> None:
        """Measure the ports and links of this platform from now on."""
        ports = (session.interface for _, session in platform.sessions_of(machine))
        links = (link.interface_at(machine) for link in platform.links_of(machine))
        self.interfaces = tuple(dict.fromkeys((*ports, *links)))

    async def run(self) -> None:
        """Measure for ever."""
        while True:
            with self._problems.watch("traffic counters"):
                self._look()
            await self._world.clock.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        try:
            counts = self._world.byte_counts()
        except OSError:
            self._samples = {}
            self._report({})
            raise
        now = self._world.clock.monotonic()
        there = [name for name in self.interfaces if name in counts]
        self._samples = {
            name: _grown(self._samples.get(name), (now, counts[name])) for name in there
        }
        self._report(
            {
                name: rounded(self.loads.get(name), _average(samples))
                for name, samples in self._samples.items()
                if len(samples) == LOOKS
            }
        )

    def _report(self, loads: Mapping[str, Load]) -> None:
        if loads != self.loads:
            self.loads = loads
            self._poke()


def _grown(samples: deque[_Sample] | None, new: _Sample) -> deque[_Sample]:
    """Return the samples with another; without the old ones if the device is another now."""
    if samples:
        _, last = samples[-1]
        if new[1].received >= last.received and new[1].sent >= last.sent:
            samples.append(new)
            return samples
    return deque([new], maxlen=LOOKS)


def _average(samples: deque[_Sample]) -> Load:
    (begin, first), (end, last) = samples[0], samples[-1]
    seconds = max(end - begin, 0.001)
    return Load(
        received_bps=int(8 * (last.received - first.received) / seconds),
        sent_bps=int(8 * (last.sent - first.sent) / seconds),
    )


def rounded(before: Load | None, load: Load) -> Load:
    """Return what to report of a load: two digits, and `before` again if it is near."""
    return Load(
        received_bps=steady_bps(before.received_bps if before else None, load.received_bps),
        sent_bps=steady_bps(before.sent_bps if before else None, load.sent_bps),
    )


def steady_bps(before: int | None, bps: int) -> int:
    """Return bits per second with two digits; `before` within a fifth or 1 Mbit/s of it."""
    if before is not None and abs(bps - before) <= max(before // 5, SMALL_BPS):
        return before
    step: int = 10 ** max(0, len(str(bps)) - 2)
    return round(bps / step) * step
