"""What makes no sense in how a new version comes to the replicas."""

from collections.abc import Iterator
from typing import Final

from pltfrms.model.network.topology import Platform
from pltfrms.model.services.service import ServiceSpec
from pltfrms.specfile.findings import Finding, check_range, nearest

_STAGES_MAX: Final = 50
_BAKE_MS_MAX: Final = 86_400_000
_PARALLEL_MAX: Final = 1000


def check_rollout(spec: ServiceSpec) -> Iterator[Finding]:
    """Yield what is wrong with `rollout` by itself."""
    rollout = spec.rollout
    if rollout is None:
        return
    if len(rollout.stages) > _STAGES_MAX:
        yield Finding(("rollout", "stages"), f"there are more than {_STAGES_MAX}")
    for index, stage in enumerate(rollout.stages):
        where = ("rollout", "stages", index)
        if not stage.datacenters:
            yield Finding(where, "names no datacenter", "such as {datacenters: [fra]}")
        if stage.replicas < 0:
            yield Finding((*where, "replicas"), "must be at least 1")
        if stage in rollout.stages[:index]:
            yield Finding(where, "is in the list twice", "keep one")
    if not 0 <= rollout.bake_ms <= _BAKE_MS_MAX:
        yield Finding(("rollout", "bake"), "is outside 0s..24h")
    yield from check_range(("rollout", "parallel"), rollout.parallel, 1, _PARALLEL_MAX)


def check_rollout_here(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    """Yield what is wrong with `rollout` on this platform."""
    known = [datacenter.name for datacenter in platform.datacenters]
    for index, stage in enumerate(spec.rollout.stages if spec.rollout else ()):
        for name in stage.datacenters:
            if name not in known:
                what = f"there is no datacenter {name!r}"
                yield Finding(("rollout", "stages", index), what, nearest(name, known), name)
