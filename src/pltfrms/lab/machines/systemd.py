"""A lab machine that boots a Debian's systemd, as a real one does.

Process 1 becomes systemd once the machine is wired. A second process stays beside it, answers
the lab, and does to units what faults ask, by the words of `systemctl`.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from pltfrms.errors import UnavailableError
from pltfrms.lab.groups import remove_group
from pltfrms.lab.machines.init import FAST_ORPHANS, send_signal
from pltfrms.lab.network.links import run_batch, run_now, set_up
from pltfrms.lab.parts import MachineParts, UnitGrip, UnitState
from pltfrms.lab.processes.channel import Channel, GoneError, Message
from pltfrms.lab.processes.namespaces import (
    NEW_CGROUP,
    NEW_IPC,
    NEW_MOUNT,
    NEW_NET,
    NEW_UTS,
    keep_mounts_private,
    set_process_name,
    unshare,
)
from pltfrms.lab.processes.patience import Patience
from pltfrms.lab.processes.processes import close_descriptors, fork, run_before_others

_BOOT = Path(__file__).with_name("boot.sh")
_PRIVATE_BUS = Path("/run/systemd/private")
"""There as soon as systemd answers `systemctl`."""
_BOOT_SECONDS = 8.0
"""Until then, on a quiet machine."""
_POLL_SECONDS = 0.02
_STATES: Mapping[str, UnitState] = {
    "active": UnitState.RUNNING,
    "reloading": UnitState.RUNNING,
    "inactive": UnitState.WAITING,
}
"""By what systemd says; all else is on its way."""
_OF_MAIN = ("kill", "--kill-whom=main")
_WORK_OF_PATH = {"bird": "pltfrms-bird.path"}
"""What starts a unit and ends in vain while it is masked."""


def run_systemd(
    parts: MachineParts, disk: Path, groups: int, group: str, channel: Channel
) -> None:
    """Become process 1 of a machine; returns only if the lab is gone before it has booted.

    Must be called in the first process of a new pid namespace. `disk` is kept across boots;
    `groups` is a descriptor of the host's tree of cgroup v2.
    """
    os.setsid()
    close_descriptors(keep=(channel.fileno(), groups))
    set_process_name(parts.name)
    _enter_group(Path("/proc/self/fd", str(groups), group))
    os.close(groups)
    unshare(NEW_MOUNT | NEW_UTS | NEW_IPC | NEW_NET | NEW_CGROUP)
    keep_mounts_private()
    wired, tell = os.pipe()
    fork(lambda: _Beside(parts, channel, tell).run())
    channel.close()
    os.close(tell)
    if os.read(wired, 1):
        words = (str(_BOOT), parts.tree, parts.name, str(disk))
        os.execve(words[0], words, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})  # noqa: S606


def _enter_group(group: Path) -> None:
    remove_group(group)  # of the boot before
    group.mkdir(parents=True, exist_ok=True)
    (group / "cgroup.procs").write_text("0")


class _Beside:
    """The process beside systemd; its root is the machine's once that has booted."""

    def __init__(self, parts: MachineParts, channel: Channel, tell: int) -> None:
        self._parts = parts
        self._channel = channel
        self._tell = tell
        self._grips = {unit.name: UnitGrip.FREE for unit in parts.units}
        self._booted = False

    def run(self) -> None:
        set_process_name("lab-beside")
        run_before_others()
        with contextlib.suppress(EOFError, GoneError):
            while True:
                self._channel.serve(self._handle)

    def _handle(self, question: Message, _descriptors: list[int]) -> Message:
        match question["do"]:
            case "boot":
                self._boot()
            case "grip":
                self._grip(question["unit"], UnitGrip(question["grip"]))
            case "signal":
                for pid in question["pids"]:
                    send_signal(pid, question["signal"])
            case "stop everything":
                # -1: all of this pid namespace and of those nested in it, but systemd and us.
                send_signal(-1, signal.SIGSTOP)
            case "wake everything":
                self._wake()
            case _:
                pass  # "status": the answer is all
        return {"units": self._states()}

    def _wake(self) -> None:
        send_signal(-1, signal.SIGCONT)
        for name, grip in self._grips.items():
            if grip is UnitGrip.HUNG:
                _do(grip_words(name, UnitGrip.FREE, grip))

    def _boot(self) -> None:
        for path, value in (FAST_ORPHANS, *self._parts.sysctls):
            Path("/proc/sys", path).write_text(value)
        set_up("lo")
        run_batch(self._parts.network)
        os.write(self._tell, b"\n")
        patience = Patience(_BOOT_SECONDS)
        while not (_first_is_systemd() and _PRIVATE_BUS.exists()):
            if not patience.left():
                raise UnavailableError(f"systemd did not begin {patience.sentence}")
            time.sleep(_POLL_SECONDS)
        self._booted = True

    def _grip(self, name: str, grip: UnitGrip) -> None:
        before, self._grips[name] = self._grips[name], grip
        _do(grip_words(name, before, grip))

    def _states(self) -> dict[str, UnitState]:
        said = _active_states(self._grips) if self._booted else {}
        return {name: state_of(grip, said.get(name, "")) for name, grip in self._grips.items()}


def _first_is_systemd() -> bool:
    # Before the machine's own /proc is there, this is the first process of the lab.
    with contextlib.suppress(OSError):
        return Path("/proc/1/comm").read_text() == "systemd\n"
    return False


def unit_of(name: str) -> str:
    """Return what the package calls a daemon's unit."""
    return f"pltfrms-{name}.service"


def grip_words(name: str, before: UnitGrip, grip: UnitGrip) -> tuple[tuple[str, ...], ...]:
    """Return what to ask of `systemctl`, one after the other, for what a fault does to a unit.

    One that is killed is masked first: systemd, and what else would start it, must not.
    """
    unit = unit_of(name)
    if grip is before:
        return ()
    if grip is UnitGrip.HELD:
        return (("mask", "--runtime", unit), (*_OF_MAIN, "--signal=KILL", unit))
    free: tuple[tuple[str, ...], ...] = ()
    if before is UnitGrip.HELD:
        started = [unit, *filter(None, [_WORK_OF_PATH.get(name)])]
        free = (("unmask", "--runtime", unit), ("reset-failed", *started), ("start", *started))
    if grip is UnitGrip.HUNG:
        return (*free, (*_OF_MAIN, "--signal=STOP", unit))
    return free or ((*_OF_MAIN, "--signal=CONT", unit),)


def state_of(grip: UnitGrip, said: str) -> UnitState:
    """Return how a unit is of which systemd says `said`, as its ActiveState; empty: nothing."""
    if grip is UnitGrip.HELD:
        return UnitState.KILLED
    state = _STATES.get(said or "inactive", UnitState.RESTARTING)
    return UnitState.HUNG if (grip, state) == (UnitGrip.HUNG, UnitState.RUNNING) else state


def _do(commands: Iterable[tuple[str, ...]]) -> None:
    for words in commands:
        done = run_now(("systemctl", "--quiet", *words))
        # A unit without a process cannot be killed: as well.
        if done.returncode and words[0] in {"mask", "unmask", "start"}:
            raise UnavailableError(f"`systemctl {' '.join(words)}`: {done.stderr.strip()}")


def _active_states(names: Iterable[str]) -> dict[str, str]:
    """Return what systemd says of daemons, by name; nothing if it does not answer."""
    by_unit = {unit_of(name): name for name in names}
    done = run_now(("systemctl", "show", "--property=Id,ActiveState", *by_unit))
    found: dict[str, str] = {}
    for block in done.stdout.split("\n\n"):
        said = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if said.get("Id") in by_unit:
            found[by_unit[said["Id"]]] = said.get("ActiveState", "")
    return found
