"""Questions over sockets that do not block: at once, in pieces, late, and never."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from ipaddress import IPv4Address

from pltfrms.drivers.workload.rounds import Answers, Question, ask_all
from pltfrms.model.services.service import Probe, ProbeKind

HERE = IPv4Address("127.0.0.1")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def asked(probe: Probe, count: int) -> Iterator[list[Question]]:
    sockets = [
        socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        for _ in range(count)
    ]
    try:
        yield [Question(each, probe, HERE) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def answers_of(
    parts: Sequence[bytes], kind: ProbeKind = ProbeKind.HTTP, count: int = 3
) -> tuple[bool, list[str]]:
    """Ask a server that answers in these parts; return whether all had one in time."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0.01)

    async def run() -> tuple[bool, list[str]]:
        server = await asyncio.start_server(serve, str(HERE), 0)
        port = server.sockets[0].getsockname()[1]
        answers, before = Answers(), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        with asked(Probe(kind=kind, port=port, path="/x"), count) as questions:
            in_time = await ask_all(answers, questions, 1.0)
        assert len(os.listdir("/proc/self/fd")) <= before + count  # noqa: PTH208 - theirs
        answers.close()
        server.close()
        return in_time, [question.failure for question in questions]

    return asyncio.run(run())


def test_an_answer_is_judged_by_its_status_line_in_however_many_pieces() -> None:
    for parts, said in (
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], ""),
        ([b"HT", b"TP/1.1 2", b"04 No Content\r", b"\n"], ""),
        ([b"HTTP/1.0 399 Odd\r\n"], ""),
        ([b"HTTP/1.1 400 No\r\n"], "/x answers 400"),
        ([b"HTTP/1.1 2", b"00"], "closed without an answer"),
        ([], "closed without an answer"),
        ([b"hello\r\n"], "not an HTTP answer: 'hello'"),
        ([b"x" * 600, b"x" * 600], f"not an HTTP answer: {'x' * 60!r}"),
    ):
        assert answers_of(parts) == (True, [said] * 3)


def test_to_be_connected_is_all_that_tcp_is_asked_for() -> None:
    assert answers_of([], ProbeKind.TCP) == (True, [""] * 3)


def test_who_refuses_is_told_at_once_and_who_takes_nobody_costs_the_whole_time() -> None:
    async def run() -> None:
        answers = Answers()
        with closing(socket.socket()) as server:
            server.bind((str(HERE), 0))
            port = server.getsockname()[1]
            for kind in (ProbeKind.TCP, ProbeKind.HTTP):
                with asked(Probe(kind=kind, port=port), 1) as questions:
                    assert await ask_all(answers, questions, 0.0)
                assert questions[0].failure == "Connection refused"
            server.listen(0)  # room for one that nobody fetches
            probe = Probe(kind=ProbeKind.HTTP, port=port)
            with asked(probe, 4) as questions:
                assert not await ask_all(answers, questions, 0.1)
                waiting = [question for question in questions if question.events]
                assert len(waiting) == 4
                assert await ask_all(answers, [], 0.0)
        answers.close()

    asyncio.run(run())


def test_one_who_waits_no_more_leaves_nothing_behind() -> None:
    async def run() -> None:
        answers = Answers()
        with closing(socket.socket()) as server:
            server.bind((str(HERE), 0))
            server.listen(8)
            probe = Probe(kind=ProbeKind.HTTP, port=server.getsockname()[1])
            with asked(probe, 2) as questions:
                asking = asyncio.ensure_future(ask_all(answers, questions, 60.0))
                await asyncio.sleep(0)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
                assert not answers.waiting
        answers.close()

    asyncio.run(run())
