"""Rounds of probes: one question over each address of an instance, and all instances together.

To ask somebody costs four times as much when it is done alone, by a processor that has done
something else meanwhile, than as one of twenty. So who is to be asked now is asked together,
step by step: all connect, all send, and one look fetches the answers. Over `lo` the kernel
connects within the call, and who is well has answered an instant later; one epoll of our own
tells of the later answers.
"""

import asyncio
import errno
import functools
import os
import select
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from pltfrms.errors import InvariantError
from pltfrms.model.addresses import Address
from pltfrms.model.services.service import Probe, ProbeKind

LOOK_SECONDS: Final = 0.003
"""From the questions to the first look for answers: who is well has answered by then."""
AT_ONCE: Final = 25
"""Instances that are asked before others have their turn in the event loop: 3 ms."""
_HTTP_PORT: Final = 80
_STATUS_LINE_BYTES: Final = 1024
_OK_STATUS: Final = range(200, 400)
_NEVER: Final = 0
"""No epoll event: the question has its answer."""


class Question:
    """One question to one address, over a socket that does not block."""

    def __init__(self, connection: socket.socket, probe: Probe, address: Address) -> None:
        """Ask nothing yet."""
        self.connection = connection
        self.events = select.EPOLLOUT
        """What to wait for."""
        self.failure = ""
        """Valid when there is nothing to wait for."""
        self.unwell = False
        """Likewise: it answered, but not as a healthy one does."""
        self._http = probe.kind is ProbeKind.HTTP
        self._path = probe.path
        self._asks = _request(_text(address), probe) if self._http else b""
        self._where = (_text(address), probe.port)
        self._heard = b""

    def begin(self) -> None:
        """Begin to connect, which over `lo` is done then."""
        code = self.connection.connect_ex(self._where)
        if code not in {0, errno.EINPROGRESS}:
            self.end(os.strerror(code))

    def go_on(self) -> None:
        """Do what can be done now."""
        try:
            if self.events == select.EPOLLOUT:
                self._ask()
            if self.events == select.EPOLLIN:
                self._read()
        except OSError as error:
            self.end(os.strerror(error.errno or 0))

    def end(self, failure: str = "") -> None:
        """Have the answer."""
        self.events, self.failure = _NEVER, failure

    def _ask(self) -> None:
        if self._http:
            with suppress(BlockingIOError):  # not connected yet
                self.connection.send(self._asks)
                self.events = select.EPOLLIN
        elif (code := self.connection.connect_ex(self._where)) in {0, errno.EISCONN}:
            self.end()
        elif code != errno.EALREADY:
            self.end(os.strerror(code))

    def _read(self) -> None:
        try:
            part = self.connection.recv(_STATUS_LINE_BYTES)
        except BlockingIOError:
            return
        self._heard += part
        if b"\r\n" in self._heard or len(self._heard) >= _STATUS_LINE_BYTES:
            self._judge()
        elif not part:
            self.end("closed without an answer")

    def _judge(self) -> None:
        line = self._heard.partition(b"\r\n")[0].decode(errors="replace")
        version, _, rest = line.partition(" ")
        status = rest[:3]
        if not version.startswith("HTTP/1.") or not status.isdecimal():
            self.end(f"not an HTTP answer: {line[:60]!r}")
            return
        self.unwell = int(status) not in _OK_STATUS
        self.end(f"{self._path} answers {status}" if self.unwell else "")


class Round:
    """One probe of one instance: a question to each of its addresses."""

    def __init__(self, pid: int, probe: Probe, addresses: Sequence[Address]) -> None:
        """Ask process `pid`, when it is its turn."""
        self.pid = pid
        self.addresses = addresses
        self.questions: list[Question] = []
        """None before there are sockets, and if it is gone."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.timer: asyncio.TimerHandle | None = None
        self._probe = probe

    @property
    def left(self) -> list[Question]:
        """What has no answer yet."""
        return [each for each in self.questions if each.events]

    def open(self, sockets: Sequence[socket.socket]) -> None:
        """Have a socket for each address."""
        pairs = zip(sockets, self.addresses, strict=True)
        self.questions = [Question(each, self._probe, address) for each, address in pairs]

    def settle(self) -> bool:
        """Tell who waits if all is answered; return whether it is, or nobody waits."""
        if not self.done.done() and not self.left:
            self.close()
            self.done.set_result(None)
        return self.done.done()

    def give_up(self) -> None:
        """Have no answer from whoever has not answered by now."""
        for each in self.left:
            each.end(f"no answer within {self._probe.timeout_ms} ms")
        if not self.done.done():
            self.done.set_result(None)

    def wait(self) -> None:
        """Give up when its time is over."""
        seconds = self._probe.timeout_ms / 1000 - LOOK_SECONDS
        self.timer = self.done.get_loop().call_later(seconds, self.give_up)

    def close(self) -> None:
        """Close the sockets."""
        if self.timer is not None:
            self.timer.cancel()
        for each in self.questions:
            each.connection.close()


class Rounds:
    """Asks all who are to be asked now."""

    def __init__(self, open_sockets: Callable[[Sequence[Round]], None]) -> None:
        """Ask nobody yet; `open_sockets` opens each round where its instance is.

        What InvariantError it raises, is raised to all whom it was asked for.
        """
        self._open_sockets = open_sockets
        self._asked: list[Round] = []
        self._epoll = select.epoll()
        self._waiting: dict[int, Callable[[], None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, one: Round) -> None:
        """Return when all is answered, or its time is over."""
        self._asked.append(one)
        if len(self._asked) == 1:
            asyncio.get_running_loop().call_soon(self._begin)
        try:
            await one.done
        finally:
            for each in one.questions:
                self._forget(each.connection.fileno())
            one.close()

    @property
    def waiting(self) -> int:
        """How many sockets are watched for a late answer."""
        return len(self._waiting)

    def close(self) -> None:
        """Release what the kernel keeps for us."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        some, self._asked = self._asked[:AT_ONCE], self._asked[AT_ONCE:]
        if self._asked:
            loop.call_soon(self._begin)
        some = [each for each in some if not each.done.done()]
        try:
            self._open_sockets(some)
        except InvariantError as error:
            for each in some:
                each.done.set_exception(error)
            return
        questions = [question for each in some for question in each.questions]
        for question in questions:
            question.begin()
        for question in questions:
            question.go_on()
        if left := [each for each in some if not each.settle()]:
            loop.call_later(LOOK_SECONDS, self._look, left)

    def _look(self, rounds: Sequence[Round]) -> None:
        rounds = [each for each in rounds if not each.done.done()]
        for question in [question for each in rounds for question in each.left]:
            question.go_on()
        for one in [each for each in rounds if not each.settle()]:
            one.wait()
            for question in one.left:
                self._expect(one, question)

    def _expect(self, one: Round, question: Question) -> None:
        loop, fd = asyncio.get_running_loop(), question.connection.fileno()
        if self._loop is not loop:
            self._loop = loop
            loop.add_reader(self._epoll.fileno(), self._hear)
        change = self._epoll.modify if fd in self._waiting else self._epoll.register
        change(fd, question.events)
        self._waiting[fd] = functools.partial(self._go_on, one, question)

    def _hear(self) -> None:
        for fd, _ in self._epoll.poll(0):
            if call := self._waiting.get(fd):
                call()

    def _go_on(self, one: Round, question: Question) -> None:
        before = question.events
        question.go_on()
        if question.events == _NEVER:
            self._forget(question.connection.fileno())
            one.settle()
        elif question.events != before:
            self._expect(one, question)

    def _forget(self, fd: int) -> None:
        if self._waiting.pop(fd, None) is not None:
            self._epoll.unregister(fd)


@functools.lru_cache(maxsize=1024)
def _text(address: Address) -> str:
    return str(address)


def _request(host: str, probe: Probe) -> bytes:
    name = f"[{host}]" if ":" in host else host
    port = "" if probe.port == _HTTP_PORT else f":{probe.port}"
    words = f"GET {probe.path} HTTP/1.1\r\nHost: {name}{port}\r\nConnection: close\r\n\r\n"
    return words.encode()
