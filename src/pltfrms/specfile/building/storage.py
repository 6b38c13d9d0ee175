"""Shape of `volumes` and `host_paths` -> words of the model."""

from pltfrms.model.services.hooks import HookMoment, InstanceHook
from pltfrms.model.services.storage import HostPath, Storage, VolumeSpec
from pltfrms.specfile.shapes.service import ServiceShape


def build_storage(shape: ServiceShape) -> Storage | None:
    """Return what instances see of the disks of machines; None if that is nothing."""
    volumes = tuple(
        VolumeSpec(
            name=name,
            path=each.path,
            size_bytes=each.size,
            owner=each.owner,
            lost_after_ms=each.lost_after,
        )
        for name, each in shape.volumes.items()
    )
    host_paths = tuple(
        HostPath(source=each.source, path=each.source if each.path is None else each.path)
        for each in shape.host_paths
    )
    found = Storage(volumes=volumes, host_paths=host_paths)
    return found if volumes or host_paths else None


def build_hooks(shape: ServiceShape) -> tuple[InstanceHook, ...]:
    """Return what is run inside instances before what is planned."""
    said = {moment: getattr(shape.hooks, moment, None) for moment in HookMoment}
    return tuple(
        InstanceHook(moment=moment, command=tuple(each.run), timeout_ms=each.timeout)
        for moment, each in said.items()
        if each is not None
    )
