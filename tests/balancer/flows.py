"""A server that says its name, and a client that keeps flows to it and notices what breaks.

One question and answer, over TCP and UDP alike: `SIZE TOKEN` is answered by `NAME TOKEN`,
filled up to SIZE bytes; lines in TCP.
"""

import asyncio
import contextlib
import errno
import socket
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, TypeVar

from pltfrms.model.addresses import Address
from tests.balancer.actors import Part

T = TypeVar("T")
PORT = 7
STREAM_PORT = 9
PAUSE_SECONDS = 0.15
"""Between two messages of a flow."""
_CHUNK = 256 * 1024
_LONGEST_LINE = 256 * 1024
_BATCH = 250


class Background:
    """An asyncio loop in a thread, for parts that must work while nobody asks them."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def do(self, work: Coroutine[Any, Any, T], seconds: float = 50) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Server(Part):
    """What runs in an instance."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._background = Background()

    def serve(self, addresses: Sequence[str]) -> None:
        """Listen at these addresses; also at `::`, where there is TCP only."""
        self._background.do(self._serve(addresses))
        streams = socket.create_server(
            ("::", STREAM_PORT), family=socket.AF_INET6, dualstack_ipv6=True
        )
        threading.Thread(target=_streams, args=(streams,), daemon=True).start()

    async def _serve(self, addresses: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        everywhere = socket.create_server(
            ("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True, backlog=2048
        )
        await asyncio.start_server(self._talk, sock=everywhere, limit=_LONGEST_LINE)
        for address in addresses:
            asked = socket.socket(family_of(address), socket.SOCK_DGRAM)
            await _bind(asked, address)
            await loop.create_datagram_endpoint(lambda: _Datagrams(self.answer), sock=asked)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                writer.write(self.answer(line.rstrip()) + b"\n")
                await writer.drain()
        writer.close()

    def answer(self, question: bytes) -> bytes:
        size, _, token = question.partition(b" ")
        return (self._name + b" " + token).ljust(int(size), b".")

    def dial(self, addresses: Sequence[str], count: int) -> dict[str, int]:
        """Connect to each of the addresses so often; return who answered how often."""
        return dict(Counter(ask_once(address) for address in addresses for _ in range(count)))


async def _bind(asked: socket.socket, address: str) -> None:
    """Bind, as soon as the kernel has done what it does with a new IPv6 address."""
    asked.settimeout(0)
    async with asyncio.timeout(10):
        while True:
            try:
                return asked.bind((address, PORT))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
            await asyncio.sleep(0.01)


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._transport.sendto(self._answer(data), addr)


def _streams(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_stream, args=(connection,), daemon=True).start()


def _stream(connection: socket.socket) -> None:
    """Be asked for a source (`+`) or a sink (`-`) of bytes, until the other end closes."""
    with connection, contextlib.suppress(OSError):
        if connection.recv(1) == b"+":
            while True:
                connection.sendall(bytes(_CHUNK))
        buffer = bytearray(_CHUNK)
        while connection.recv_into(buffer):
            pass


def ask_once(address: str, seconds: float = 5) -> str:
    """Return the name that a new connection is answered with."""
    with socket.create_connection((address, PORT), timeout=seconds) as connection:
        connection.sendall(b"1 x\n")
        return connection.makefile("rb").readline().split()[0].decode()


@dataclass(slots=True)
class Flow:
    """A long-lived connection."""

    version: int
    instance: str = ""
    """Who answers."""
    broken: str = ""
    """Why it has ended, or does not answer."""
    asked_at: float = 0.0
    """When the newest question that has been answered was asked."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the flows."""

    alive: dict[str, int]
    """By instance."""
    broken: dict[str, int]
    why: tuple[str, ...]

    @property
    def broken_count(self) -> int:
        return sum(self.broken.values())


class Client(Part):
    """Where flows come from. It has several addresses of each family."""

    def __init__(
        self,
        sources: Sequence[Address],
        targets: Sequence[str],
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        """Target the addresses of a service: one IPv4, one IPv6."""
        self._pause_seconds = pause_seconds
        self._sources: dict[int, list[str]] = {4: [], 6: []}
        for source in sources:
            self._sources[source.version].append(str(source))
        self._targets: dict[int, str] = {
            ip_address(target).version: target for target in targets
        }
        self._background = Background()
        self._flows: list[Flow] = []
        self._tasks: list[asyncio.Task[None]] = []

    # ---- long-lived flows ------------------------------------------------------------------

    def open_flows(self, count: int, seconds: float = 15) -> None:
        """Open so many flows, half of them IPv6; return when all were answered."""
        flows = [Flow(4 if number % 2 else 6) for number in range(count)]
        self._flows += flows
        self._background.do(self._begin(flows))
        deadline = time.monotonic() + seconds
        while not all(flow.instance or flow.broken for flow in flows):
            if time.monotonic() > deadline:
                raise TimeoutError(f"flows without an answer: {self.verdict(0)}")
            time.sleep(0.02)

    def flow_counts(self) -> dict[str, int]:
        """Return how many flows each instance serves."""
        return dict(Counter(flow.instance for flow in self._flows if not flow.broken))

    def verdict(self, seconds: float = 6) -> Verdict:
        """Wait until every flow has had an answer to a question of now, or has ended.

        Those that get none in time are broken too.
        """
        now = time.monotonic()
        while time.monotonic() < now + seconds:
            if all(flow.broken or flow.asked_at > now for flow in self._flows):
                break
            time.sleep(0.02)
        for flow in self._flows:
            if not flow.broken and flow.asked_at <= now:
                flow.broken = "silent"
        broken = [flow for flow in self._flows if flow.broken]
        return Verdict(
            alive=self.flow_counts(),
            broken=dict(Counter(flow.instance for flow in broken)),
            why=tuple(f"v{f.version} {f.instance}: {f.broken}" for f in broken[:8]),
        )

    def close_flows(self) -> None:
        """Forget all flows."""
        self._background.do(self._close())

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._tasks, self._flows = [], []

    async def _begin(self, flows: Sequence[Flow]) -> None:
        loop = asyncio.get_running_loop()
        self._tasks += [loop.create_task(self._keep(flow, n)) for n, flow in enumerate(flows)]

    async def _keep(self, flow: Flow, number: int) -> None:
        """Exchange messages until it breaks."""
        sources, writer = self._sources[flow.version], None
        try:
            reader, writer = await asyncio.open_connection(
                self._targets[flow.version],
                PORT,
                local_addr=(sources[number // 2 % len(sources)], 0),
            )
            token = 0
            while True:
                token += 1
                now = time.monotonic()
                writer.write(b"1 %d\n" % token)
                name, _, back = (await reader.readline()).decode().strip().partition(" ")
                if back != str(token):
                    flow.broken = f"closed, or an answer to something else: {back!r}"
                    return
                flow.instance, flow.asked_at = name, now
                await asyncio.sleep(self._pause_seconds)
        except OSError as error:
            flow.broken = str(error)
        finally:
            if writer:
                writer.close()

    # ---- new flows -------------------------------------------------------------------------

    def connect(self, count: int) -> dict[str, int]:
        """Make new connections to each family's target; return who answered how often."""
        return dict(
            Counter(ask_once(target) for target in self._targets.values() for _ in range(count))
        )

    def fetch(self, count: int, size: int, seconds: float = 8) -> dict[int, int]:
        """Ask for big answers at once, from all addresses; return how many came whole."""
        return self._background.do(self._fetch_all(count, size, seconds))

    async def _fetch_all(self, count: int, size: int, seconds: float) -> dict[int, int]:
        whole: dict[int, int] = {}
        for version in self._targets:
            sizes = await asyncio.gather(
                *(self._fetch(version, number, size, seconds) for number in range(count))
            )
            whole[version] = sizes.count(size)
        return whole

    async def _fetch(self, version: int, number: int, size: int, seconds: float) -> int:
        sources = self._sources[version]
        source = (sources[number % len(sources)], 0)
        writer = None
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_connection(
                    self._targets[version], PORT, local_addr=source, limit=_LONGEST_LINE
                )
                writer.write(b"%d x\n" % size)
                return len((await reader.readline()).rstrip(b"\n"))
        except OSError:  # TimeoutError is one
            return 0
        finally:
            if writer:
                writer.close()

    def who_gets(self, version: int, ports: Iterable[int]) -> dict[int, str]:
        """Send a UDP packet from each of these ports; return who answered, by port."""
        answers: dict[int, str] = {}
        for _ in range(3):  # a packet may have been lost on a busy machine
            left = [port for port in ports if port not in answers]
            for start in range(0, len(left), _BATCH):
                answers |= self._ask_from(version, left[start : start + _BATCH])
        return answers

    def _ask_from(self, version: int, ports: Sequence[int]) -> dict[int, str]:
        target = self._targets[version]
        sockets: dict[int, socket.socket] = {}
        answers: dict[int, str] = {}
        with contextlib.ExitStack() as stack:
            for port in ports:
                asker = stack.enter_context(socket.socket(family_of(target), socket.SOCK_DGRAM))
                asker.bind((self._sources[version][0], port))
                asker.settimeout(0.5)
                asker.sendto(b"1 x", (target, PORT))
                sockets[port] = asker
            for port, asker in sockets.items():
                with contextlib.suppress(OSError):
                    answers[port] = asker.recv(100).split()[0].decode()
        return answers

    def stream(self, version: int, seconds: float, *, up: bool, flows: int = 2) -> float:
        """Move bytes as fast as possible; return Gbit/s."""
        totals = [0] * flows
        end = time.monotonic() + seconds

        def move(number: int) -> None:
            target = (self._targets[version], STREAM_PORT)
            with socket.create_connection(target, timeout=5) as connection:
                connection.sendall(b"-" if up else b"+")
                buffer = bytearray(_CHUNK)
                while time.monotonic() < end:
                    moved = connection.send(buffer) if up else connection.recv_into(buffer)
                    totals[number] += moved

        threads = [threading.Thread(target=move, args=(number,)) for number in range(flows)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(totals) * 8 / seconds / 1e9

    def heard_after(self, port: int, seconds: float, packet: bytes, target: str) -> bool:
        """Send a whole IPv6 packet, and tell whether any UDP packet comes to this port."""
        listener = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        with listener:
            listener.bind(("::", port))
            listener.settimeout(seconds)
            if packet:
                self.send_raw6(target, packet)
            with contextlib.suppress(OSError):
                return bool(listener.recv(100))
        return False
