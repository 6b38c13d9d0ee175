"""Asking services at their own addresses, over loopback."""

import asyncio
import errno
import socket
from ipaddress import ip_address

import pytest

from pltfrms.drivers.workload.probes.from_here import FromHere
from pltfrms.errors import UnavailableError
from pltfrms.model.running.machine import ProbeAnswer
from pltfrms.model.services.service import Probe, ProbeKind

HERE = ip_address("127.0.0.1")


def asked(answer: bytes, kind: ProbeKind = ProbeKind.HTTP) -> ProbeAnswer:
    """Return what is made of an answer of a server on loopback."""

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def story() -> ProbeAnswer:
        server = await asyncio.start_server(serve, str(HERE), 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            return await FromHere().ask(HERE, Probe(kind=kind, port=port, timeout_ms=9000))

    return asyncio.run(story())


def ask(address: str, port: int = 9) -> ProbeAnswer:
    """Return what comes of asking for a connection."""
    probe = Probe(kind=ProbeKind.TCP, port=port)
    return asyncio.run(FromHere().ask(ip_address(address), probe))


def test_an_answer_is_an_answer_and_may_say_who_gives_it() -> None:
    assert asked(b"HTTP/1.1 204 No Content\r\n\r\n") == ProbeAnswer()
    said = b"HTTP/1.1 200 OK\r\nPltfrms-Instance: web.fra.1-3\r\nContent-Length: 0\r\n\r\n"
    assert asked(said) == ProbeAnswer(by="web.fra.1-3")
    assert asked(b"", ProbeKind.TCP) == ProbeAnswer()


@pytest.mark.parametrize("name", ["Web", "a b", "\xe9", "x" * 101, "-a", ""])
def test_who_says_strange_names_says_none(name: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nPltfrms-Instance: {name}\r\nContent-Length: 0\r\n\r\n"
    assert asked(head.encode("latin-1")).by == ""


def test_who_refuses_has_failed() -> None:
    assert "refused" in ask("127.0.0.1", 1).failure.lower()


class Cut(socket.socket):
    """A socket of a machine without routes."""

    def connect(self, _address: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")


def test_without_a_way_nothing_is_known_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pltfrms.drivers.workload.probes.from_here.socket.socket", Cut)
    with pytest.raises(UnavailableError, match=r"no way to 192\.0\.2\.1 from here: Network"):
        ask("192.0.2.1")
