"""What makes no sense in how the load changes the number of replicas."""

import math
from collections.abc import Iterator
from typing import Final

from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.services.replicas import replicas_of, room_of, sizes_of
from pltfrms.model.services.service import Scale, ServiceSpec
from pltfrms.specfile.findings import Finding, check_range

_MOST: Final = 10_000
_CPU: Final = (0.05, 1.0)
_CONNECTIONS: Final = (10, 1_000_000)
"""Per second."""
_FAMILIES: Final = 2
"""Of addresses, of which an instance has one each if its spec does not name more: a probe asks
all of them."""


def check_scale(spec: ServiceSpec) -> Iterator[Finding]:
    """Yield what is wrong with `scale` by itself."""
    scale = spec.scale
    if scale is None:
        return
    yield from check_range(("scale", "min"), scale.min, 1, _MOST)
    yield from check_range(("scale", "max"), scale.max, 1, _MOST)
    if scale.min > scale.max:
        yield Finding(("scale", "max"), f"is less than min, {scale.min}")
    yield from _check_load(scale)
    if scale.cpu is not None and spec.batch:
        what = "would always ask for more of a batch service, which uses all that it may"
        yield Finding(("scale", "cpu"), what, "scale by connections, or leave batch out")
    yield from _check_questions(spec)
    if spec.total:
        what = "is for each datacenter, and replicas has a total"
        yield Finding(("scale",), what, "write per_datacenter, or a number for each of them")
    for count in (*dict(spec.counts).values(), spec.per_datacenter):
        if count and not scale.min <= count <= scale.max:
            what = f"{count}, with which replicas begins, is outside {scale.min}..{scale.max}"
            yield Finding(("scale",), what, "begin within the bounds")


def _check_load(scale: Scale) -> Iterator[Finding]:
    if scale.cpu is None and scale.connections is None:
        what = "says nothing of the load: neither cpu nor connections"
        yield Finding(("scale",), what, "such as cpu: 0.7, or connections: 150/s")
    if scale.cpu is not None and not _CPU[0] <= scale.cpu <= _CPU[1]:
        yield Finding(("scale", "cpu"), f"is outside {_CPU[0]}..{_CPU[1]}", "such as 0.7")
    if scale.connections is not None:
        path = ("scale", "connections")
        yield from check_range(path, scale.connections, *_CONNECTIONS)


def _check_questions(spec: ServiceSpec) -> Iterator[Finding]:
    """Find questions of ours that are most of the load: each replica more brings its own."""
    most = spec.scale.connections if spec.scale else None
    probes = [probe for probe in (spec.probe, spec.liveness) if probe and probe.tcp_port]
    addresses = max(_FAMILIES, len(spec.addresses))
    asked = sum(addresses * 1000 / max(probe.interval_ms, 1) for probe in probes)
    if most is not None and 2 * asked > most:
        what = f"{most}/s, and probes alone ask {asked:.0f} times a second"
        hint = f"at least {math.ceil(2 * asked)}/s, or probe less often"
        yield Finding(("scale", "connections"), what, hint)


def check_scale_here(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    """Yield where the nodes of a datacenter have no room for the most replicas."""
    if spec.scale is None or spec.total:
        return
    sizes = sizes_of(platform)
    for name in replicas_of(platform, spec):
        room = room_of(platform, spec, sizes[name]) if name in sizes else 0
        if platform.machines_of(Role.NODE, name) and room < spec.scale.max:
            what = f"only {room} of {spec.scale.max} replicas fit on the empty nodes of {name}"
            yield Finding(("scale", "max"), what, f"max: {room}, or more max_per_node")
