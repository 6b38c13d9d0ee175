"""Which epoch an HTTP answer says; whatever else it may be, it is no epoch, and no more."""

import asyncio
from dataclasses import replace

import pytest

from pltfrms.drivers.workload.probes.kinds.asking import is_plain
from pltfrms.model.running.machine import ProbeAnswer
from pltfrms.model.services.probes import ProbeHttp
from pltfrms.model.services.service import RoleSpec
from pltfrms.planner.instances.roles import NOTHING_SAID, asked
from tests.drivers.workload.test_kinds import HTTP, answering, ask, http_answer, served

FIELD = replace(HTTP, epoch=".timeline")
HEADER = replace(HTTP, epoch="X-Epoch")
BIGGEST = 10**18


def asked_of(probe_epoch: str, answer: bytes) -> ProbeAnswer:
    async def run() -> ProbeAnswer:
        async with served(answering(answer)) as port:
            return await ask(replace(HTTP, epoch=probe_epoch), port)

    return asyncio.run(run())


def with_headers(*lines: bytes, status: int = 200) -> bytes:
    head = b"".join(b"%b\r\n" % line for line in lines)
    return b"HTTP/1.1 %d Some\r\n%bContent-Length: 0\r\n\r\n" % (status, head)


def test_a_role_with_an_epoch_is_asked_for_all_of_the_answer() -> None:
    assert not is_plain(FIELD)
    assert not is_plain(HEADER)


@pytest.mark.parametrize(
    ("body", "epoch"),
    [
        (b'{"timeline": 7, "role": "primary"}', 7),
        (b'{"timeline": 0}', 0),
        (b'{"timeline": %d}' % BIGGEST, BIGGEST),
        ('{"timeline": 7, "é": "\\ud800"}'.encode(), 7),
        (b'{"timeline": %d}' % (BIGGEST + 1), None),
        (b'{"timeline": -1}', None),
        (b'{"timeline": "7"}', None),
        (b'{"timeline": 7.0}', None),
        (b'{"timeline": 1e3}', None),
        (b'{"timeline": true}', None),
        (b'{"timeline": null}', None),
        (b'{"timeline": NaN}', None),
        (b'{"timeline": [7]}', None),
        (b'{"timeline": %b}' % (b"9" * 60_000), None),
        (b'{"at": {"timeline": 7}}', None),
        (b'[{"timeline": 7}]', None),
        (b'{"timeline": 7', None),
        (b"[" * 60_000, None),
        (b"\xff\xfe\x00", None),
        (b"", None),
        (b'{"timeline": 7, "fill": "%b"}' % (b"x" * (1 << 17)), None),
    ],
)
def test_a_field_is_an_epoch_if_it_is_a_number_that_counts(
    body: bytes, epoch: int | None
) -> None:
    assert asked_of(".timeline", http_answer(body)) == ProbeAnswer(epoch=epoch)


@pytest.mark.parametrize(
    ("lines", "epoch"),
    [
        ((b"X-Epoch: 7",), 7),
        ((b"x-EPOCH:   007 ",), 7),
        ((b"X-Epoch: %d" % (BIGGEST - 1),), BIGGEST - 1),
        ((b"X-Epoch: %d" % (10 * BIGGEST),), None),
        ((b"X-Epoch: -7",), None),
        ((b"X-Epoch: +7",), None),
        ((b"X-Epoch: 7, 8",), None),
        ((b"X-Epoch: 0x7",), None),
        ((b"X-Epoch: \xd9\xa7",), None),
        ((b"X-Epoch:",), None),
        ((b"X-Epoch-Of: 7",), None),
        ((b"X-Epoch: 7", b"X-Epoch: 8"), None),
        ((b"X-Epoch: 7", b"X-Epoch: 7"), 7),
        ((), None),
    ],
)
def test_a_header_is_an_epoch_if_it_is_a_number_that_counts(
    lines: tuple[bytes, ...], epoch: int | None
) -> None:
    assert asked_of("X-Epoch", with_headers(*lines)) == ProbeAnswer(epoch=epoch)


def test_who_has_it_not_is_asked_for_no_epoch() -> None:
    body = b'{"timeline": 9}'
    assert asked_of(".timeline", http_answer(body, 503)).epoch is None
    assert asked_of("X-Epoch", with_headers(b"X-Epoch: 9", status=503)).epoch is None
    wanted = replace(FIELD, http=ProbeHttp(body="primary"))
    role = RoleSpec(name="writer", probe=wanted)

    async def run() -> ProbeAnswer:
        async with served(answering(http_answer(body))) as port:
            return await ask(wanted, port)

    assert not asked(NOTHING_SAID, role, asyncio.run(run())).has


def test_an_answer_that_comes_byte_by_byte_is_none() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.01)

    async def run() -> None:
        async with served(trickle) as port:
            said = await ask(replace(FIELD, timeout_ms=100), port)
            assert said == ProbeAnswer(failure="no answer within 100 ms")

    asyncio.run(run())
