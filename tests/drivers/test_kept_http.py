"""HTTP as far as our controllers and etcd speak it, and what is none."""

import asyncio
from contextlib import closing, suppress

from pltfrms.drivers.failover import SilentError
from pltfrms.drivers.kept_http import HttpQuestion, KeptHttp


def _with_raw(answers: list[bytes], questions: int) -> tuple[int, list[str]]:
    """Ask a server that writes exactly this; return its connections, and what went wrong."""

    async def run() -> tuple[int, list[str]]:
        connections, said = 0, []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            with closing(writer), suppress(asyncio.IncompleteReadError, asyncio.CancelledError):
                while answers:
                    await reader.readuntil(b"\r\n\r\n")
                    for part in answers.pop(0).partition(b"|")[::2]:
                        writer.write(part)
                        await asyncio.sleep(0.01)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        at = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        client = KeptHttp(at, connect_seconds=3)
        for _ in range(questions):
            try:
                _, content = await client.ask(HttpQuestion("GET", "/"), 3)
                said.append(content.decode())
            except SilentError as error:
                said.append(str(error))
        await client.close()
        server.close()
        return connections, said

    return asyncio.run(run())


def test_a_connection_is_kept_from_question_to_question_unless_it_shall_not() -> None:
    whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    pieces = b"HTTP/1.1 200 OK\r\nConte|nt-Length: 2\r\n\r\nok"
    last = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    assert _with_raw([whole, pieces, whole], 3) == (1, ["ok"] * 3)
    assert _with_raw([last, last], 2) == (2, ["ok"] * 2)
    assert _with_raw([b"HTTP/1.1 200 OK\r\n\r\nto the |end"], 1) == (1, ["to the end"])
    chunks = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n|1\r\nk\r\n0\r\n\r\n"
    )
    assert _with_raw([chunks, whole], 2) == (1, ["ok"] * 2)


def test_what_cannot_be_read_is_no_answer_and_ends_the_connection() -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    for torn, said in (
        (b"SSH-2.0-what\r\n\r\n", "illegal status line"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "no answer within 3 s"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok", "bad Content-Length"),
    ):
        connections, answers = _with_raw([torn, whole], 2)
        assert answers[0].startswith(said)
        assert (connections, answers[1]) == (2, "ok")
