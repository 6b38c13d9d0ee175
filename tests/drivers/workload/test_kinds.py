"""What servers on loopback answer, and what probes make of it."""

import asyncio
import socket
import ssl
import struct
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pltfrms.drivers.workload.probes.kinds.asking import ask_each, is_plain, takes_datagrams
from pltfrms.model.running.machine import ProbeAnswer
from pltfrms.model.services.probes import ProbeDns, ProbeHttp, ProbeTls, ProbeUdp
from pltfrms.model.services.service import Probe, ProbeKind

HERE = IPv4Address("127.0.0.1")
WELL = ProbeAnswer()
HTTP = Probe(kind=ProbeKind.HTTP, path="/x", timeout_ms=5000)
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def unwell(failure: str) -> ProbeAnswer:
    return ProbeAnswer(failure=failure, unwell=True)


async def ask(probe: Probe, port: int) -> ProbeAnswer:
    kind = socket.SOCK_DGRAM if takes_datagrams(probe) else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK) as one:
        return (await ask_each([one], replace(probe, port=port), [HERE]))[0]


@asynccontextmanager
async def served(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await serve(reader, writer)

    server = await asyncio.start_server(guarded, str(HERE), 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


def answering(answer: bytes, heard: list[bytes] | None = None) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        if heard is not None:
            heard.append(asked)
        writer.write(answer)

    return serve


def http_answer(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d Some\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n"
)
CUT_OFF = b"HTTP/1.1 503 Some\r\nContent-Length: 9\r\n\r\nill"

# ---- http ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "answer", "said"),
    [
        (ProbeHttp(body="ready"), http_answer(b"all ready"), WELL),
        (
            ProbeHttp(body="ready"),
            http_answer(b"\nloading\nmore"),
            unwell("/x answers 200: loading, without 'ready'"),
        ),
        (
            ProbeHttp(body="ready"),
            CHUNKED,
            WELL,
        ),
        (ProbeHttp(body="ready"), b"HTTP/1.0 200 OK\r\n\r\nready", WELL),
        (ProbeHttp(status=(404,)), http_answer(b"", 404), WELL),
        (ProbeHttp(status=(200, 404)), http_answer(b"", 301), unwell("/x answers 301")),
        (ProbeHttp(host="a"), http_answer(b"late\x1b", 503), unwell("/x answers 503: late?")),
        (ProbeHttp(host="a"), b"HTTP/1.1 103 Hint\r\n\r\n" + http_answer(b""), WELL),
        (ProbeHttp(host="a"), b"", ProbeAnswer(failure="closed without an answer")),
        (ProbeHttp(host="a"), CUT_OFF, unwell("/x answers 503: ill")),
    ],
)
def test_an_answer_is_judged_by_status_and_body(
    wanted: ProbeHttp, answer: bytes, said: ProbeAnswer
) -> None:
    async def run() -> None:
        async with served(answering(answer)) as port:
            assert await ask(replace(HTTP, http=wanted), port) == said

    asyncio.run(run())


def test_what_speaks_no_http_is_not_taken_for_ill() -> None:
    async def run() -> None:
        async with served(answering(b"SSH-2.0-what\r\n\r\n")) as port:
            said = await ask(replace(HTTP, http=ProbeHttp(host="a")), port)
            assert said.failure.startswith("not an HTTP answer")
            assert not said.unwell

    asyncio.run(run())


def test_the_question_has_the_host_and_headers_that_are_wanted() -> None:
    async def run() -> None:
        heard: list[bytes] = []
        async with served(answering(http_answer(b""), heard)) as port:
            wanted = ProbeHttp(host="www.example.net", headers=(("X-Probe", "yes please"),))
            assert await ask(replace(HTTP, http=wanted), port) == WELL
            assert await ask(replace(HTTP, http=ProbeHttp(status=(200,))), port) == WELL
        lines = [each.decode().split("\r\n") for each in heard]
        assert lines[0][0] == "GET /x HTTP/1.1"
        assert "Host: www.example.net" in lines[0]
        assert "X-Probe: yes please" in lines[0]
        assert f"Host: 127.0.0.1:{port}" in lines[1]

    asyncio.run(run())


def test_an_endless_body_is_read_only_so_far() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 4096)
            await writer.drain()

    async def run() -> None:
        async with served(endless) as port:
            said = await ask(replace(HTTP, http=ProbeHttp(body="ready")), port)
            assert said.unwell
            assert said.failure.endswith("without 'ready'")

    asyncio.run(run())


# ---- tls -----------------------------------------------------------------------------------


@cache
def certificate() -> tuple[str, bytes]:
    """Return what signs itself as www.example.net, and with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "www.example.net")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("www.example.net")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem.decode(), pem + private


def tls_of(directory: Path) -> ssl.SSLContext:
    (directory / "both.pem").write_bytes(certificate()[1])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "both.pem")
    return context


def test_tls_believes_the_own_authority_and_nobody_else(tmp_path: Path) -> None:
    ours = ProbeTls(name="www.example.net", ca=certificate()[0])

    async def run() -> None:
        async with served(answering(http_answer(b"ready")), tls_of(tmp_path)) as port:
            for tls, said in (
                (ours, ""),
                (ProbeTls(unverified=True), ""),
                (ProbeTls(name="www.example.net"), "its certificate is not accepted here"),
                (
                    replace(ours, name="other.example.net"),
                    "its certificate is not accepted here",
                ),
            ):
                for kind in (ProbeKind.HTTP, ProbeKind.TCP):
                    answer = await ask(replace(HTTP, kind=kind, tls=tls), port)
                    assert answer.failure.startswith(said)
                    assert bool(answer.failure) is bool(said)
                    assert answer.unwell is bool(said), "somebody answers there"
            for host in ("www.example.net", "www.example.net:8443"):
                named = replace(HTTP, http=ProbeHttp(host=host, body="ready"))
                assert await ask(replace(named, tls=replace(ours, name="")), port) == WELL

    asyncio.run(run())


def test_the_certificates_of_the_system_are_read_once_whatever_names_are_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ssl.SSLContext] = []
    real = ssl.create_default_context

    def counted(*, cadata: str | None) -> ssl.SSLContext:
        made.append(real(cadata=cadata))
        return made[-1]

    monkeypatch.setattr(ssl, "create_default_context", counted)

    async def run() -> None:
        async with served(answering(http_answer(b"")), tls_of(tmp_path)) as port:
            for name in ("a.example.net", "b.example.net", "c.example.net"):
                said = await ask(replace(HTTP, tls=ProbeTls(name=name)), port)
                assert said.unwell

    asyncio.run(run())
    assert len(made) <= 1, "another test may have read them before"


def test_what_speaks_no_tls_is_not_taken_for_ill() -> None:
    async def run() -> None:
        async with served(answering(http_answer(b""))) as port:
            said = await ask(replace(HTTP, tls=ProbeTls(unverified=True), timeout_ms=500), port)
            assert said.failure
            assert not said.unwell

    asyncio.run(run())


def shake_hands(listening: socket.socket, tls: ssl.SSLContext, let: Callable[[], None]) -> None:
    """Answer one who begins TLS, and then `let` happen what is to happen before it is sent.

    A client's side of the handshake is done by that: it waits for nothing further.
    """
    plain, _ = listening.accept()
    heard, says = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = tls.wrap_bio(heard, says, server_side=True)
    plain.settimeout(10)
    with plain, suppress(OSError):
        heard.write(plain.recv(65536))
        with suppress(ssl.SSLWantReadError):
            ours.do_handshake()
        let()
        plain.sendall(says.read())
        while plain.recv(65536):
            pass


def test_a_handshake_that_ends_with_the_time_for_it_holds_up_nobody_else(
    tmp_path: Path,
) -> None:
    """What is left of a connection that was given up must not be found by the next one."""
    given_up = replace(HTTP, tls=ProbeTls(unverified=True), timeout_ms=500)
    blocked = threading.Event()

    def block() -> None:
        """Let the time be over and the handshake be done when the loop looks next."""
        blocked.set()
        time.sleep(given_up.timeout_ms / 1000)

    async def main(listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        def let() -> None:
            loop.call_soon_threadsafe(block)
            blocked.wait(10)

        thread = threading.Thread(target=shake_hands, args=(listening, tls_of(tmp_path), let))
        thread.start()
        said = await ask(given_up, listening.getsockname()[1])
        assert said == ProbeAnswer(failure="no answer within 500 ms")
        async with served(answering(http_answer(b"well"))) as port:
            assert await ask(replace(HTTP, http=ProbeHttp(body="well")), port) == WELL
        thread.join()

    with socket.create_server((str(HERE), 0)) as listening:
        asyncio.run(main(listening))


# ---- udp, dns ------------------------------------------------------------------------------


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self.heard: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append(data)
        if answer := self._answer(data):
            self._transport.sendto(answer, addr)


async def ask_datagrams(
    probe: Probe, answer: Callable[[bytes], bytes]
) -> tuple[ProbeAnswer, list[bytes]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: Datagrams(answer), local_addr=(str(HERE), 0)
    )
    try:
        port = transport.get_extra_info("sockname")[1]
        return await ask(probe, port), server.heard
    finally:
        transport.close()


def udp(send: str, expect: str = "") -> Probe:
    return Probe(kind=ProbeKind.UDP, udp=ProbeUdp(send=send, expect=expect), timeout_ms=5000)


def test_a_datagram_is_sent_byte_by_byte_and_its_answer_looked_at() -> None:
    async def run() -> None:
        said, heard = await ask_datagrams(udp("\x01\xffping", "pong"), lambda _: b"..pong")
        assert (said, heard) == (WELL, [b"\x01\xffping"])
        assert (await ask_datagrams(udp("x"), lambda _: b"\0"))[0] == WELL
        said, _ = await ask_datagrams(udp("x", "pong"), lambda _: b"busy")
        assert said == unwell("answers without 'pong': 'busy'")
        silent = replace(udp("x"), timeout_ms=50)
        said, _ = await ask_datagrams(silent, lambda _: b"")
        assert said == ProbeAnswer(failure="no answer within 50 ms")

    asyncio.run(run())


def test_nobody_behind_a_port_is_noticed_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((str(HERE), 0))
        port = taken.getsockname()[1]
    assert asyncio.run(ask(udp("x"), port)) == ProbeAnswer(failure="Connection refused")


def dns(**said: str) -> Probe:
    query = ProbeDns(**{"name": "www.example.net", **said})
    return Probe(kind=ProbeKind.DNS, dns=query, timeout_ms=5000)


def dns_answer(question: bytes, rcode: int, *addresses: str) -> bytes:
    """Return an answer whose records point to the name in the question."""
    alias = b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 60, 2) + b"\xc0\x0c"
    records = b"".join(
        b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + IPv4Address(each).packed
        for each in addresses
    )
    count = 1 + len(addresses)
    return (
        question[:2]
        + struct.pack("!HHHHH", 0x8180 | rcode, 1, count, 0, 0)
        + (question[12:] + alias + records)
    )


@pytest.mark.parametrize(
    ("wanted", "rcode", "addresses", "said"),
    [
        ({}, 0, (), WELL),
        ({}, 2, (), unwell("www.example.net A answers SERVFAIL")),
        ({}, 11, (), unwell("www.example.net A answers code 11")),
        ({"rcode": "NXDOMAIN"}, 3, (), WELL),
        ({"rcode": "REFUSED"}, 0, (), unwell("www.example.net A answers NOERROR")),
        ({"answer": "192.0.2.2"}, 0, ("192.0.2.1", "192.0.2.2"), WELL),
        (
            {"answer": "192.0.2.2"},
            0,
            ("192.0.2.1",),
            unwell("www.example.net A answers 192.0.2.1, not 192.0.2.2"),
        ),
        (
            {"answer": "192.0.2.2"},
            0,
            (),
            unwell("www.example.net A answers no address, not 192.0.2.2"),
        ),
    ],
)
def test_a_name_server_is_judged_by_code_and_address(
    wanted: dict[str, str], rcode: int, addresses: tuple[str, ...], said: ProbeAnswer
) -> None:
    async def run() -> None:
        answer = lambda question: dns_answer(question, rcode, *addresses)  # noqa: E731
        got, heard = await ask_datagrams(dns(**wanted), answer)
        assert got == said
        assert heard[0][2:] == (
            b"\x01\x00\0\1\0\0\0\0\0\0\x03www\x07example\x03net\0\0\x01\0\x01"
        )

    asyncio.run(run())


@pytest.mark.parametrize(
    ("garbage", "said"),
    [
        (lambda _: b"x", "not a DNS answer"),
        (lambda question: b"??" + question[2:], "not an answer to what was asked"),
        (lambda question: question, "not an answer to what was asked"),
        (lambda question: dns_answer(question, 0, "192.0.2.1")[:-9], "not a DNS answer"),
    ],
)
def test_what_is_no_answer_of_a_name_server_is_said(
    garbage: Callable[[bytes], bytes], said: str
) -> None:
    async def run() -> None:
        got, _ = await ask_datagrams(dns(answer="192.0.2.1"), garbage)
        assert got == ProbeAnswer(failure=said)

    asyncio.run(run())


# ---- grpc ----------------------------------------------------------------------------------

GRPC = Probe(kind=ProbeKind.GRPC, timeout_ms=5000)


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    return len(payload).to_bytes(3) + struct.pack("!BBI", kind, flags, stream) + payload


def message(body: bytes) -> bytes:
    return struct.pack("!BI", 0, len(body)) + body


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    head = await reader.readexactly(9)
    payload = await reader.readexactly(int.from_bytes(head[:3]))
    return head[3], head[4], payload


def health(*frames: bytes, heard: list[bytes] | None = None) -> Serve:
    """Return a server that answers so, once it has heard the whole question."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(24) == b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        writer.write(frame(4, b"\0\4\0\0\1\0"))
        while True:
            kind, flags, payload = await read_frame(reader)
            if kind == 0 and flags & 1:
                break
        if heard is not None:
            heard.append(payload)
        writer.write(b"".join(frames))

    return serve


SERVING = frame(1, b"\x88", 4, 1) + frame(0, message(b"\x08\x01"), 0, 1) + frame(1, b"", 5, 1)


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ((SERVING,), WELL),
        ((frame(6, b"12345678"), frame(4, flags=1), frame(8, b"\0\0\0\1"), SERVING), WELL),
        ((frame(0, b"\2" + message(b"\x08\x01") + b"\0\0", 8, 1),), WELL),
        ((frame(0, message(b"\x08\x01")[:3], 0, 1), frame(0, b"\0\2\x08\1", 0, 1)), WELL),
        ((frame(0, message(b"\x08\x02"), 1, 1),), unwell("answers NOT_SERVING")),
        ((frame(0, message(b""), 1, 1),), unwell("answers UNKNOWN")),
        ((frame(1, b"\x88", 5, 1),), unwell("answers without a state")),
        ((frame(3, b"\0\0\0\2", 0, 1),), unwell("answers without a state")),
        ((), ProbeAnswer(failure="closed without an answer")),
        ((frame(0, b"x" * 20_000, 0, 1),), ProbeAnswer(failure="not an answer in HTTP/2")),
    ],
)
def test_a_server_is_judged_by_its_health(frames: tuple[bytes, ...], said: ProbeAnswer) -> None:
    async def run() -> None:
        async with served(health(*frames)) as port:
            assert await ask(GRPC, port) == said

    asyncio.run(run())


def test_a_service_of_a_server_is_asked_for_by_its_name() -> None:
    async def run() -> None:
        heard: list[bytes] = []
        async with served(health(SERVING, heard=heard)) as port:
            assert await ask(replace(GRPC, grpc_service="shop.Cart"), port) == WELL
        assert heard == [message(b"\x0a\x09shop.Cart")]

    asyncio.run(run())


def test_what_speaks_no_http2_is_said() -> None:
    async def run() -> None:
        async with served(answering(http_answer(b"", 400))) as port:
            assert await ask(GRPC, port) == ProbeAnswer(failure="not an answer in HTTP/2")

    asyncio.run(run())


def test_what_is_asked_a_hundred_times_a_second_is_asked_without_all_this() -> None:
    assert is_plain(HTTP)
    assert is_plain(Probe(kind=ProbeKind.TCP))
    assert not is_plain(replace(HTTP, grace_max_ms=60_000)), "what it says is looked at"
    assert not is_plain(replace(HTTP, http=ProbeHttp(body="x")))
    assert not is_plain(Probe(kind=ProbeKind.TCP, tls=ProbeTls()))
