"""What a command says while it runs: the beginning is kept, and nobody waits for us."""

import asyncio

from pltfrms.drivers.descriptors import run


def said(script: str) -> tuple[int | str, bytes]:
    heard = bytearray()
    ended = asyncio.run(run(("sh", "-c", script), 60_000, heard))
    return ended, bytes(heard)


def test_what_it_says_is_heard_whatever_it_ends_with() -> None:
    assert said("echo replayed 40 %; echo no >&2; exit 3") == (3, b"replayed 40 %\nno\n")
    assert said("true") == (0, b"")


def test_who_says_more_than_a_pipe_takes_is_not_held_up() -> None:
    ended, heard = said("head -c 300000 /dev/zero; exit 4")
    assert ended == 4
    assert heard == bytes(1000)


def test_nobody_is_heard_unless_that_is_wanted() -> None:
    assert asyncio.run(run(("sh", "-c", "echo a; exit 5"), 60_000)) == 5
