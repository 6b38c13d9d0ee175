"""Questions and answers between the lab's own processes: JSON over a pair of packet sockets."""

import json
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from pltfrms.errors import PltfrmsError, UnavailableError

Message = dict[str, Any]


class GoneError(UnavailableError):
    """The process at the other end has ended, or hangs."""


_MESSAGE_BYTES = 256 * 1024
_PATIENCE_SECONDS = 10.0


class Channel:
    """One end of a pair; every message arrives whole."""

    def __init__(self, end: socket.socket) -> None:
        """Take over `end`, an AF_UNIX SOCK_SEQPACKET socket."""
        self._end = end
        self._asked = 0

    @classmethod
    def pair(cls) -> tuple["Channel", "Channel"]:
        """Return both ends of a new channel."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one), cls(other)

    @classmethod
    def from_descriptor(cls, descriptor: int) -> "Channel":
        """Return the end behind a descriptor that was received or inherited."""
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self._end.fileno()

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message, with copies of open descriptors.

        Raises:
            GoneError: the other end is gone.
        """
        try:
            socket.send_fds(self._end, [json.dumps(message).encode()], descriptors)
        except OSError as error:
            raise GoneError(f"the process at the other end is gone: {error}") from error

    def receive(self) -> tuple[Message, list[int]]:
        """Wait for a message and return it with its descriptors.

        Raises:
            EOFError: the other end is gone.
            TimeoutError: nothing came in time (only while waiting for an answer).
        """
        try:
            text, descriptors, _, _ = socket.recv_fds(self._end, _MESSAGE_BYTES, 4)
        except ConnectionError as error:
            raise EOFError from error
        if not text:
            raise EOFError
        return json.loads(text), descriptors

    def put(self, question: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a question whose answer `answer` will return.

        Raises:
            GoneError: the other end is gone.
        """
        self._asked += 1
        self.send({**question, "number": self._asked}, descriptors)

    def answer(self) -> Message:
        """Wait up to 10 s for the answer to the last question; late ones to others are dropped.

        Raises:
            GoneError: no answer.
            UnavailableError: the answer is an error.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        try:
            while True:
                self._end.settimeout(max(0.001, deadline - time.monotonic()))
                reply, _ = self.receive()
                if reply["number"] == self._asked:
                    break
        except (EOFError, TimeoutError) as error:
            raise GoneError("a process of the lab does not answer") from error
        finally:
            self._end.settimeout(None)
        if "error" in reply:
            raise UnavailableError(reply["error"])
        return reply

    def ask(self, question: Message, descriptors: Sequence[int] = ()) -> Message:
        """Send a question and return its answer.

        Raises:
            GoneError: no answer within 10 s.
            UnavailableError: the answer is an error.
        """
        self.put(question, descriptors)
        return self.answer()

    def serve(self, handle: Callable[[Message, list[int]], Message]) -> None:
        """Receive one question and send what `handle` makes of it.

        Raises:
            EOFError: the other end is gone.
        """
        question, descriptors = self.receive()
        try:
            reply = handle(question, descriptors)
        except (PltfrmsError, OSError) as error:
            reply = {"error": str(error)}
        self.send({**reply, "number": question["number"]})

    def close(self) -> None:
        """Close this end."""
        self._end.close()
