"""The volumes of a node: delete what was released, and see how full the others are."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final

from pltfrms.agent.problems import Problems
from pltfrms.agent.world import World
from pltfrms.drivers.workload.ports import VolumeUse
from pltfrms.model.running.plan import Target
from pltfrms.model.running.volumes import VolumeState, VolumeStatus
from pltfrms.model.services.service import Service

MEASURE_SECONDS: Final = 300.0
"""So seldom is looked how full volumes are: without quotas, all of their inodes are read."""
_NEW_SECONDS: Final = 15.0
"""And so often while an instance has one that was not seen yet, however late it began."""
_STEP_BYTES: Final = 16 * 2**20
"""What is told is rounded to so much: each change is a write of all that a machine says."""
_HELD: Final = VolumeState.HELD
_Uses = Mapping[str, Mapping[str, VolumeUse]]


class VolumeKeeper:
    """Knows what is on the disk, and deletes what an operator has released; nothing else."""

    def __init__(self, world: World, problems: Problems) -> None:
        """Know nothing yet."""
        self._world = world
        self._problems = problems
        self._uses: _Uses | None = None
        self._recorded: frozenset[str] = frozenset()
        """What is recorded here: it is on the disk, or may come there at any time."""
        self._removed: set[str] = set()
        """What was released, and is gone."""
        self._looked_at = 0.0
        self._said: set[str] = set()

    @property
    def statuses(self) -> tuple[VolumeStatus, ...] | None:
        """What to report; None: it is not known."""
        if self._uses is None:
            return None
        names = (self._uses.keys() | self._recorded) - self._removed
        return tuple(_status(volume, self._uses.get(volume)) for volume in sorted(names))

    async def look(
        self,
        target: Target,
        services: Mapping[tuple[str, int], Service],
        used: AbstractSet[str],
    ) -> None:
        """Do what is due.

        `services` are those of the target's allocations, by version; `used` is what instances
        have.
        """
        if target.generation == 0:
            return  # nobody has told us yet what there is
        await self._remove(
            {each.id for each in target.volumes if each.state is VolumeState.RELEASED}
        )
        self._recorded = frozenset(each.id for each in target.volumes)
        if self._uses is not None:
            wait = _NEW_SECONDS if used - self._uses.keys() else MEASURE_SECONDS
            if self._world.clock.monotonic() < self._looked_at + wait:
                return
        self._looked_at = self._world.clock.monotonic()
        self._uses = await self._world.workload.volumes()
        self._tell(target, services)

    async def _remove(self, released: AbstractSet[str]) -> None:
        """Delete what was released, once."""
        self._removed &= released
        for volume in sorted(released - self._removed):
            with self._problems.watch(f"volume {volume}") as outcome:
                await self._world.workload.remove_volume(volume)
            if not outcome.failed:
                self._removed.add(volume)
                if self._uses is not None:  # else it is not known what else there is
                    self._uses = {n: each for n, each in self._uses.items() if n != volume}

    def _tell(self, target: Target, services: Mapping[tuple[str, int], Service]) -> None:
        """Say which are too full, or gone, or on the disk and not recorded."""
        known = {each.id for each in target.volumes}
        said = dict.fromkeys(
            (self._uses or {}).keys() - known,
            "it is on the disk and not recorded: nothing uses it, or deletes it",
        )
        held = {each.id for each in target.volumes if each.made and each.state is _HELD}
        said |= dict.fromkeys(
            held - (self._uses or {}).keys(), "it is not on this disk any more"
        )
        for each in target.allocations:
            service = services.get((each.service, each.version))
            storage = service.spec.storage if service else None
            uses = (self._uses or {}).get(each.volume, {})
            over = [
                f"{one.name} has {uses[one.name].bytes} bytes, and may have {one.size_bytes}"
                for one in (storage.volumes if storage else ())
                if one.name in uses and uses[one.name].bytes > one.size_bytes
            ]
            if over:
                said[each.volume] = "; ".join(over)
        for volume in self._said | said.keys():
            self._problems.set(f"volume {volume}", said.get(volume, ""))
        self._said = set(said)


def _status(volume: str, uses: Mapping[str, VolumeUse] | None) -> VolumeStatus:
    if uses is None:
        return VolumeStatus(volume=volume)
    used = sum(each.bytes for each in uses.values())
    limited = bool(uses) and all(each.limited for each in uses.values())
    return VolumeStatus(
        volume=volume, bytes=round(used / _STEP_BYTES) * _STEP_BYTES, limited=limited
    )
