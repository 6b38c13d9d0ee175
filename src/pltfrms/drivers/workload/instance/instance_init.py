"""The first process (pid 1) of an instance. Run by its path: `python -I -S instance_init.py`.

Standard library only, and few modules of it: every instance has one of these in memory, and
their import is most of the time that a start takes.

It talks with the agent over its standard input and output, in lines:

    init:  pid N          the process that is pid 1 of the instance, as the machine sees it
    agent: {"allocation": ..., "process": [...], ...}   see `wishes.py`
    agent: go             the veth is in place, and the agent has noted the pid
    init:  started        the command is running
    init:  error WHAT     at any time instead: nothing runs, and nothing is left

When the agent's end is closed before `go`, the instance ends without having started. After
that nothing depends on the agent any more: what the command says comes to its log through
here, so that the log has a bound also while there is no agent. When pid 1 ends, the kernel
ends all processes of the instance, then its network namespace with both ends of the veth and
the routes through it.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Never

    from pltfrms.drivers.workload.instance.wishes import Box, InitWishes, Kept

_NEWNS, _NEWUTS, _NEWIPC = 0x20000, 0x4000000, 0x8000000
_NEWPID, _NEWNET = 0x20000000, 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 32, 0x1000, 0x4000, 0x40000
_HOSTS = "/etc/hosts"
_GROUPS = "/sys/fs/cgroup"
_UNPRIVILEGED_PORTS = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
_FORWARDED = (
    *(signal.SIGTERM, signal.SIGINT),
    *(signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2),
)
_RESTORED = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
"""Also what whoever started us ignores: many servers end gently at SIGQUIT."""
_CHUNK = 1 << 16
"""As much as a pipe holds."""
_LAST_WORDS = 200
"""Of the last line, in characters."""
_LIBC = ctypes.CDLL(None, use_errno=True)
_heard = bytearray()
"""What the agent has said beyond the last line that was read."""


def main() -> Never:
    """Make the namespaces, fork pid 1, say its pid, and leave: it becomes an orphan."""
    try:
        _check(_LIBC.unshare(_NEWNS | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET), "unshare")
        child = os.fork()
        if not child:
            _be_init()
        _say(f"pid {child}")
    except OSError as error:
        _say(f"error cannot make namespaces: {error}")
    os._exit(0)


def _be_init() -> Never:
    import json  # noqa: PLC0415 - it is slow, and now the agent is making the veth

    try:
        _isolate()
        wishes: InitWishes = json.loads(_read_line() or "{}")
        if _read_line() != "go":
            os._exit(1)
        _set_hostname(wishes["allocation"])
        _run_ip(wishes["ip_commands"])
        os.chdir(wishes["directory"])
        _take(wishes["lock"])
        forwarder = _Forwarder()
        log = BoundedLog(wishes["log_file"], wishes["log_bytes"], wishes["older_logs"])
        child, output = _run(wishes)
        forwarder.forward_to(child)
    except OSError as error:
        _say(f"error {error.strerror or error}")
        os._exit(1)
    _say("started")
    _let_go_of_agent()
    if wishes["lifetime_ms"]:
        forwarder.end_after(wishes["lifetime_ms"], wishes["grace_ms"])
    status = _serve_until_end_of(child, output, log, forwarder.bell)
    _write_exit_file(wishes["exit_file"], status, log.last_words, late=forwarder.late)
    os._exit(status if status >= 0 else 128 - status)


def _run(wishes: InitWishes) -> tuple[int, int]:
    """Start the command; return its pid, and the end of a pipe with what it says."""
    box, environment = wishes["box"], wishes["environment"]
    if wishes["secrets"]:
        _keep(wishes["secrets"], *((box["user"], box["group"]) if box else (0, 0)))
    if wishes["mounts"]:
        _wait_for(*_start(wishes["mounts"], dict(os.environ)), "show it its volumes")
    if box:
        _make_box(box)
        return _contain(box, environment)
    _cover_hosts(wishes["hosts"])
    return _start(wishes["process"], environment)


def _isolate() -> None:
    _check(_LIBC.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mount /")
    _check(_LIBC.mount(b"proc", b"/proc", b"proc", 0, None), "mount /proc")


def _take(lock: str) -> None:
    """Be the only one who has a volume, until the end of pid 1: the kernel sees to that."""
    if not lock:
        return
    import fcntl  # noqa: PLC0415 - few have volumes

    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    held = os.open(lock, flags, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError("another instance has its volume") from None


def _set_hostname(name: str) -> None:
    _check(_LIBC.sethostname(name.encode(), len(name)), "sethostname")


def _run_ip(commands: list[str]) -> None:
    """Configure the network inside, in one process."""
    script, script_end = os.pipe()
    answer, answer_end = os.pipe()
    os.write(script_end, "".join(line + "\n" for line in commands).encode())
    os.close(script_end)
    child = os.posix_spawnp(
        "ip",
        ["ip", "-batch", "-"],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, script, 0),
            (os.POSIX_SPAWN_DUP2, answer_end, 1),
            (os.POSIX_SPAWN_DUP2, answer_end, 2),
        ],
    )
    os.close(script)
    os.close(answer_end)
    with os.fdopen(answer) as words:
        said = " ".join(words.read().split())
    _, status = os.waitpid(child, 0)
    if status:
        raise OSError(f"cannot configure the network inside: {said}")


class BoundedLog:
    """Files of bounded size; what the disk does not take is lost, and nobody waits for it."""

    def __init__(self, path: str, most_bytes: int, older: int) -> None:
        """Go on with the file at `path`; of `older` parts, none has more than `most_bytes`."""
        self._path, self._most, self._older = path, most_bytes, older
        self._tail = b""
        self._open()

    @property
    def last_words(self) -> str:
        """The last line that was said, without what a terminal would obey."""
        lines = self._tail.decode(errors="replace").splitlines()
        said = [line.strip() for line in lines if line.strip()]
        clean = (c if c.isprintable() else " " for c in said[-1]) if said else ()
        words = " ".join("".join(clean).split())
        return words if len(words) <= _LAST_WORDS else words[: _LAST_WORDS - 3] + "..."

    def write(self, data: bytes) -> None:
        """Add what was said; never fail."""
        self._tail = (self._tail + data[-_CHUNK:])[-8 * _LAST_WORDS :]
        while data:
            room = self._most - self._size
            part = data if len(data) <= room else self._lines_of(data, room)
            if part:
                self._put(part)
                data = data[len(part) :]
            else:
                self._rotate()

    def _lines_of(self, data: bytes, room: int) -> bytes:
        """Return the lines that still fit; of one that fits nowhere, a part."""
        if room <= 0:
            return b""
        lines = data[: data.rfind(b"\n", 0, room) + 1]
        return lines or (b"" if self._size else data[:room])

    def _put(self, part: bytes) -> None:
        self._size += len(part)
        try:
            while part:
                part = part[os.write(self._fd, part) :]
        except OSError:
            return  # such as a full disk

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        """Begin a new part; where there cannot be one, lose what is in the full one."""
        parts = [self._path, *(f"{self._path}.{n}" for n in range(1, self._older + 1))]
        spare = f"{self._path}.new"
        try:
            fresh = _in_place_of_oldest(parts, spare)
        except OSError:
            _empty(self._fd)
        else:
            self._fd, full = fresh, self._fd
            os.close(full)
            _shift([spare, *parts])
        self._size = 0


class _Forwarder:
    """Passes signals on to the command, also those that come before it runs.

    `bell` becomes readable when there is somebody to reap.
    """

    def __init__(self) -> None:
        self.late = False
        self._child = 0
        self._early: list[int] = []
        self.bell, ring = os.pipe()
        for end in (self.bell, ring):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for number in _FORWARDED:
            signal.signal(number, self._forward)

    def forward_to(self, child: int) -> None:
        self._child = child
        for number in self._early:
            self._forward(number, None)

    def end_after(self, lifetime_ms: int, grace_ms: int) -> None:
        """Have the command asked to end when it has lived for so long, and then made to."""
        signal.signal(signal.SIGALRM, self._end)
        signal.setitimer(signal.ITIMER_REAL, lifetime_ms / 1000, max(1, grace_ms) / 1000)

    def _end(self, _number: int, _frame: Any) -> None:
        self._forward(signal.SIGKILL if self.late else signal.SIGTERM, None)
        self.late = True

    def _forward(self, number: int, _frame: Any) -> None:
        if not self._child:
            self._early.append(number)
            return
        try:
            os.kill(self._child, number)
        except ProcessLookupError:
            return


def _cover_hosts(file: str) -> None:
    """Let the command find services by name; only where the machine has a file to cover."""
    if os.path.exists(_HOSTS):  # noqa: PTH110 - pathlib would double our start
        _mount(file, _HOSTS, "", _MS_BIND, None)
        _mount("", _HOSTS, "", _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID, None)


def _make_box(box: Box) -> None:
    """Mount the image, below what is written in memory, and write what its runtime reads.

    The runtime works only where it sees a cgroup v2 tree, and makes nothing in it.
    """
    place = box["place"]
    size = f"mode=711,size={box['bytes']}".encode()
    _mount("tmpfs", place, "tmpfs", _MS_NOSUID | _MS_NODEV, size)
    for name in ("root", "upper", "work", "state"):
        os.mkdir(f"{place}/{name}")  # noqa: PTH102 - pathlib would double our start
    with open(f"{place}/config.json", "w") as file:  # noqa: PTH123 - as above
        file.write(box["config"])
    os.chdir(box["base"])
    layers = f"lowerdir={box['layers']},upperdir={place}/upper,workdir={place}/work"
    _mount("overlay", f"{place}/root", "overlay", 0, layers.encode())
    if not os.path.exists(f"{_GROUPS}/cgroup.controllers"):  # noqa: PTH110 - as above
        quiet = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
        _mount("cgroup2", _GROUPS, "cgroup2", quiet, None)
    with open(_UNPRIVILEGED_PORTS, "w") as file:  # noqa: PTH123 - as above
        file.write("0")
    os.chdir("/")


def _keep(kept: Kept, user: int, group: int) -> None:
    """Write secrets into memory that is never swapped, and take no more into it."""
    import binascii  # noqa: PLC0415 - few have any

    place = kept["directory"]
    os.makedirs(place, exist_ok=True)  # noqa: PTH103 - pathlib would double our start
    quiet = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _mount("ramfs", place, "ramfs", quiet, b"mode=755")
    for name, mode, text in kept["files"]:
        fd = os.open(f"{place}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(binascii.a2b_base64(text))
            os.fchown(fd, user, group)
            os.fchmod(fd, mode)
    _mount("", place, "", _MS_REMOUNT | _MS_BIND | _MS_RDONLY | quiet, None)


def _mount(source: str, target: str, kind: str, flags: int, options: bytes | None) -> None:
    result = _LIBC.mount(source.encode(), target.encode(), kind.encode(), flags, options)
    _check(result, f"mount {target}")


def _contain(box: Box, environment: dict[str, str]) -> tuple[int, int]:
    """Start a container; return the pid of its command, which is ours to wait for, and output.

    OSError with what the runtime said if it could not start it.
    """
    runtime, output = _start(box["create"], environment)
    _wait_for(runtime, output)
    with open(f"{box['place']}/pid") as file:  # noqa: PTH123 - as above
        child = int(file.read())
    _refuse_devices(child)
    runtime, words = _start(box["start"], environment)
    _wait_for(runtime, words)
    os.close(words)
    return child, output


def _wait_for(runtime: int, output: int, what: str = "execute it in its image") -> None:
    _, status = os.waitpid(runtime, 0)
    if status:
        said = " ".join(_read(output).decode(errors="replace").split())
        raise OSError(f"cannot {what}: {said[-_LAST_WORDS:]}")


def _refuse_devices(child: int) -> None:
    """Open no device that an image may bring along; the runtime mounts its root without that.

    In a process of its own, since it goes where the container is.
    """
    helper = os.fork()
    if not helper:
        try:
            space = os.open(f"/proc/{child}/ns/mnt", os.O_RDONLY)
            _check(_LIBC.setns(space, _NEWNS), "setns")
            kept = os.statvfs("/").f_flag & os.ST_RDONLY
            flags = _MS_REMOUNT | _MS_BIND | _MS_NOSUID | _MS_NODEV | kept
            _check(_LIBC.mount(None, b"/", None, flags, None), "mount /")
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(helper, 0)
    if status:
        raise OSError("cannot refuse the devices of its image")


def _start(command: list[str], environment: dict[str, str]) -> tuple[int, int]:
    """Fork and execute the command; return its pid, and the end of a pipe with what it says.

    OSError with a sentence if it cannot be executed.
    """
    failure, failure_end = os.pipe()
    output, output_end = os.pipe()
    child = os.fork()
    if not child:
        _execute(command, environment, failure_end, output_end)
    os.close(failure_end)
    os.close(output_end)
    with os.fdopen(failure) as pipe:
        words = pipe.read()
    if words:
        os.waitpid(child, 0)
        raise OSError(words)
    os.set_blocking(output, False)
    return child, output


def _execute(
    command: list[str], environment: dict[str, str], failure_end: int, output_end: int
) -> Never:
    """Become the command. The pipe closes by itself when that succeeds."""
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output_end, 1)
        os.dup2(output_end, 2)
        for number in _RESTORED:
            signal.signal(number, signal.SIG_DFL)
        os.execvpe(command[0], command, environment)  # noqa: S606 - our job
    except OSError as error:
        os.write(failure_end, f"cannot execute {command[0]}: {error.strerror}".encode())
    os._exit(127)


def _let_go_of_agent() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _serve_until_end_of(child: int, output: int, log: BoundedLog, bell: int) -> int:
    """Return the exit status of `child` (negative: signal); orphans are reaped as they end."""
    ears = select.poll()
    for end in (output, bell):
        ears.register(end, select.POLLIN)
    while True:
        for end, _ in ears.poll():
            said = _read(end)
            if end == output:
                log.write(said)
                if not said:  # nobody has the other end any more
                    ears.unregister(output)
        status = _reap(child)
        if status is not None:
            log.write(_read(output))
            return status


def _reap(child: int) -> int | None:
    """Reap who has ended; return the exit status of `child` if it has."""
    ended = None
    try:
        while (one := os.waitpid(-1, os.WNOHANG))[0]:
            if one[0] == child:
                ended = os.waitstatus_to_exitcode(one[1])
    except ChildProcessError:
        return ended
    return ended


def _read(end: int) -> bytes:
    try:
        return os.read(end, _CHUNK)
    except BlockingIOError:
        return b""


def _in_place_of_oldest(parts: list[str], spare: str) -> int:
    """Return an empty file called `spare`: what was the oldest part, if no other can be had.

    OSError if there is no older part either, and nothing has changed.
    """
    why = OSError("there are no older parts")
    for oldest in reversed(parts[1:]):
        _move(oldest, spare)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
            return os.open(spare, flags, 0o644)
        except OSError as error:
            why = error
    raise why


def _shift(parts: list[str]) -> None:
    """Give every part the name of the next older one; what cannot be renamed stays."""
    try:
        for newer, older in zip(parts[-2::-1], parts[:0:-1], strict=True):
            _move(newer, older)
    except OSError:
        return


def _move(old: str, new: str) -> None:
    try:
        os.rename(old, new)  # noqa: PTH104 - pathlib would double our start
    except FileNotFoundError:
        return


def _empty(fd: int) -> None:
    try:
        os.ftruncate(fd, 0)
    except OSError:
        return


def _write_exit_file(path: str, status: int, last_words: str, *, late: bool) -> None:
    how = f"killed by signal {-status}" if status < 0 else f"exited with status {status}"
    how += " when its time was over" if late else ""
    if last_words and status:
        how += f", and said last: {last_words}"
    with open(path + ".new", "w") as file:  # noqa: PTH123 - pathlib would double our start
        file.write(how)
    os.rename(path + ".new", path)  # noqa: PTH104 - as above


def _check(result: int, what: str) -> None:
    if result:
        raise OSError(f"{what}: {os.strerror(ctypes.get_errno())}")


def _read_line() -> str:
    """Return the next line of standard input; `` when it is closed before its end."""
    while b"\n" not in _heard:
        part = os.read(0, _CHUNK)
        if not part:
            return ""
        _heard.extend(part)
    line, _, rest = _heard.partition(b"\n")
    _heard[:] = rest
    return line.decode()


def _say(words: str) -> None:
    try:
        os.write(1, words.encode() + b"\n")
    except BrokenPipeError:
        return  # the agent is gone; what runs, runs


if __name__ == "__main__":
    main()
