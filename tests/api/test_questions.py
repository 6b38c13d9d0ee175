"""What is a question, and where it ends, over real sockets."""

import asyncio
import json
from typing import cast

import pytest

from pltfrms.api.bounds.connections import Bounded
from tests.api.test_connections import GET, LARGE, POST, SHORT, Served, play


@pytest.mark.parametrize(
    ("said", "status", "what"),
    [
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", 400, "Content-Length"),
        (POST + b"Content-Length: 999999999999\r\n\r\n", 413, "larger than 4194304"),
        (GET[:-2] + b"A: " + b"a" * 20_000, 400, "Invalid HTTP"),
        (b"GET /" + b"a" * 20_000, 400, "Invalid HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "Invalid HTTP"),
        (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n", 400, "Invalid HTTP"),
        (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400, ""),
        (POST + b"Content-Length: -3\r\n\r\nabc", 400, "Invalid HTTP"),
        (POST + b"Content-Length: 0x3\r\n\r\nabc", 400, "Invalid HTTP"),
        (POST + b"Content-Length : 3\r\n\r\nabc", 400, "Invalid HTTP"),
        (POST + b"Content-Length: 99999999999999999999999\r\n\r\n", 400, "Invalid HTTP"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "Invalid HTTP"),
        (b"GET / HTTP/1.1\r\nHost: c\r\nHost: d\r\n\r\n", 400, "Invalid HTTP"),
        (b"GET / HTTP/1.1\r\nHost: c\r\nA: b\rc\r\n\r\n", 400, "Invalid HTTP"),
        (b"GET / HTTP/1.1\r\nHost: c\r\nA: b\0c\r\n\r\n", 400, "Invalid HTTP"),
        (b"GET / HTTP/1.1\r\nHost: c\r\nno colon\r\n\r\n", 400, "Invalid HTTP"),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: c\r\n\r\n", 400, "Invalid HTTP"),
        (b"GET / HTTP/9.9\r\nHost: c\r\n\r\n", 400, "Invalid HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "Invalid HTTP"),
        (b"CONNECT c:80 HTTP/1.1\r\nHost: c\r\n\r\n", 400, "Invalid HTTP"),
        (
            POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 26\r\n\r\n" + GET,
            400,
            "another protocol",
        ),
        (
            b"CONNECT http://c/ HTTP/1.1\r\nHost: c\r\nContent-Length: 26\r\n\r\n" + GET,
            400,
            "another protocol",
        ),
        (GET[:-2] + b"A: " + b"a" * 20_000 + b"\r\n\r\n", 400, "Invalid HTTP"),
    ],
    ids=[
        "parts",
        "size",
        "header",
        "path",
        "tls",
        "twice",
        "length-and-parts",
        "negative",
        "hexadecimal",
        "space-before-colon",
        "no-number-of-ours",
        "no-host",
        "two-hosts",
        "carriage-return",
        "nul",
        "no-colon",
        "empty-lines",
        "version",
        "http2",
        "connect",
        "upgrade-with-body",
        "connect-with-body",
        "whole-large-head",
    ],
)
def test_what_is_no_question_is_refused_before_anything_runs(
    said: bytes, status: int, what: str
) -> None:
    async def story(served: Served) -> None:
        client = await served.connect()
        client.send(said)
        got, content = await client.answer()
        assert (got, served.asked) == (status, [])
        body = json.loads(content)
        assert (body["error"], body["nothing_done"]) == ("UsageError", True)
        assert what in body["message"]
        await client.ended()

    play(story)


PATHS = (b"/1", b"/2", b"/3")


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
def test_questions_that_come_at_once_are_answered_one_after_the_other(piece: int) -> None:
    async def story(served: Served) -> None:
        client = await served.connect()
        body = b"Content-Length: 5\r\n\r\nGET /"  # which is no question in a body
        some = b"".join(POST.replace(b"/", path, 1) + body for path in PATHS)
        for start in range(0, len(some), piece):
            client.send(some[start : start + piece])
            await asyncio.sleep(0)
        assert [await client.answer() for _ in PATHS] == [(200, b"ok")] * 3
        assert served.asked == [path.decode() for path in PATHS]
        assert await client.ask() == 200

    play(story)


def test_what_comes_after_a_question_waits_unread_for_its_answer() -> None:
    async def story(served: Served) -> None:
        client = await served.connect()
        client.send(GET.replace(b"/", b"/long", 1) + LARGE)
        await asyncio.sleep(SHORT)
        (connection,) = next(iter(served.connections._open.values()))
        assert len(cast("Bounded", connection)._heard) < len(LARGE) // 10
        assert await client.answer() == (200, b"ok")
        assert (await client.answer())[0] == 400
        assert served.asked == ["/long"]

    play(story)


@pytest.mark.parametrize(
    ("said", "path"),
    [
        (b"GET /a HTTP/1.1\r\nhost:c\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "/a"),
        (b"GET /a%20b?c HTTP/1.1\r\nHost: c\r\n\r\n", "/a b"),
        (b"\r\nGET /a HTTP/1.1\r\nHost: c\r\n\r\n", "/a"),
        (POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", "/"),
    ],
    ids=["upgrade", "escaped", "line-before", "expects"],
)
def test_what_is_said_in_another_way_is_a_question(said: bytes, path: str) -> None:
    async def story(served: Served) -> None:
        client = await served.connect()
        client.send(said)
        if b"Expect" in said:
            assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            client.send(b"hi")
        assert await client.answer() == (200, b"ok")
        assert served.asked == [path]
        assert await client.ask() == 200

    play(story)


def test_blanks_around_a_value_are_no_part_of_it() -> None:
    async def story(served: Served) -> None:
        client = await served.connect()
        said = b"A: \t b c\t \r\nContent-Length:  2 \t\r\n\r\nhi"
        client.send(POST.replace(b"/", b"/said", 1) + said)
        assert await client.answer() == (200, b"host=c, a=b c, content-length=2")

    play(story)


def test_who_wants_his_connection_closed_has_that() -> None:
    async def story(served: Served) -> None:
        client = await served.connect()
        client.send(GET[:-2] + b"Connection: close\r\n\r\n" + GET)
        assert await client.answer() == (200, b"ok")
        await client.ended()
        assert served.asked == ["/"]

    play(story)
