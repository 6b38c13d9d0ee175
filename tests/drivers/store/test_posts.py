"""The small HTTP client: what it says when there is no answer, and when it connects anew."""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable

import pytest

from pltfrms.drivers.store.posts import BrokenError, NotSentError, Posts
from tests.contracts.etcd import free_ports

_Speaks = Callable[[StreamReader, StreamWriter], Awaitable[None]]
_PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class _Server:
    """Says `answers` one after the other, in pieces; None: nothing, for ever."""

    def __init__(self, *answers: tuple[bytes, ...] | None) -> None:
        self.answers = list(answers)
        self.connections = 0
        self.questions: list[bytes] = []

    async def speak(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            self.questions.append(head + await reader.readexactly(length))
            pieces = self.answers.pop(0)
            if pieces is None:
                await reader.read()
                break
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.001)
            if b"" in pieces:
                break
        writer.close()


def _story(server: _Server, story: Callable[[Posts, str], Awaitable[None]]) -> None:
    async def run() -> None:
        listener = await asyncio.start_server(server.speak, "127.0.0.1", 0)
        at = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        posts = Posts({"X-Is": "there"}, 0.5, at_once=1)
        try:
            await asyncio.wait_for(story(posts, at), 10)
        finally:
            await posts.close()
            listener.close()
            await asyncio.sleep(0.01)

    asyncio.run(run())


def test_questions_share_a_connection_and_each_gets_its_own_answer_however_it_is_cut() -> None:
    chunked = b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x\r\n"
    server = _Server(
        (_PLAIN,),
        (*(bytes([byte]) for byte in chunked), b"0123456789\r\n0\r\nT: r\r\n", b"\r\n"),
        (b"HTTP/1.1 200 OK\r\ncontent-LENGTH:  1\r\n\r\n", b"!"),
    )

    async def story(posts: Posts, at: str) -> None:
        assert await posts.ask(at, "/v3/a", b"{1}", 5) == (200, b"{}")
        assert await posts.ask(at, "/v3/a", b"", 5) == (400, b"abc0123456789")
        assert await posts.ask(at, "/v3/a", b"", 5) == (200, b"!")
        assert server.connections == 1
        assert server.questions[0].startswith(b"POST /v3/a HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"\r\nX-Is: there\r\n" in server.questions[0]
        assert server.questions[0].endswith(b"\r\n\r\n{1}")

    _story(server, story)


@pytest.mark.parametrize("closing", [(_PLAIN, b""), (_PLAIN[:17] + b"Connection: close\r\n",)])
def test_a_connection_that_the_server_has_ended_is_not_asked_again(
    closing: tuple[bytes, ...],
) -> None:
    whole = closing if b"" in closing else (closing[0] + _PLAIN[17:],)
    server = _Server(whole, (_PLAIN,))

    async def story(posts: Posts, at: str) -> None:
        for _ in range(2):
            assert await posts.ask(at, "/", b"", 5) == (200, b"{}")
            await asyncio.sleep(0.05)
        assert server.connections == 2

    _story(server, story)


def test_what_was_asked_and_not_answered_may_be_done_and_is_not_mixed_up_with_the_next() -> (
    None
):
    broken = (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"")
    server = _Server(None, broken, (b"what is this\r\n\r\n",), (_PLAIN,))

    async def story(posts: Posts, at: str) -> None:
        for _ in range(3):
            with pytest.raises(BrokenError):
                await posts.ask(at, "/", b"", 0.2)
        assert await posts.ask(at, "/", b"", 5) == (200, b"{}")
        assert server.connections == 4

    _story(server, story)


def test_what_found_no_connection_or_no_turn_was_certainly_not_done() -> None:
    server = _Server(None, None)

    async def story(posts: Posts, at: str) -> None:
        with pytest.raises(NotSentError):
            await posts.ask(f"http://127.0.0.1:{free_ports(1)[0]}", "/", b"", 5)
        first = asyncio.create_task(posts.ask(at, "/", b"", 0.4))
        await asyncio.sleep(0.1)
        with pytest.raises(NotSentError):
            await posts.ask(at, "/", b"", 0.1)
        with pytest.raises(BrokenError):
            await first
        assert len(server.questions) == 1

    _story(server, story)
