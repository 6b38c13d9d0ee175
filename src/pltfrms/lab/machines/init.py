"""Process 1 of a lab machine: its mounts, its units, its orphans.

Forked from the lab's root process, so that Python daemons start as forks of an interpreter
that has loaded everything already. One thread, no event loop.
"""

import contextlib
import os
import select
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

from pltfrms.codec import read
from pltfrms.drivers.private import hide_files, make_directory
from pltfrms.errors import UnavailableError
from pltfrms.lab.machines.supervisor import Supervisor
from pltfrms.lab.network.links import run_batch, run_now, set_up
from pltfrms.lab.parts import MachineParts, Refit, UnitGrip
from pltfrms.lab.processes.channel import Channel, Message
from pltfrms.lab.processes.namespaces import (
    NEW_IPC,
    NEW_MOUNT,
    NEW_NET,
    NEW_UTS,
    keep_mounts_private,
    mount_kernel_views,
    mount_overlay,
    mount_tmpfs,
    set_hostname,
    set_process_name,
    unshare,
)
from pltfrms.lab.processes.processes import (
    LOG_DIRECTORY,
    bound_log,
    close_descriptors,
    reap,
    run_before_others,
    start_unit,
    watch_children,
)

DISK_DIRECTORIES = ("/etc", "/var", "/tmp")  # noqa: S108 - a layer over it, seen by one machine
"""What of a machine survives its power loss: a layer over the host's directory of that name.
An empty /tmp would hide a clone of this repository that lives there from its own daemons."""
_CONFIG_DIRECTORY = "/etc/pltfrms"
"""Has passwords and keys in it, so it is for root alone."""
_OWN_DIRECTORIES = (_CONFIG_DIRECTORY, "/var/lib/pltfrms", LOG_DIRECTORY)
"""Start empty on a new disk, whatever the host has there."""
FAST_ORPHANS = ("net/ipv4/tcp_orphan_retries", "4")
"""Closed connections with a silent far end go after 6 s instead of minutes: until then they
keep the network namespace of a dead machine, and with it a dead lab's, in the kernel."""
_LOG_CHECK_SECONDS = 10.0


def run_machine(parts: MachineParts, disk: Path, channel: Channel) -> None:
    """Be process 1 of a machine; returns when the other end of `channel` is gone.

    Must be called in the first process of a new pid namespace. `disk` is kept across boots.
    """
    os.setsid()
    close_descriptors(keep=(channel.fileno(),))
    set_process_name(parts.name)
    run_before_others()
    unshare(NEW_MOUNT | NEW_UTS | NEW_IPC | NEW_NET)
    set_hostname(parts.name)
    _mount(disk)
    _Init(parts, channel).run()


def _mount(disk: Path) -> None:
    keep_mounts_private()
    for directory in DISK_DIRECTORIES:
        upper, work = disk / f"{directory[1:]}.upper", disk / f"{directory[1:]}.work"
        if not upper.exists():
            _format(directory, upper)
            work.mkdir()
        mount_overlay(directory, str(upper), str(work))
    mount_tmpfs("/run")
    mount_kernel_views()
    for directory in ("/run/pltfrms", *_OWN_DIRECTORIES):
        Path(directory).mkdir(parents=True, exist_ok=True)
    make_directory(Path(_CONFIG_DIRECTORY))


def _format(directory: str, upper: Path) -> None:
    upper.mkdir(parents=True)
    shutil.copymode(directory, upper)
    for own in _OWN_DIRECTORIES:
        if own.startswith(directory):
            path = upper / Path(own).relative_to(directory)
            path.mkdir(parents=True)
            os.setxattr(path, "trusted.overlay.opaque", b"y")


class _Init:
    def __init__(self, parts: MachineParts, channel: Channel) -> None:
        self._parts = parts
        self._channel = channel
        self._wakeup = watch_children()
        self._supervisor = Supervisor(
            (), start=start_unit, kill=send_signal, exists=os.path.exists
        )
        self._laid: tuple[str, ...] = ()
        """Lines of the network that are done."""

    def run(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        logs_checked_at = time.monotonic()
        with contextlib.suppress(EOFError):
            while True:
                now = time.monotonic()
                self._supervisor.tick(now)
                if now - logs_checked_at > _LOG_CHECK_SECONDS:
                    logs_checked_at = now
                    for unit in self._parts.units:
                        bound_log(unit)
                self._wait()

    def _wait(self) -> None:
        due = self._supervisor.due_in(time.monotonic())
        timeout = _LOG_CHECK_SECONDS if due is None else min(due, _LOG_CHECK_SECONDS)
        readable, _, _ = select.select((self._channel.fileno(), self._wakeup), (), (), timeout)
        if self._wakeup in readable:
            for pid in reap(self._wakeup):
                self._supervisor.reaped(pid, time.monotonic())
        if self._channel.fileno() in readable:
            self._channel.serve(self._handle)

    def _handle(self, question: Message, _descriptors: list[int]) -> Message:
        match question["do"]:
            case "boot":
                self._boot()
            case "refit":
                self._refit(read(Refit, question["refit"]))
            case "grip":
                self._supervisor.grip(question["unit"], UnitGrip(question["grip"]))
            case "signal":
                for pid in question["pids"]:
                    send_signal(pid, question["signal"])
            case "stop everything":
                # -1: all of this pid namespace and of those nested in it, but not us.
                send_signal(-1, signal.SIGSTOP)
            case "wake everything":
                send_signal(-1, signal.SIGCONT)
                self._supervisor.grip_again()
            case _:
                pass  # "status": the answer is all
        return {"units": self._supervisor.states()}

    def _boot(self) -> None:
        _write_files(self._parts.files)
        for path, value in (FAST_ORPHANS, *self._parts.sysctls):
            Path("/proc/sys", path).write_text(value)
        set_up("lo")
        run_batch(self._parts.network)
        self._laid = self._parts.network
        for command in self._parts.prepare:
            _prepare(command)
        self._supervisor = Supervisor(
            self._parts.units, start=start_unit, kill=send_signal, exists=os.path.exists
        )
        self._supervisor.tick(time.monotonic())

    def _refit(self, refit: Refit) -> None:
        _write_files(refit.files)
        for path, value in refit.sysctls:
            Path("/proc/sys", path).write_text(value)
        new = set(refit.ports)
        self._laid = tuple(line for line in self._laid if new.isdisjoint(line.split()))
        for line in refit.network:
            if line not in self._laid:
                run_batch((line,))
                self._laid += (line,)
        self._parts = replace(self._parts, units=refit.units)
        self._supervisor.refit(refit.units)
        self._supervisor.tick(time.monotonic())
        for command in refit.commands:
            _prepare(command)


def _write_files(files: tuple[tuple[str, str], ...]) -> None:
    for path, text in files:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
    hide_files(Path(_CONFIG_DIRECTORY))


def _prepare(command: tuple[str, ...]) -> None:
    done = run_now(command)
    if done.returncode:
        raise UnavailableError(f"{' '.join(command)} failed: {done.stderr.strip()[:500]}")


def send_signal(pid: int, number: int) -> None:
    """Send a signal to a process, or with -1 to all but the first; nothing if it has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
