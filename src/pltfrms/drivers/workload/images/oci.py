"""What crun is told about a container: the configuration of the OCI runtime specification.

The container has a mount namespace of its own; all other namespaces are the instance's,
which its init has made. Nobody outside needs a process for it.
"""

import errno
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pltfrms.drivers.workload.disks.storage import host_binds
from pltfrms.drivers.workload.images.fetched import Image
from pltfrms.drivers.workload.instance.wishes import Box
from pltfrms.errors import UnavailableError
from pltfrms.model.running.machine import InstanceSpec
from pltfrms.model.services.container import Container
from pltfrms.model.services.secrets import SECRETS_DIRECTORY

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BOX: Final = "box"
"""Directory below <runtime> where each container's init sees its own image, and nobody else."""
_FILES: Final = "/run/pltfrms"
_RESOLVER: Final = Path("/etc/resolv.conf")
_HIDDEN: Final = (
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/firmware",
    "/sys/fs/selinux",
)
_UNCHANGED: Final = (
    "/proc/asound",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)
_REFUSED: Final = (
    "acct",
    "add_key",
    "bpf",
    "clock_adjtime",
    "clock_settime",
    "delete_module",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mount",
    "mount_setattr",
    "move_mount",
    "name_to_handle_at",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pidfd_getfd",
    "pivot_root",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "quotactl",
    "reboot",
    "request_key",
    "setns",
    "settimeofday",
    "swapoff",
    "swapon",
    "syslog",
    "umount2",
    "unshare",
    "userfaultfd",
    "vhangup",
)
"""System calls that no server needs, and that broke out of containers before."""
_NEWUSER: Final = 0x1000_0000
_NO_USER_NAMESPACE: Final = {
    "names": ["clone"],
    "action": "SCMP_ACT_ERRNO",
    "args": [{"index": 0, "value": _NEWUSER, "valueTwo": _NEWUSER, "op": "SCMP_CMP_MASKED_EQ"}],
}
_NO_CLONE3: Final = {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS}
"""Its flags are out of a filter's sight; who is told that there is none takes clone."""
_ARCHITECTURES: Final = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")


def oci_config(
    spec: InstanceSpec, box: Container, image: Image, *, root: str, binds: Mapping[str, str]
) -> dict[str, Any]:
    """Return the configuration of an instance's container.

    `root` has the image, below a layer that is lost with the instance; `binds` are files and
    directories of the machine by where the container sees them.

    Raises:
        UnavailableError: the image does not say what to run, or as whom.
    """
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": _user(box, image),
            "args": _command(box, image),
            "env": [f"{name}={value}" for name, value in _environment(spec, image).items()],
            "cwd": image.directory,
            "capabilities": _capabilities(box.capabilities),
            "rlimits": [
                {"type": f"RLIMIT_{name.upper()}", "soft": limit, "hard": limit}
                for name, limit in box.ulimits
            ],
            "noNewPrivileges": True,
        },
        "root": {"path": root, "readonly": box.read_only},
        "mounts": [*_kernel_mounts(spec.memory_bytes), *map(_bind, binds, binds.values())],
        "linux": {
            "namespaces": [{"type": "mount"}],
            "maskedPaths": list(_HIDDEN),
            "readonlyPaths": list(_UNCHANGED),
            "rootfsPropagation": "private",
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": list(_ARCHITECTURES),
                "syscalls": [
                    {"names": list(_REFUSED), "action": "SCMP_ACT_ERRNO"},
                    _NO_USER_NAMESPACE,
                    _NO_CLONE3,
                ],
            },
        },
    }


def crun(place: Path) -> tuple[str, ...]:
    """Return how crun is called; all that it remembers is in the instance's own memory.

    The groups of limits are ours, so it leaves them alone.
    """
    return ("crun", "--cgroup-manager=disabled", f"--root={place / 'state'}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binds:
    """What of the machine a container sees beside its image."""

    files: Path
    """With the files of its spec."""
    hosts: Path
    """What it finds others by."""
    volumes: Mapping[str, str]
    """Directories by where it sees them; all else it can only read."""
    secrets: bool = False
    """Whether there are some below its files."""


def box_of(
    spec: InstanceSpec, container: Container, image: Image, place: Path, its: Binds
) -> Box:
    """Return what an instance's init makes of an image at `place`.

    Raises:
        UnavailableError: the image does not say what to run, or as whom; or the machine has
            not got a path that it is to see.
    """
    binds = {
        **host_binds(spec.storage),
        _FILES: str(its.files),
        "/etc/hosts": str(its.hosts),
    }
    if _RESOLVER.exists():
        binds[str(_RESOLVER)] = str(_RESOLVER)
    if its.secrets:
        binds[f"{_FILES}/{SECRETS_DIRECTORY}"] = str(its.files / SECRETS_DIRECTORY)
    config = oci_config(spec, container, image, root=str(place / "root"), binds=binds)
    config["mounts"] += [_volume(*each) for each in its.volumes.items()]
    create = ("create", f"--bundle={place}", f"--pid-file={place / 'pid'}")
    return {
        "place": str(place),
        "base": image.base,
        "layers": ":".join(image.layers),
        "bytes": spec.memory_bytes,
        "config": json.dumps(config),
        "create": [*crun(place), *create, spec.allocation],
        "start": [*crun(place), "start", spec.allocation],
        "user": config["process"]["user"]["uid"],
        "group": config["process"]["user"]["gid"],
    }


def _command(box: Container, image: Image) -> list[str]:
    command = box.command or image.entrypoint
    # Arguments of the image are made for the image's own entrypoint.
    args = box.args or (() if box.command else image.arguments)
    if not command + args:
        raise UnavailableError(f"image {image.name} does not say what to run: say command:")
    return [*command, *args]


def _user(box: Container, image: Image) -> dict[str, int]:
    uid, _, gid = (box.user or image.user or "0").partition(":")
    if not uid.isdecimal() or not (gid or "0").isdecimal():
        said = image.user
        raise UnavailableError(
            f"image {image.name} runs as {said!r}, which is no number: say user: UID or UID:GID"
        )
    return {"uid": int(uid), "gid": int(gid or "0")}


def _environment(spec: InstanceSpec, image: Image) -> dict[str, str]:
    return {"PATH": _PATH, "HOME": "/", **dict(image.environment), **dict(spec.environment)}


def _capabilities(names: Sequence[str]) -> dict[str, list[str]]:
    given = [f"CAP_{name}" for name in names]
    sets = ("bounding", "effective", "inheritable", "permitted", "ambient")
    return dict.fromkeys(sets, given)


def _kernel_mounts(memory_bytes: int) -> list[dict[str, Any]]:
    safe = ["nosuid", "noexec", "nodev"]
    memory = f"size={memory_bytes}"
    return [
        _mount("/proc", "proc", safe),
        _mount("/dev", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666"]),
        _mount("/dev/mqueue", "mqueue", safe),
        _mount("/dev/shm", "tmpfs", [*safe, "mode=1777", memory]),  # noqa: S108 - its own
        _mount("/sys", "sysfs", [*safe, "ro"]),
        _mount("/tmp", "tmpfs", ["nosuid", "nodev", "mode=1777", memory]),  # noqa: S108 - its own
        _mount("/run", "tmpfs", ["nosuid", "nodev", "mode=755", memory]),
    ]


def _mount(where: str, kind: str, options: list[str]) -> dict[str, Any]:
    return {"destination": where, "type": kind, "source": kind, "options": options}


def _volume(where: str, source: str) -> dict[str, Any]:
    options = ["bind", "rw", "nosuid", "nodev"]
    return {"destination": where, "type": "bind", "source": source, "options": options}


def _bind(where: str, source: str) -> dict[str, Any]:
    options = ["bind", "ro", "nosuid", "nodev", "noexec"]
    return {"destination": where, "type": "bind", "source": source, "options": options}
