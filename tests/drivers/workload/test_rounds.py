"""Questions over sockets that do not block: at once, in pieces, late, and never."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from ipaddress import IPv4Address

from pltfrms.drivers.workload.probes.rounds import AT_ONCE, LOOK_SECONDS, Round, Rounds
from pltfrms.errors import InvariantError
from pltfrms.model.services.service import Probe, ProbeKind

HERE = IPv4Address("127.0.0.1")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def plain_sockets(rounds: Sequence[Round]) -> None:
    for each in rounds:
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK
        each.open([socket.socket(socket.AF_INET, kind) for _ in each.addresses])


async def failures(rounds: Rounds, probe: Probe, count: int = 1) -> list[str]:
    """Ask one instance at so many addresses; return what was wrong with each."""
    one = Round(0, probe, [HERE] * count)
    await rounds.ask(one)
    return [question.failure for question in one.questions]


def answers_of(
    parts: Sequence[bytes], kind: ProbeKind = ProbeKind.HTTP, count: int = 3
) -> list[str]:
    """Ask a server that answers in these parts; return what was wrong with its answers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0.01)

    async def run() -> list[str]:
        server = await asyncio.start_server(serve, str(HERE), 0)
        port = server.sockets[0].getsockname()[1]
        rounds, before = Rounds(plain_sockets), os.listdir("/proc/self/fd")  # noqa: PTH208
        probe = Probe(kind=kind, port=port, path="/x", timeout_ms=5000)
        said = await failures(rounds, probe, count)
        assert not rounds.waiting
        assert len(os.listdir("/proc/self/fd")) <= len(before) + count  # noqa: PTH208 - theirs
        rounds.close()
        server.close()
        return said

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
        assert answers_of(parts) == [said] * 3


def test_to_be_connected_is_all_that_tcp_is_asked_for() -> None:
    assert answers_of([], ProbeKind.TCP) == [""] * 3


def test_who_refuses_is_told_at_once_and_who_takes_nobody_costs_the_whole_time() -> None:
    async def run() -> None:
        rounds = Rounds(plain_sockets)
        with closing(socket.socket()) as server:
            server.bind((str(HERE), 0))
            port = server.getsockname()[1]
            for kind in (ProbeKind.TCP, ProbeKind.HTTP):
                probe = Probe(kind=kind, port=port, timeout_ms=3_600_000)
                assert await failures(rounds, probe) == ["Connection refused"]
            server.listen(0)  # room for one that nobody fetches
            probe = Probe(kind=ProbeKind.HTTP, port=port, timeout_ms=100)
            began = time.monotonic()
            assert await failures(rounds, probe, 4) == ["no answer within 100 ms"] * 4
            assert time.monotonic() - began >= 0.1
        assert not rounds.waiting
        rounds.close()

    asyncio.run(run())


def test_one_who_waits_no_more_leaves_nothing_behind() -> None:
    async def run() -> None:
        rounds, before = Rounds(plain_sockets), os.listdir("/proc/self/fd")  # noqa: PTH208
        with closing(socket.socket()) as server:
            server.bind((str(HERE), 0))
            server.listen(8)
            probe = Probe(kind=ProbeKind.HTTP, port=server.getsockname()[1], timeout_ms=60_000)
            for seconds in (0, 10 * LOOK_SECONDS):  # before anything is asked, and late
                asking = asyncio.ensure_future(failures(rounds, probe, 2))
                await asyncio.sleep(seconds)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
                assert not rounds.waiting
            await asyncio.sleep(0)
        assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
        rounds.close()

    asyncio.run(run())


class _Watched(Rounds):
    """Answers as a server does before the first look, and counts what it takes."""

    def __init__(self, server: socket.socket) -> None:
        super().__init__(self._open_and_count)
        self.server, self.together, self.unheard = server, list[int](), 0

    def _open_and_count(self, rounds: Sequence[Round]) -> None:
        self.together.append(len(rounds))
        plain_sockets(rounds)

    def _look(self, rounds: Sequence[Round]) -> None:
        for one in rounds:
            for _ in one.questions:
                with closing(self.server.accept()[0]) as far_end:
                    far_end.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        super()._look(rounds)
        self.unheard += self.waiting


def test_all_who_ask_now_are_asked_together_and_one_look_fetches_their_answers() -> None:
    async def run() -> None:
        with closing(socket.create_server((str(HERE), 0), backlog=128)) as server:
            rounds = _Watched(server)
            port = server.getsockname()[1]
            probe = Probe(kind=ProbeKind.HTTP, port=port, timeout_ms=3_600_000)
            said = await asyncio.gather(*(failures(rounds, probe, 2) for _ in range(30)))
            assert said == [["", ""]] * 30
            assert rounds.together == [AT_ONCE, 30 - AT_ONCE]
            assert rounds.unheard == 0
        rounds.close()

    asyncio.run(run())


def test_who_cannot_come_home_says_so_to_all_who_have_asked() -> None:
    def lost(_rounds: Sequence[Round]) -> None:
        raise InvariantError("lost")

    async def run() -> None:
        rounds = Rounds(lost)
        probe = Probe(kind=ProbeKind.TCP, port=1, timeout_ms=3_600_000)
        asking = [failures(rounds, probe) for _ in range(2)]
        said = await asyncio.gather(*asking, return_exceptions=True)
        assert [str(each) for each in said] == ["lost", "lost"]
        rounds.close()

    asyncio.run(run())
