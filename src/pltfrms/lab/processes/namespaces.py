"""The few system calls around namespaces that Python 3.11 does not offer."""

import ctypes
import os
import signal

NEW_MOUNT = 0x0002_0000
NEW_CGROUP = 0x0200_0000
NEW_UTS = 0x0400_0000
NEW_IPC = 0x0800_0000
NEW_PID = 0x2000_0000
NEW_NET = 0x4000_0000

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18
_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_TIMERSLACK = 1, 15, 29

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Give this process new namespaces; NEW_PID takes effect for its next children.

    Raises:
        OSError: not permitted, or not in this kernel.
    """
    _check(_libc.unshare(flags), "unshare")


def enter(descriptor: int, flags: int) -> None:
    """Enter the namespace behind a descriptor of /proc/PID/ns/KIND.

    Raises:
        OSError: not permitted, or the namespace is gone.
    """
    _check(_libc.setns(descriptor, flags), "setns")


def keep_mounts_private() -> None:
    """Stop mounts of this mount namespace from spreading to the one it was copied from."""
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE, None)


def mount_tmpfs(path: str) -> None:
    """Mount an empty tmpfs."""
    _mount("tmpfs", path, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755")


def mount_overlay(path: str, upper: str, work: str) -> None:
    """Put a writable layer over a directory; writes go to `upper`."""
    # index=off: the kernel may still be letting go of the same upper after a power loss.
    options = f"lowerdir={path},upperdir={upper},workdir={work},index=off"
    _mount("overlay", path, "overlay", 0, options)


def mount_kernel_views() -> None:
    """Mount /proc and /sys of this process's own namespaces."""
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _mount("proc", "/proc", "proc", flags, None)
    _mount("sysfs", "/sys", "sysfs", flags, None)


def set_hostname(name: str) -> None:
    """Name the machine of this UTS namespace."""
    text = name.encode()
    _check(_libc.sethostname(text, len(text)), "sethostname")


def set_process_name(name: str) -> None:
    """Set what `ps` shows as the command's name (15 characters)."""
    _check(_libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0), "prctl")


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def set_timer_slack(nanoseconds: int) -> None:
    """Set how late the kernel may wake this process."""
    _check(_libc.prctl(_PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0), "prctl")


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None) -> None:
    result = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        flags,
        options.encode() if options else None,
    )
    _check(result, f"mount {target}")


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
