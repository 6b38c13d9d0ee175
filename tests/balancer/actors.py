"""Processes with a network namespace of their own, that do what they are asked to.

They are forked, so they start at once and know everything that their parent knew. Run them in
a machine of their own (`tests.namespaces.in_machine`): then nothing of them can stay behind.
"""

import ctypes
import multiprocessing
import os
import socket
import subprocess
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEWNET = 1 << 30
_FORK = multiprocessing.get_context("fork")
IDLE_SECONDS = 0.2
LONGEST_SECONDS = 60


class ActorError(RuntimeError):
    """What an actor was asked to do failed there; its traceback."""


class Part:
    """What lives inside an actor: its public methods can be called from outside."""

    def idle(self) -> None:
        """Do what is due while nobody asks."""

    def pid(self) -> int:
        return os.getpid()

    def run(self, *command: str, stdin: str = "") -> str:
        """Run a command in this namespace and return what it said."""
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, timeout=30
        )
        if done.returncode:
            said = f"{done.stdout[-800:]}{done.stderr[-800:]}"
            raise RuntimeError(f"{' '.join(command)[:400]}: {said}")
        return done.stdout

    def ip(self, lines: Iterable[str]) -> None:
        """Configure the network, with lines for `ip -batch`."""
        self.run("ip", "-batch", "-", stdin="".join(f"{line}\n" for line in lines))

    def send_raw6(self, target: str, packet: bytes) -> None:
        """Send a whole IPv6 packet, whatever its header says."""
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
            sender.sendto(packet, (target, 0))

    def spawn(self, *command: str, log: str = os.devnull) -> int:
        """Start a daemon; return its pid. It ends with the machine, or when it is killed."""
        with open(log, "ab") as file:  # noqa: PTH123 - may be a device
            return subprocess.Popen(command, stdout=file, stderr=file).pid

    def sysctls(self, values: Mapping[str, str]) -> None:
        """Set sysctls of this namespace, by path below /proc/sys."""
        for path, value in values.items():
            with open(f"/proc/sys/{path}", "w") as file:  # noqa: PTH123 - as short as it gets
                file.write(value)


@dataclass(slots=True)
class Actor:
    """One such process, seen from outside."""

    name: str
    pid: int
    _process: Any
    _end: Connection

    def ask(self, method: str, *words: Any, **more: Any) -> None:
        """Begin something; the answer must be taken before anything else is asked."""
        self._end.send((method, words, more))

    def answer(self) -> Any:
        """Wait for what was begun and return what came out; ActorError if it failed."""
        if not self._end.poll(LONGEST_SECONDS):
            raise ActorError(f"{self.name} did not answer")
        good, value = self._end.recv()
        if not good:
            raise ActorError(f"{self.name}: {value}")
        return value

    def call(self, method: str, *words: Any, **more: Any) -> Any:
        self.ask(method, *words, **more)
        return self.answer()

    def kill(self) -> None:
        """End it at once, as a crash would; its namespace goes with the last process in it."""
        self._process.kill()
        self._process.join()
        self._end.close()

    def replaced(self, make: Callable[[], Part]) -> "Actor":
        """Kill it, and return another one in the same namespace, which lives on."""
        namespace = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        self.kill()
        try:
            return start(self.name, make, namespace)
        finally:
            os.close(namespace)


def start(name: str, make: Callable[[], Part], namespace: int | None = None) -> Actor:
    """Start an actor in a new network namespace, or in that of a file descriptor."""
    ours, theirs = _FORK.Pipe()
    process = _FORK.Process(target=_be, args=(make, theirs, namespace), name=name)
    process.start()
    theirs.close()
    actor = Actor(name, process.pid or 0, process, ours)
    actor.answer()
    return actor


def together(actors: Iterable[Actor], method: str, *words: Any) -> list[Any]:
    """Ask all the same at once and return all answers."""
    asked = list(actors)
    for actor in asked:
        actor.ask(method, *words)
    return [actor.answer() for actor in asked]


def _be(make: Callable[[], Part], end: Connection, namespace: int | None) -> None:
    try:
        if namespace is None:
            _check(_LIBC.unshare(_NEWNET), "unshare")
        else:
            _check(_LIBC.setns(namespace, _NEWNET), "setns")
        part = make()
    except BaseException:  # noqa: BLE001 - told to the one who started us
        end.send((False, traceback.format_exc()))
        os._exit(1)
    end.send((True, None))
    while True:
        if not end.poll(IDLE_SECONDS):
            part.idle()
            continue
        try:
            method, words, more = end.recv()
            answer = True, getattr(part, method)(*words, **more)
        except EOFError:
            os._exit(0)
        except Exception:  # noqa: BLE001 - told to the one who asked
            answer = False, traceback.format_exc()
        end.send(answer)


def _check(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), what)
