"""Ask instances whether they can serve, from inside their own namespaces.

The question travels over the instance's `lo`, so it needs no route and no address of ours, and
the answer is about the instance alone.
"""

import ctypes
import errno
import math
import os
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from pltfrms.drivers.descriptors import how_it_ended, run
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.tool import run_tool
from pltfrms.drivers.workload.inside import words_inside
from pltfrms.drivers.workload.instance.records import start_ticks
from pltfrms.drivers.workload.measuring.connections import count_connections, count_led_on
from pltfrms.drivers.workload.ports import CONNECTIONS_UNKNOWN
from pltfrms.drivers.workload.probes.kinds.asking import ask_each, is_plain, takes_datagrams
from pltfrms.drivers.workload.probes.rounds import Round, Rounds
from pltfrms.errors import InvariantError, UnavailableError
from pltfrms.model.addresses import Address
from pltfrms.model.running.machine import Instance, ProbeAnswer
from pltfrms.model.services.service import Probe, ProbeKind

_CLONE_NEWNET = 0x40000000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_RUNTIME: Final = Directories().runtime
_WANTS: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS))
_ACTIVE: Final = frozenset(("active", "reloading", "refreshing"))
_STATE_SECONDS: Final = 0.4
_LINE_MAX: Final = 200
_GONE: Final = ProbeAnswer(failure="cannot ask the instance: it is gone")


class NamespaceProber:
    """`ports.Prober` for instances that are processes of this machine."""

    def __init__(self, runtime: Path = _RUNTIME) -> None:
        """Remember our own network namespace, to come back to it."""
        self._runtime = runtime
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._rounds = Rounds(self._open)
        self._states: dict[str, tuple[float, str]] = {}
        """Of units of systemd: when they were asked for, and what was said."""

    def close(self) -> None:
        """Forget our own network namespace."""
        os.close(self._home)
        self._rounds.close()

    async def probe(
        self, instance: Instance, probe: Probe, addresses: Sequence[Address]
    ) -> ProbeAnswer:
        """See `ports.Prober`. All addresses are asked at once; takes `timeout_ms` at most.

        Where systemd says that the unit of an instance is not active, nothing is asked.
        """
        if instance.unit and (state := await self._state_of(instance.unit)) not in _ACTIVE:
            return ProbeAnswer(failure=f"{instance.unit} is {state}")
        if probe.kind is ProbeKind.EXEC:
            return await _run_inside(instance, probe, self._runtime)
        if is_plain(probe):
            one = Round(instance.pid, probe, addresses)
            await self._rounds.ask(one)
            if addresses and not one.questions:
                return _GONE
            answers = [ProbeAnswer(failure=q.failure, unwell=q.unwell) for q in one.questions]
            return _said(probe, addresses, answers)
        with ExitStack() as held:
            kind = socket.SOCK_DGRAM if takes_datagrams(probe) else socket.SOCK_STREAM
            try:
                sockets = self._sockets(instance.pid, addresses, kind, held)
            except OSError as error:
                if want := _our_want(error):
                    raise want from error
                return _GONE
            return _said(probe, addresses, await ask_each(sockets, probe, addresses))

    async def _state_of(self, unit: str) -> str:
        """Return the state of a unit of systemd, in its words.

        UnavailableError if it says none. A starting instance is asked often, and to ask systemd
        costs a process.
        """
        now, (known_at, state) = time.monotonic(), self._states.get(unit, (-math.inf, ""))
        if now - known_at >= _STATE_SECONDS:
            words = ("systemctl", "show", "--property=ActiveState", "--value", "--", unit)
            state = (await run_tool(*words)).strip() or "not known to systemd"
            self._states[unit] = now, state
        return state

    async def connections(self, instance: Instance, addresses: Sequence[Address]) -> int:
        """See `ports.Prober`."""
        count = await count_connections(instance.pid, addresses)
        if instance.pid != os.getpid() or count == CONNECTIONS_UNKNOWN:
            return count
        led_on = await count_led_on(addresses)  # others start it, perhaps elsewhere
        return led_on if led_on == CONNECTIONS_UNKNOWN else count + led_on

    def _open(self, rounds: Sequence[Round]) -> None:
        """Give each round its sockets, in the network namespace of its instance if it is there.

        A socket stays where it was made. Nothing else runs in between: no `await`, no threads.
        """
        try:
            for each in rounds:
                try:
                    each.open(_inside(each.pid, each.addresses, socket.SOCK_STREAM))
                except OSError as error:
                    if want := _our_want(error):
                        each.done.set_exception(want)
        finally:
            self._go_home()

    def _sockets(
        self, pid: int, addresses: Sequence[Address], kind: int, held: ExitStack
    ) -> list[socket.socket]:
        """Make sockets in the network namespace of `pid`; OSError when that is gone."""
        try:
            return [held.enter_context(each) for each in _inside(pid, addresses, kind)]
        finally:
            self._go_home()

    def _go_home(self) -> None:
        try:
            _enter(self._home)
        except OSError as error:
            raise InvariantError(f"lost in an instance's network namespace: {error}") from error


def _our_want(error: OSError) -> UnavailableError | None:
    """Return what to raise if it is we who lack something: of the instance nothing is known."""
    if error.errno not in _WANTS:
        return None
    return UnavailableError(f"cannot ask instances: {error.strerror}")


def _enter(namespace: int) -> None:
    if _LIBC.setns(namespace, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


async def _run_inside(instance: Instance, probe: Probe, runtime: Path) -> ProbeAnswer:
    # Its words are for who starts slowly, or is a hook; else they would only change.
    heard = bytearray() if probe.grace_max_ms else None
    words = words_inside(instance, runtime, probe.command)
    ended = await run(words, probe.timeout_ms, heard)
    if not ended:
        return ProbeAnswer()
    if start_ticks(instance.pid) is None:
        return _GONE
    how = how_it_ended(ended) if isinstance(ended, int) else ended
    unwell = isinstance(ended, int) and ended > 0
    line = (heard or b"").decode(errors="replace").strip().partition("\n")[0]
    said = f": {line[:_LINE_MAX]}" if line else ""
    return ProbeAnswer(failure=f"{probe.command[0]}: {how}{said}", unwell=unwell)


def _inside(pid: int, addresses: Sequence[Address], kind: int) -> list[socket.socket]:
    """Go into the network namespace of `pid`, and make all sockets there or none."""
    with ExitStack() as held:
        away = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(away)
        finally:
            os.close(away)
        made = [held.enter_context(_socket(each, kind)) for each in addresses]
        held.pop_all()
    return made


def _socket(address: Address, kind: int) -> socket.socket:
    return socket.socket(_FAMILIES[address.version], kind | socket.SOCK_NONBLOCK)


def _said(
    probe: Probe, addresses: Sequence[Address], answers: Sequence[ProbeAnswer]
) -> ProbeAnswer:
    """Return what came of it all: how the first address failed that did."""
    failed = [pair for pair in zip(answers, addresses, strict=True) if pair[0].failure]
    if not failed:
        epochs = [each.epoch for each in answers]
        known = [epoch for epoch in epochs if epoch is not None]
        return ProbeAnswer(epoch=min(known) if known and len(known) == len(epochs) else None)
    answer, address = failed[0]
    return ProbeAnswer(
        failure=f"{probe.kind} {address} port {probe.port}: {answer.failure}",
        unwell=all(each.unwell for each, _ in failed),
    )
