"""Control groups of lab machines whose first process is systemd, in the host's cgroup v2.

    pltfrms-labs/LAB/MACHINE/    and below it what the machine's systemd makes

A group does not go with its processes, so who ends a lab removes its groups.
"""

import os
from contextlib import suppress
from pathlib import Path

_TREES = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
_OURS = "pltfrms-labs"


def v2_tree() -> Path | None:
    """Return where this machine has the tree of cgroup v2, if it has one."""
    return next((each for each in _TREES if (each / "cgroup.controllers").exists()), None)


def open_tree() -> int:
    """Return a descriptor of that tree, for who will not see it any more; -1 without one.

    To mount it anew would change how the host has mounted it.
    """
    tree = v2_tree()
    return os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) if tree else -1


def group_of(lab: str, machine: str) -> str:
    """Return the group of a machine, below the tree's root."""
    return f"{_OURS}/{lab}/{machine}"


def remove_groups(lab: str) -> bool:
    """Remove the groups of a lab's machines; return False while a process is in one."""
    tree = v2_tree()
    if tree is None or not (tree / _OURS / lab).exists():
        return True
    if not remove_group(tree / _OURS / lab):
        return False
    with suppress(OSError):  # another lab has groups
        (tree / _OURS).rmdir()
    return True


def remove_group(group: Path) -> bool:
    """Remove a group and those below it; return False while a process is in one."""
    for path, _, _ in os.walk(group, topdown=False):
        try:
            Path(path).rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True
