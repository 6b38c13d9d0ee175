"""Delay and loss without help from the kernel: a process that carries frames.

It joins pairs of interfaces of the wire room through packet sockets with PACKET_VNET_HDR, so
that large segments and unfinished checksums cross it as they are. `select` is used because
its timeout has microseconds where epoll's has milliseconds.
"""

import contextlib
import heapq
import random
import select
import signal
import socket
import time

from pltfrms.lab.network.impairment import MILLION, Impairment
from pltfrms.lab.processes.channel import Channel, Message
from pltfrms.lab.processes.namespaces import set_process_name, set_timer_slack
from pltfrms.lab.processes.processes import close_descriptors, run_before_others

_SOL_PACKET, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING = 263, 15, 23
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 33, 32
_ETH_P_ALL = 3
_BUFFER_BYTES = 16 << 20
_FRAME_BYTES = 70_000
_BURST_FRAMES = 64
_QUEUE_BYTES = 16 << 20
"""Frames above this in one direction are dropped, as a full queue of a router would."""
_EARLY_NS = 300
_IDLE_SECONDS = 1.0


class _Direction:
    """From one interface to another."""

    __slots__ = ("delay_ns", "loss", "queued_bytes", "sink", "source")

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.delay_ns = 0
        self.loss = 0.0
        self.queued_bytes = 0

    def set(self, impairment: Impairment) -> None:
        self.delay_ns = impairment.delay_us * 1000
        self.loss = impairment.loss_ppm / MILLION


class _Relay:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._pairs: dict[str, tuple[_Direction, _Direction]] = {}
        self._by_source: dict[socket.socket, _Direction] = {}
        self._watched: tuple[Channel | socket.socket, ...] = (channel,)
        self._queue: list[tuple[int, int, _Direction, bytes]] = []
        self._number = 0
        self._chance = random.Random()  # noqa: S311 - which frame is lost is no secret

    def run(self) -> None:
        with contextlib.suppress(EOFError):
            while True:
                readable, _, _ = select.select(self._watched, (), (), self._timeout())
                for one in readable:
                    if isinstance(one, Channel):
                        one.serve(self._handle)
                    elif one in self._by_source:
                        self._receive(self._by_source[one])
                self._send_due()

    def _timeout(self) -> float:
        if not self._queue:
            return _IDLE_SECONDS
        return max(0.0, (self._queue[0][0] - time.monotonic_ns()) * 1e-9)

    def _receive(self, direction: _Direction) -> None:
        source, loss, queue = direction.source, direction.loss, self._queue
        for _ in range(_BURST_FRAMES):
            try:
                frame = source.recv(_FRAME_BYTES)
            except OSError:  # nothing left, or the interface is down or gone
                return
            if loss and self._chance.random() < loss:
                continue
            if direction.queued_bytes > _QUEUE_BYTES:
                continue
            direction.queued_bytes += len(frame)
            self._number += 1
            due = time.monotonic_ns() + direction.delay_ns
            heapq.heappush(queue, (due, self._number, direction, frame))

    def _send_due(self) -> None:
        queue, now = self._queue, time.monotonic_ns() + _EARLY_NS
        while queue and queue[0][0] <= now:
            _, _, direction, frame = heapq.heappop(queue)
            direction.queued_bytes -= len(frame)
            with contextlib.suppress(OSError):  # down, gone, or full: the frame is lost
                direction.sink.send(frame)

    def _handle(self, question: Message, _descriptors: list[int]) -> Message:
        port = question["port"]
        if question["do"] == "drop":
            self._drop(port)
            return {}
        if port not in self._pairs:
            self._join(port, question["near"], question["far"])
        outward, inward = self._pairs[port]
        outward.set(Impairment(*question["outward"]))
        inward.set(Impairment(*question["inward"]))
        return {}

    def _join(self, port: str, near: str, far: str) -> None:
        one, other = _open(near), _open(far)
        pair = (_Direction(one, other), _Direction(other, one))
        self._pairs[port] = pair
        self._by_source |= {direction.source: direction for direction in pair}
        self._watched = (self._channel, *self._by_source)

    def _drop(self, port: str) -> None:
        for direction in self._pairs.pop(port, ()):
            del self._by_source[direction.source]
            direction.source.close()
        self._watched = (self._channel, *self._by_source)


def run_relay(channel: Channel) -> None:
    """Carry frames as the lab's daemon says; returns when the daemon is gone.

    Questions: `{"do": "set", "port", "near", "far", "outward", "inward"}` (an impairment is
    `[delay_us, loss_ppm]`; outward is from `near` to `far`) and `{"do": "drop", "port"}`.
    """
    close_descriptors(keep=(channel.fileno(),))
    set_process_name("lab-relay")
    set_timer_slack(1_000)
    run_before_others()  # a cable does not get longer because machines are busy
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _Relay(channel).run()


def _open(interface: str) -> socket.socket:
    # Protocol 0 until all options are set and the interface is bound: else the socket would
    # first collect frames of every interface.
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    packets.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    packets.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    packets.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    packets.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER_BYTES)
    packets.bind((interface, _ETH_P_ALL))
    packets.settimeout(0)
    return packets
