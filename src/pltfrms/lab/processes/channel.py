"""Questions and answers between the lab's own processes: JSON over a pair of packet sockets."""

import json
import socket
from collections.abc import Callable, Sequence
from typing import Any

from pltfrms.errors import PltfrmsError, UnavailableError
from pltfrms.lab.processes.patience import Patience

Message = dict[str, Any]


class GoneError(UnavailableError):
    """The process at the other end has ended, or hangs."""


_MESSAGE_BYTES = 256 * 1024
_PATIENCE_SECONDS = 10.0
"""On a quiet machine."""
_LOOK_SECONDS = 1.0
"""How often to look whether the load has grown."""


class Channel:
    """One end of a pair; every message arrives whole."""

    def __init__(self, end: socket.socket) -> None:
        """Take over `end`, an AF_UNIX SOCK_SEQPACKET socket."""
        self._end = end
        self._asked = 0
        self.other = "a process of the lab"
        """Who is at the other end, for messages."""
        self._question = ""
        self._last = "it has never answered"

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
            raise GoneError(f"{self.other} is gone: {error}; {self._last}") from error

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
        self._question = str(question.get("do", ""))
        self.send({**question, "number": self._asked}, descriptors)

    def answer(self) -> Message:
        """Wait for the answer to the last question; late ones to others are dropped.

        Up to 10 s, and longer where many processes want the processors.

        Raises:
            GoneError: no answer; says who was asked what, and answered what last.
            UnavailableError: the answer is an error.
        """
        patience = Patience(_PATIENCE_SECONDS)
        try:
            reply = self._await_reply(patience)
        except EOFError as error:
            raise GoneError(
                f"{self.other} has ended before it answered {self._question!r}; {self._last}"
            ) from error
        finally:
            self._end.settimeout(None)
        self._last = f"it last answered {self._question!r}"
        if "error" in reply:
            raise UnavailableError(reply["error"])
        return reply

    def _await_reply(self, patience: Patience) -> Message:
        while left := patience.left():
            self._end.settimeout(min(left, _LOOK_SECONDS))
            try:
                reply, _ = self.receive()
            except TimeoutError:
                continue
            if reply["number"] == self._asked:
                return reply
        raise GoneError(
            f"{self.other} does not answer {self._question!r} {patience.sentence}; {self._last}"
        )

    def ask(self, question: Message, descriptors: Sequence[int] = ()) -> Message:
        """Send a question and return its answer.

        Raises:
            GoneError: no answer in time; see `answer`.
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
