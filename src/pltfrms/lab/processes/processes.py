"""Fork without exec, from processes that have one thread and no event loop."""

import contextlib
import gc
import importlib
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from pltfrms.lab.parts import Unit
from pltfrms.lab.processes.namespaces import set_process_name

LOG_DIRECTORY = "/var/log/pltfrms"
LOG_BYTES = 16 * 1024 * 1024
"""A unit's log longer than this moves to `UNIT.log.1`."""

OWN_NICE = -10
"""Of the lab's own processes: who begins or ends a lab waits for them."""
_FIRST_FREE_DESCRIPTOR = 3
_MOST_DESCRIPTORS = 65_536
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
_CRASHED = 70


def fork(body: Callable[[], object]) -> int:
    """Run `body` in a child and return the child's pid; the child never returns from here."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _run(body)
    return pid


def watch_children() -> int:
    """Return a descriptor that becomes readable when a child ends; read it to empty it."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return reader


def reap(wakeup: int) -> list[int]:
    """Empty the descriptor of `watch_children` and return the pids that have ended."""
    with contextlib.suppress(BlockingIOError):
        while os.read(wakeup, 512):
            pass
    ended: list[int] = []
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.append(pid)


def close_descriptors(*, keep: tuple[int, ...]) -> None:
    """Close everything inherited but the standard three and `keep`."""
    start = _FIRST_FREE_DESCRIPTOR
    for descriptor in sorted(keep):
        os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, _MOST_DESCRIPTORS)


def run_before_others() -> None:
    """Run this process, but not its children, whenever it has something to do.

    Where the kernel refuses, it shares the processor like everybody; `doctor` shows the effect.
    """
    with contextlib.suppress(PermissionError):
        policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(1))


def share_processor(nice: int, *, alone: bool) -> None:
    """Give this process a share of the processors, as nice(1) counts.

    With `alone` not what it forks (to the kernel, its threads are forks, too).

    Where the kernel weighs sessions (autogroup) it is ours that gets it: be its leader. Where
    it refuses, we share like everybody.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice))
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        if alone:
            policy = os.SCHED_OTHER | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(0, policy, os.sched_param(0))


def start_unit(unit: Unit) -> int:
    """Start a unit of the machine whose init this process is; return its pid."""
    return fork(lambda: _become(unit))


def bound_log(unit: Unit) -> None:
    """Keep a unit's log short; what it writes meanwhile may be lost."""
    path = Path(LOG_DIRECTORY, f"{unit.name}.log")
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_BYTES:
            shutil.copyfile(path, f"{path}.1")
            os.truncate(path, 0)


def _run(body: Callable[[], object]) -> NoReturn:
    code = _CRASHED
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        body()
        code = 0
    except SystemExit as request:
        code = request.code if isinstance(request.code, int) else int(bool(request.code))
    except BaseException:  # noqa: BLE001 - the last frame of a process: say it and end
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _become(unit: Unit) -> None:
    os.setsid()
    close_descriptors(keep=())
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    log = os.open(f"{LOG_DIRECTORY}/{unit.name}.log", flags, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.environ.clear()
    os.environ.update(_ENVIRONMENT)
    if unit.runs_first:
        run_before_others()
    elif unit.nice:
        share_processor(unit.nice, alone=not (unit.command or unit.becomes))
    if unit.command:
        os.execvp(unit.command[0], unit.command)  # noqa: S606 - no shell is the point
    _call(unit)


def _call(unit: Unit) -> None:
    gc.enable()
    set_process_name(unit.name)
    module, _, function = unit.entry.partition(":")
    sys.argv = [unit.name]
    sys.exit(getattr(importlib.import_module(module), function)())
