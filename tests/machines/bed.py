"""Machines with systemd as process 1, each in namespaces of its own, over a Debian's files.

Nothing of the host is changed but a control group each, which goes with the machine. All ends
with the process that made it, also when that is killed.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from pltfrms.lab.groups import remove_group, v2_tree

ROOT = Path(__file__).parents[2]
_BOOT = ROOT / "src/pltfrms/lab/machines/boot.sh"
_PREFIX = "pltfrms-bed-"
_LIBC = ctypes.CDLL(None, use_errno=True)
_PDEATHSIG = 1
_BOOT_SECONDS = 60.0
LEFT_IN_KERNEL = (
    "nft list tables",
    "ip rule | grep 'lookup 10'",
    "ip -6 rule | grep 'lookup 10'",
    "ip route show table all proto bird",
    "ip -6 route show table all proto bird",
    "ip route show table all | grep 'proto 18'",
    "ip -6 route show table all | grep 'proto 18'",
    "ip address show dev lo scope global",
)
"""What of ours would be seen in the kernel of a machine."""


def tree(suite: str) -> Path:
    """Return the files of a Debian, which are made if they are not there yet."""
    done = subprocess.run(
        [ROOT / "scripts/make-tree", suite], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def eventually(holds: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait until something holds; AssertionError with `what` if it does not in time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.2)


class Namespace:
    """A process that holds a network namespace: where a client is."""

    def __init__(self) -> None:
        """Start it."""
        self._process = _child(["unshare", "--net", "sleep", "infinity"])
        self.pid = self._process.pid
        host = Path("/proc/self/ns/net").readlink()
        ours = Path(f"/proc/{self.pid}/ns/net")
        eventually(lambda: ours.readlink() != host, "no namespace")

    def enter(self, *command: str) -> list[str]:
        """Return a command of the host as it runs in the namespace."""
        return ["nsenter", "-t", str(self.pid), "--net", "--", *command]

    def run(self, *command: str) -> str:
        """Run a command of the host in the namespace, and return what it prints."""
        return _output(self.enter(*command))

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


class Disk:
    """What a machine writes, in memory until it is ended: a machine boots from it again."""

    def __init__(self) -> None:
        """Make it, with nothing on it."""
        script = "mount --make-rprivate / && mount -t tmpfs tmpfs /mnt -o mode=755"
        self._process = _child(
            ["unshare", "--mount", "sh", "-euc", f"{script} && exec sleep infinity"]
        )
        self.pid = self._process.pid
        comm = Path(f"/proc/{self.pid}/comm")
        eventually(lambda: comm.read_text() == "sleep\n", "no disk")

    def end(self) -> None:
        """Forget it."""
        self._process.kill()
        self._process.wait()


class Machine:
    """A machine that has booted."""

    def __init__(self, name: str, files: Path, disk: Disk | None = None) -> None:
        """Begin to boot; `ready` waits. Without a disk, what it writes ends with it."""
        self.name = name
        self._group = _v2_tree() / f"{_PREFIX}{os.getpid()}-{name}"
        self._group.mkdir()
        space = ("--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup")
        command = ["unshare", *space, "--fork", "--kill-child", _BOOT, files, name]
        if disk is not None:
            command = ["nsenter", "-t", disk.pid, "-m", "--", *command, "/mnt"]
        self._outer = _child([str(word) for word in command], group=self._group)
        self.pid = 0

    def ready(self) -> Self:
        """Wait until systemd has started what it starts."""
        eventually(self._has_systemd, f"{self.name} did not boot", _BOOT_SECONDS)
        states = ("running", "degraded")
        state = ("systemctl", "is-system-running")
        eventually(
            lambda: self.run(*state, check=False).strip() in states,
            f"{self.name} is not up",
            _BOOT_SECONDS,
        )
        return self

    def _has_systemd(self) -> bool:
        if self._outer.poll() is not None:
            raise AssertionError(f"{self.name} did not boot: exit {self._outer.returncode}")
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        with contextlib.suppress(OSError, ValueError):
            self.pid = int(children.read_text())
            return Path(f"/proc/{self.pid}/comm").read_text() == "systemd\n"
        return False

    def run(self, *command: str, text: str | None = None, check: bool = True) -> str:
        """Run a command in the machine, and return what it prints on either stream."""
        words = ["nsenter", "-t", str(self.pid), "-a", "--", "env", "-i", *_ENVIRONMENT]
        return _output([*words, *command], text, check=check)

    def sh(self, script: str, *, check: bool = True) -> str:
        """Run a script in the machine."""
        return self.run("sh", "-euc", script, check=check)

    def put(self, path: str, content: bytes | str) -> None:
        """Write a file."""
        data = content.encode() if isinstance(content, str) else content
        words = ["nsenter", "-t", str(self.pid), "-a", "--", "sh", "-c"]
        script = 'mkdir -p "$(dirname "$1")" && cat >"$1"'
        subprocess.run([*words, script, "sh", path], input=data, check=True)

    def show(self, unit: str, prop: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", prop, unit).strip()

    def active(self, unit: str) -> bool:
        """Return whether a unit runs."""
        return self.show(unit, "ActiveState") == "active"

    def processor_seconds(self) -> float:
        """Return for how long its units have had a processor; what `run` runs is ours."""
        told = dict(map(str.split, (self._group / "cpu.stat").read_text().splitlines()))
        return int(told["usage_usec"]) / 1e6

    def power_off(self) -> None:
        """End it at once."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._outer.kill()
        self._outer.wait()
        with contextlib.suppress(AssertionError):
            eventually(lambda: remove_group(self._group), "its group is busy", 10.0)


_ENVIRONMENT = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")


@contextlib.contextmanager
def machines(**files: Path) -> Iterator[dict[str, Machine]]:
    """Boot machines (name: the files of its Debian), and end them."""
    forget_dead()
    booting: dict[str, Machine] = {}
    try:
        for name, each in files.items():
            booting[name] = Machine(name, each)
        yield {name: machine.ready() for name, machine in booting.items()}
    finally:
        for machine in booting.values():
            machine.power_off()


def cable(one: Machine | Namespace, port: str, other: Machine | Namespace, far: str) -> None:
    """Connect two ports, and give them carrier."""
    ends = ["netns", str(one.pid), "type", "veth", "peer", "name", far, "netns", str(other.pid)]
    _output(["ip", "link", "add", port, "mtu", "1600", *ends, "mtu", "1600"])
    for place, name in ((one, port), (other, far)):
        _output(["nsenter", "-t", str(place.pid), "--net", "ip", "link", "set", name, "up"])


def _child(command: list[str], group: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a process that ends with us."""

    def prepare() -> None:
        _LIBC.prctl(_PDEATHSIG, signal.SIGKILL)
        if group is not None:
            (group / "cgroup.procs").write_text("0")

    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,
        preexec_fn=prepare,  # noqa: PLW1509 - tests have one thread when they boot machines
    )


def _output(command: list[str], text: str | None = None, *, check: bool = True) -> str:
    done = subprocess.run(
        command,
        input=text,
        stdin=None if text is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=100,
    )
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}"
    return done.stdout


def _v2_tree() -> Path:
    found = v2_tree()
    assert found, "cgroup v2 is not mounted"
    return found


def forget_dead() -> None:
    """Remove groups of machines whose makers were killed."""
    for group in _v2_tree().glob(f"{_PREFIX}*"):
        maker = group.name.removeprefix(_PREFIX).partition("-")[0]
        if not Path("/proc", maker).exists():
            remove_group(group)
