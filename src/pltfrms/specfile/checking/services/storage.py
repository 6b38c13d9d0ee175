"""What makes no sense in what instances see of disks, or would show them too much."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from pltfrms.model.network.topology import Platform
from pltfrms.model.services.service import ServiceSpec
from pltfrms.model.services.storage import (
    PEERS_FILE,
    Storage,
    VolumeSpec,
    is_plain,
    is_within,
    ours_in,
)
from pltfrms.specfile.checking.platforms.host_paths import check_path
from pltfrms.specfile.checking.services.container import check_user
from pltfrms.specfile.findings import Finding, Where, check_name

_IN_CONTAINERS: Final = (
    "/proc",
    "/sys",
    "/dev",
    "/run/pltfrms",
    "/etc/hosts",
    "/etc/resolv.conf",
)
"""What every container is given there."""
_FREE: Final = ("/var/lib", "/var/spool", "/var/opt", "/srv", "/opt", "/mnt")
"""Where a machine has nothing that a process needs, but what it was installed with."""
_SIGNALS: Final = ("", "HUP", "USR1", "USR2")
_MOST: Final = 64
_LEAST_BYTES: Final = 2**20
_MOST_BYTES: Final = 2**50
_MOST_MS: Final = 30 * 24 * 3_600_000


def check_storage(spec: ServiceSpec) -> Iterator[Finding]:
    """Find what is wrong with what a service sees of disks, wherever it runs."""
    storage = spec.storage or Storage()
    if len(storage.host_paths) > _MOST:
        what = f"has {len(storage.host_paths)}, at most {_MOST} fit"
        yield Finding(("host_paths",), what, "name a directory that has them")
    if storage.host_paths and spec.run.container is None:
        what = "a process sees the files of its machine anyway"
        yield Finding(("host_paths",), what, "leave it out; it is for containers")
    for index, each in enumerate(storage.host_paths):
        yield from check_path(("host_paths", index, "source"), each.source)
        if each.path != each.source:
            yield from check_path(("host_paths", index, "path"), each.path)
    yield from _check_volumes(spec, storage.volumes)
    yield from _check_peers(spec, keeps=bool(storage.volumes))
    yield from _check_places(storage)


def _check_peers(spec: ServiceSpec, *, keeps: bool) -> Iterator[Finding]:
    signal = spec.run.peers_signal
    if signal not in _SIGNALS:
        what = f"{signal[:70]!r} is no signal for that"
        yield Finding(("run", "peers_signal"), what, "HUP, USR1 or USR2")
    if signal and not keeps:
        what = "only replicas with volumes know of each other"
        yield Finding(("run", "peers_signal"), what, "leave it out, or say volumes")
    for name, _ in (*spec.run.files, *spec.run.binary):
        if keeps and name.partition("/")[0] == PEERS_FILE:
            what = f"{PEERS_FILE} is what pltfrms writes there, for who keeps volumes"
            yield Finding(("run", "files", name), what, "give it another name")


def _check_volumes(spec: ServiceSpec, volumes: tuple[VolumeSpec, ...]) -> Iterator[Finding]:
    if not volumes:
        return
    if len(volumes) > _MOST:
        yield Finding(("volumes",), f"has {len(volumes)}, at most {_MOST} fit")
    for each in volumes:
        where: Where = ("volumes", each.name)
        yield from check_name(where, each.name)
        yield from check_path((*where, "path"), each.path)
        yield from check_user((*where, "owner"), each.owner)
        if not _LEAST_BYTES <= each.size_bytes <= _MOST_BYTES:
            yield Finding((*where, "size"), "is outside 1MiB..1PiB", "such as 10GiB")
        if each.lost_after_ms is not None and each.lost_after_ms > _MOST_MS:
            yield Finding((*where, "lost_after"), "is more than 30 days", "such as 30m")
        if spec.run.container is None and is_plain(each.path) and not _may_hide(each.path):
            what = f"{each.path} would hide from a process what its machine has there"
            yield Finding((*where, "path"), what, f"below {', '.join(_FREE)}")
    yield from _check_owned(spec)


def _check_owned(spec: ServiceSpec) -> Iterator[Finding]:
    """Find what cannot be done with replicas that stay where their volumes are."""
    if spec.total:
        what = "volumes stay in their datacenter, and a total moves between them"
        yield Finding(("replicas", "total"), what, "say how many each datacenter has")
    if spec.scale is not None:
        what = "replicas with volumes do not come and go with the load"
        yield Finding(("scale",), what, "leave it out")
    if spec.rollout is not None and spec.rollout.parallel > 1:
        what = "with volumes the old replica stops first, so one is replaced at a time"
        yield Finding(("rollout", "parallel"), what, "leave it out")


def _may_hide(path: str) -> bool:
    return any(path.startswith(f"{each}/") for each in _FREE) and not ours_in(path)


def check_storage_here(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    """Find paths of machines that a platform does not let services read."""
    allowed = platform.allowed_host_paths
    for index, each in enumerate(spec.storage.host_paths if spec.storage else ()):
        if is_plain(each.source) and not is_within(each.source, allowed):
            known = ", ".join(allowed) or "none"
            what = f"the platform does not let services read {each.source}"
            hint = f"allowed_host_paths in platform.yaml: {known}"
            yield Finding(("host_paths", index, "source"), what, hint)


def check_member_names(spec: ServiceSpec, platform: Platform) -> Iterator[Finding]:
    """Find roles with the name that a replica has for life."""
    if spec.storage is None or not spec.storage.volumes:
        return
    sites = {each.name for each in platform.datacenters}
    for role in spec.roles:
        site, _, number = role.name.rpartition("-")
        if site in sites and number.isdecimal():
            what = f"{role.name} is what replica {number} of {site} is called"
            yield Finding(("roles", role.name), what, "take another name")


def _check_places(storage: Storage) -> Iterator[Finding]:
    """Find where instances would see one thing instead of another."""
    places: list[tuple[Where, str]] = [
        *((("volumes", each.name, "path"), each.path) for each in storage.volumes),
        *(
            (("host_paths", index, "path"), each.path)
            for index, each in enumerate(storage.host_paths)
        ),
    ]
    for index, (where, path) in enumerate(places):
        if not is_plain(path):
            continue
        hidden = next((each for each in _IN_CONTAINERS if _overlap(path, each)), "")
        if hidden:
            what = f"{path} would hide {hidden}, which every instance has"
            yield Finding(where, what, "such as /srv/data")
        other = next((each for _, each in places[:index] if _overlap(path, each)), "")
        if other:
            what = f"{path} and {other} would hide each other"
            yield Finding(where, what, "give them places beside each other")


def _overlap(one: str, other: str) -> bool:
    a, b = PurePosixPath(one), PurePosixPath(other)
    return a.is_relative_to(b) or b.is_relative_to(a)
