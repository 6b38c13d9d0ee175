"""Ask instances whether they can serve, from inside their own namespaces.

The question travels over the instance's `lo`, so it needs no route and no address of ours, and
the answer is about the instance alone.
"""

import asyncio
import ctypes
import os
import socket
from collections.abc import Sequence
from typing import Final

from pltfrms.drivers.descriptors import run
from pltfrms.drivers.workload.connections import count_connections
from pltfrms.drivers.workload.records import start_ticks
from pltfrms.errors import InvariantError
from pltfrms.model.addresses import Address
from pltfrms.model.machine import Instance
from pltfrms.model.service import Probe, ProbeKind

_CLONE_NEWNET = 0x40000000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}
_HTTP_PORT = 80
_GONE: Final = "cannot ask the instance: it is gone"
_STATUS_LINE_BYTES = 1024
_OK_STATUS: Final = range(200, 400)


class NamespaceProber:
    """`ports.Prober` for instances that are processes of this machine."""

    def __init__(self) -> None:
        """Remember our own network namespace, to come back to it."""
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Forget our own network namespace."""
        os.close(self._home)

    async def probe(
        self, instance: Instance, probe: Probe, addresses: Sequence[Address]
    ) -> str:
        """See `ports.Prober`. All addresses are asked at once; takes `timeout_ms` at most."""
        if probe.kind is ProbeKind.EXEC:
            return await _run_inside(instance, probe)
        answers = await asyncio.gather(
            *(self._ask(instance, probe, address) for address in addresses)
        )
        return next(filter(None, answers), "")

    async def connections(self, instance: Instance, addresses: Sequence[Address]) -> int:
        """See `ports.Prober`."""
        return await count_connections(instance.pid, addresses)

    async def _ask(self, instance: Instance, probe: Probe, address: Address) -> str:
        try:
            connection = self._socket(instance.pid, _FAMILIES[address.version])
        except OSError:
            return _GONE
        with connection:
            try:
                async with asyncio.timeout(probe.timeout_ms / 1000):
                    failure = await _talk(connection, probe, address)
            except TimeoutError:
                failure = f"no answer within {probe.timeout_ms} ms"
            except OSError as error:
                failure = os.strerror(error.errno or 0)
        return failure and f"{probe.kind} {address} port {probe.port}: {failure}"

    def _socket(self, pid: int, family: int) -> socket.socket:
        """Make a socket in the network namespace of `pid`; OSError when that is gone.

        A socket stays where it was made. Nothing else runs in between: no `await`, no threads.
        """
        away = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(away)
            try:
                return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            finally:
                self._go_home()
        finally:
            os.close(away)

    def _go_home(self) -> None:
        try:
            _enter(self._home)
        except OSError as error:
            raise InvariantError(f"lost in an instance's network namespace: {error}") from error


def _enter(namespace: int) -> None:
    if _LIBC.setns(namespace, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


async def _run_inside(instance: Instance, probe: Probe) -> str:
    enter = ("nsenter", "-t", str(instance.pid), "-n", "-m", "-p", "-u", "-i", "-w")
    failure = await run((*enter, "--", *probe.command), probe.timeout_ms)
    if failure and start_ticks(instance.pid) is None:
        return _GONE
    return failure and f"{probe.command[0]}: {failure}"


async def _talk(connection: socket.socket, probe: Probe, address: Address) -> str:
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, (str(address), probe.port))
    return await _get(connection, probe, address) if probe.kind is ProbeKind.HTTP else ""


async def _get(connection: socket.socket, probe: Probe, address: Address) -> str:
    loop = asyncio.get_running_loop()
    host = f"[{address}]" if ":" in str(address) else str(address)
    port = "" if probe.port == _HTTP_PORT else f":{probe.port}"
    request = f"GET {probe.path} HTTP/1.1\r\nHost: {host}{port}\r\nConnection: close\r\n\r\n"
    await loop.sock_sendall(connection, request.encode())
    answer = b""
    while b"\r\n" not in answer and len(answer) < _STATUS_LINE_BYTES:
        part = await loop.sock_recv(connection, _STATUS_LINE_BYTES)
        if not part:
            return "closed without an answer"
        answer += part
    line = answer.partition(b"\r\n")[0].decode(errors="replace")
    version, _, rest = line.partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not status.isdecimal():
        return f"not an HTTP answer: {line[:60]!r}"
    return "" if int(status) in _OK_STATUS else f"{probe.path} answers {status}"
