"""One round of a probe: one question over each address of an instance, at the same time.

A node asks hundreds of times in a second, so this does without a task, a timer and a place in
the event loop for each question. Over `lo` the kernel connects within the call, so that the
question is usually out before anybody waits; one epoll of our own tells of all answers.
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

from pltfrms.model.addresses import Address
from pltfrms.model.services.service import Probe, ProbeKind

_HTTP_PORT: Final = 80
_STATUS_LINE_BYTES: Final = 1024
_OK_STATUS: Final = range(200, 400)
_NEVER: Final = 0
"""No epoll event: the question has its answer."""


class Answers:
    """Tells who waits for a socket that something has happened there."""

    def __init__(self) -> None:
        """Wait for nothing."""
        self._epoll = select.epoll()
        self._waiting: dict[int, Callable[[], None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def expect(self, fd: int, events: int, call: Callable[[], None]) -> None:
        """Call when one of the events has come, again and again, until `forget`."""
        self._listen()
        if fd in self._waiting:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._waiting[fd] = call

    def forget(self, fd: int) -> None:
        """Wait no more; to be called before the socket is closed."""
        if self._waiting.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    @property
    def waiting(self) -> int:
        """For how many sockets somebody waits."""
        return len(self._waiting)

    def close(self) -> None:
        """Release what the kernel keeps for us."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            loop.add_reader(self._epoll.fileno(), self._hear)

    def _hear(self) -> None:
        for fd, _ in self._epoll.poll(0):
            if call := self._waiting.get(fd):
                call()


class Question:
    """One question to one address, over a socket that does not block."""

    def __init__(self, connection: socket.socket, probe: Probe, address: Address) -> None:
        """Begin to connect, and ask if that is all it takes."""
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
        code = connection.connect_ex(self._where)
        if code in {0, errno.EINPROGRESS}:
            self.go_on()  # over `lo` it is connected by now
        else:
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


async def ask_all(answers: Answers, questions: Sequence[Question], seconds: float) -> bool:
    """Wait until all have their answers; return whether that was within so many seconds."""
    left = [question for question in questions if question.events]
    if not left:
        return True
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bool] = loop.create_future()
    timer = loop.call_later(seconds, _settle, done, False)  # noqa: FBT003

    def hear(question: Question) -> None:
        before = question.events
        question.go_on()
        fd = question.connection.fileno()
        if question.events == _NEVER:
            answers.forget(fd)
            left.remove(question)
            if not left:
                _settle(done, True)  # noqa: FBT003
        elif question.events != before:
            answers.expect(fd, question.events, functools.partial(hear, question))

    try:
        for each in left:
            call = functools.partial(hear, each)
            answers.expect(each.connection.fileno(), each.events, call)
        return await done
    finally:
        timer.cancel()
        for each in left:
            answers.forget(each.connection.fileno())


def _settle(done: asyncio.Future[bool], answer: bool) -> None:  # noqa: FBT001
    if not done.done():
        done.set_result(answer)


@functools.lru_cache(maxsize=1024)
def _text(address: Address) -> str:
    return str(address)


def _request(host: str, probe: Probe) -> bytes:
    name = f"[{host}]" if ":" in host else host
    port = "" if probe.port == _HTTP_PORT else f":{probe.port}"
    words = f"GET {probe.path} HTTP/1.1\r\nHost: {name}{port}\r\nConnection: close\r\n\r\n"
    return words.encode()
