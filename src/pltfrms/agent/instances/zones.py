"""Let the name servers among the instances of a node answer for the services there are now."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.drivers.clock import wait_event
from pltfrms.errors import UnavailableError
from pltfrms.model.running.machine import Instance, InstanceSpec
from pltfrms.model.running.plan import Target
from pltfrms.model.services.names import ZONES_DIRECTORY, ZoneUse, domain_of, is_within
from pltfrms.model.services.service import Probe, ProbeKind, Service
from pltfrms.render.instances.zone import render_list, render_zones

_LOOK_SECONDS: Final = 5.0
_RELOAD_MS: Final = 5000
_BELOW: Final = f"{ZONES_DIRECTORY}/"
_Files = tuple[tuple[str, str], ...]
NameServer = tuple[Instance, InstanceSpec, ZoneUse]
"""One that runs, and what it is to have."""


class Zones:
    """The zones that name servers on this node have.

    A serial is the generation at which this node first saw the zones as they are. Two nodes may
    differ in it, but older zones never have a higher one than newer ones, on whatever node: a
    secondary may ask any of them.
    """

    def __init__(
        self, world: World, problems: Problems, running: Callable[[], Iterable[NameServer]]
    ) -> None:
        """Know of nobody yet; `running` returns the name servers here that have started."""
        self._world = world
        self._problems = problems
        self._running = running
        self._made: dict[tuple[str, ...], tuple[_Files, _Files]] = {}
        """By name servers: zones without a serial, and as they are told."""
        self._told: Mapping[str, tuple[Instance, _Files]] = {}
        self._wrong: set[str] = set()
        """Allocations of which it is a problem."""
        self._wake = asyncio.Event()

    def of(self, target: Target, service: Service) -> _Files:
        """Return the files of an instance of a service; none if it is no name server.

        Raises:
            UsageError: there can be no zones on this platform.
        """
        use = service.spec.run.zones
        if use is None or not target.generation:
            return ()
        domain = domain_of(target.platform)
        # The domain may have become another since they were written down.
        others = (each for each in use.servers if not is_within(each, domain))
        servers = (f"{service.name}.{domain}", *others)
        plain = _files(target, servers, 0)
        known, told = self._made.get(servers, ((), ()))
        if plain != known:
            told = _files(target, servers, target.generation)
            self._made[servers] = plain, told
            self._wake.set()
        return told

    async def run(self) -> None:
        """Tell who runs whenever there is something new, for ever."""
        while True:
            self._wake.clear()
            await self.tell()
            await wait_event(self._wake, self._world.clock, _LOOK_SECONDS)

    async def tell(self) -> None:
        """Make one pass; what fails becomes a problem, and is tried again.

        Who was not told by us is told in any case: we may have been ended in between.
        """
        told, wrong = dict[str, tuple[Instance, _Files]](), set[str]()
        for instance, spec, use in tuple(self._running()):
            files = tuple(each for each in spec.live if each[0].startswith(_BELOW))
            name, wanted = spec.allocation, (instance, files)
            if self._told.get(name) != wanted:
                with self._problems.watch(_problem(name)) as outcome:
                    await self._follow(instance, replace(spec, live=files), use)
                if outcome.failed:
                    wrong.add(name)
                    continue
            told[name] = wanted
        for name in self._wrong - wrong:
            self._problems.set(_problem(name), "")
        self._told, self._wrong = told, wrong

    async def _follow(self, instance: Instance, spec: InstanceSpec, use: ZoneUse) -> None:
        await self._world.workload.rewrite(spec)
        asked = Probe(kind=ProbeKind.EXEC, command=use.reload, timeout_ms=_RELOAD_MS)
        said = await self._world.prober.probe(instance, asked, ())
        if said.failure:
            raise UnavailableError(said.failure)


def _problem(allocation: str) -> str:
    return f"zones of {allocation}"


def _files(target: Target, servers: tuple[str, ...], serial: int) -> _Files:
    zones = render_zones(target.platform, target.balanced, serial, servers)
    here = ZONES_DIRECTORY
    texts = ((f"{here}/{each.name}.zone", each.text) for each in zones)
    return (*texts, (f"{here}/nsd.conf", render_list(zones, here)))
