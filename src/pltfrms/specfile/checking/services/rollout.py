"""What makes no sense in how a new version comes to the replicas."""

from collections.abc import Iterator
from typing import Final

from pltfrms.model.network.topology import Platform
from pltfrms.model.services.service import Compare, Probe, RolloutSpec, ServiceSpec
from pltfrms.specfile.checking.services.probe import HTTP_PATH
from pltfrms.specfile.findings import Finding, check_range, nearest

_STAGES_MAX: Final = 50
_BAKE_MS_MAX: Final = 86_400_000
_PARALLEL_MAX: Final = 1000
_PORT_MAX: Final = 65_535
_SAMPLES_MAX: Final = 500
"""Fewer than what counts in full of one instance's answers."""
_TIMES_MAX: Final = 100


def check_rollout(spec: ServiceSpec) -> Iterator[Finding]:
    """Yield what is wrong with `rollout` by itself."""
    rollout = spec.rollout
    if rollout is None:
        return
    yield from _check_stages(rollout)
    if not 0 <= rollout.bake_ms <= _BAKE_MS_MAX:
        yield Finding(("rollout", "bake"), "is outside 0s..24h")
    yield from check_range(("rollout", "parallel"), rollout.parallel, 1, _PARALLEL_MAX)
    if rollout.compare is not None:
        yield from _check_compare(rollout.compare, spec.probe)


def _check_stages(rollout: RolloutSpec) -> Iterator[Finding]:
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


def _check_compare(compare: Compare, probe: Probe) -> Iterator[Finding]:
    here = ("rollout", "compare")
    if not HTTP_PATH.match(compare.path):
        what = f"{compare.path!r} is not a path"
        yield Finding((*here, "http"), what, "starts with / and has no spaces")
    if not compare.port and not probe.tcp_port:
        yield Finding((*here, "port"), "is missing", "the probe has none: say which")
    for name, value_ms, low_ms, high_ms in (
        ("interval", compare.interval_ms, 10, 60_000),
        ("timeout", compare.timeout_ms, 10, 60_000),
        ("margin", compare.margin_ms, 0, 60_000),
    ):
        if not low_ms <= value_ms <= high_ms:
            what = f"{value_ms}ms is outside {low_ms}ms..{high_ms}ms"
            yield Finding((*here, name), what)
    yield from check_range((*here, "port"), compare.port, 0, _PORT_MAX)
    yield from check_range((*here, "samples"), compare.samples, 10, _SAMPLES_MAX)
    yield from check_range((*here, "errors"), compare.errors_percent, 0, 100)
    if not 1 <= compare.times <= _TIMES_MAX:
        yield Finding((*here, "times"), f"{compare.times:g} is outside 1..{_TIMES_MAX}")


def check_rollout_here(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    """Yield what is wrong with `rollout` on this platform."""
    known = [datacenter.name for datacenter in platform.datacenters]
    for index, stage in enumerate(spec.rollout.stages if spec.rollout else ()):
        for name in stage.datacenters:
            if name not in known:
                what = f"there is no datacenter {name!r}"
                yield Finding(("rollout", "stages", index), what, nearest(name, known), name)
