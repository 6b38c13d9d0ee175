"""The hosts file of every instance: who it is itself, and which services there are.

<runtime>/instances/ALLOCATION.hosts

It is mounted as /etc/hosts, and a mount stays with the file that it was made of: one that is
put in its place is never seen. So the file is changed where it is, while anybody may be reading
it. A line is added as a comment and becomes one of its own by a single byte, and so one that
is not wanted becomes a comment: no reader sees half of one, whenever it looks and whenever we
are killed.
"""

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Final

from pltfrms.drivers.ports import Directories
from pltfrms.model.running.machine import InstanceSpec

MARK: Final = "# Services, kept by pltfrms; what follows is changed while it is read."
_OWN: Final = ("127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback")
_MACHINE: Final = Path("/etc/hosts")


class HostsFiles:
    """The hosts files of all instances of a machine."""

    def __init__(self, directories: Directories, machine: Path = _MACHINE) -> None:
        """Do not touch the disk yet; `machine` is the hosts file of the machine itself."""
        self._directory = directories.runtime / "instances"
        self._machine = machine
        self._names: tuple[str, ...] = ()

    def know(self, names: Sequence[str]) -> None:
        """Let those that are written from now on have these lines."""
        self._names = tuple(names)

    def write(self, spec: InstanceSpec) -> Path:
        """Write the file of an instance that is about to start.

        A process is one of its machine, and keeps what that says; a container has its own.
        """
        path = self.path(spec.allocation)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        own = [f"{each.ip} {spec.allocation}" for each in spec.unicast_addresses]
        first = _OWN if spec.container is not None else self._of_machine()
        unread = path.with_name(f"{path.name}.new")
        unread.write_text("\n".join((*first, *own, MARK, *self._names)) + "\n")
        unread.chmod(0o644)
        return unread.replace(path)

    def tell(self) -> None:
        """Let those that were written before have the same lines; OSError if one cannot.

        All others have them then.
        """
        wrong: OSError | None = None
        for path in sorted(self._directory.glob("*.hosts")):
            try:
                revise(path, self._names)
            except FileNotFoundError:  # its instance is gone
                continue
            except OSError as error:
                wrong = error
        if wrong is not None:
            raise wrong

    def forget(self, allocation: str) -> None:
        """Remove the file of an instance that is gone."""
        self.path(allocation).unlink(missing_ok=True)

    def path(self, allocation: str) -> Path:
        """Return where the file of an instance is."""
        return self._directory / f"{allocation}.hosts"

    def _of_machine(self) -> tuple[str, ...]:
        try:
            return tuple(self._machine.read_text(errors="replace").splitlines())
        except FileNotFoundError:
            return _OWN


def revise(path: Path, names: Iterable[str]) -> None:
    """Make the lines behind `MARK` be these, each for a reader at once and whole.

    New lines come before old ones go: a name that gets another address always has one. Another
    file may get the path meanwhile, of an instance that starts anew: it has them already.
    """
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        text = os.pread(fd, os.fstat(fd).st_size, 0)
        begin = text.find(MARK.encode())
        if begin >= 0:  # else it is somebody else's by now
            _revise(fd, text, begin, dict.fromkeys(name.encode() for name in names))
    except OSError as error:
        raise OSError(f"{path}: {error.strerror or error}") from error
    finally:
        os.close(fd)


def _revise(fd: int, text: bytes, begin: int, wanted: Collection[bytes]) -> None:
    old: dict[int, bytes] = {}
    offset = 0
    for line in text.splitlines(keepends=True):
        if offset > begin and not line.startswith(b"#"):
            old[offset] = line.rstrip(b"\n")
        offset += len(line)
    known = set(old.values())
    new = [line for line in wanted if line not in known]
    stale = [place for place, line in old.items() if line not in wanted]
    if new or stale:
        _rewrite(fd, text, new, stale)


def _rewrite(fd: int, text: bytes, new: Sequence[bytes], stale: Iterable[int]) -> None:
    begin = b"" if text.endswith(b"\n") else b"\n"  # of one that we were killed at
    hidden = begin + b"".join(b"#" + line[1:] + b"\n" for line in new)
    if os.pwrite(fd, hidden, len(text)) != len(hidden):
        raise OSError("there is no room for all names of services")
    offset = len(text) + len(begin)
    for line in new:
        os.pwrite(fd, line[:1], offset)
        offset += len(line) + 1
    for place in stale:
        os.pwrite(fd, b"#", place)
