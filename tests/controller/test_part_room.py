"""How much services may write through one gate, in time."""

import asyncio
import base64
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import pytest

from pltfrms.controller.asked.part_room import PartRoom
from pltfrms.planner.parts.questions import PartQuestion
from pltfrms.planner.parts.refusals import PartError
from pltfrms.planner.parts.room import (
    ANSWERS_BYTES_AT_ONCE,
    ANSWERS_BYTES_PER_SECOND,
    BYTES_MAX,
    BYTES_OF_ALL_PER_SECOND,
    BYTES_PER_SECOND,
    CHANGES_OF_ALL_PER_SECOND,
    CHANGES_PER_SECOND,
)

LONG = 1000.0


class Store:
    """Has some keys, and counts how often it is looked at."""

    def __init__(self) -> None:
        self.keys: dict[bytes, bytes] = {}
        self.looks = 0

    async def ask(
        self, path: str, _question: Mapping[str, Any], *, repeatable: bool
    ) -> Mapping[str, Any]:
        assert (path, repeatable) == ("/v3/kv/range", True)
        self.looks += 1
        rows = self.keys.items()
        return {"kvs": [{"key": b64(key), "value": b64(value)} for key, value in rows]}

    def watch(self, question: Mapping[str, Any]) -> AsyncGenerator[Mapping[str, Any]]:
        raise NotImplementedError


class Scene:
    def __init__(self, gates: int = 1) -> None:
        self.now = 0.0
        self.store = Store()
        self.room = PartRoom(self.store, lambda: self.now, lambda: gates)

    def write(self, service: str, size: int = 1, keys: Sequence[bytes] = (b"a",)) -> bool:
        asked = PartQuestion(puts=[(key, size) for key in keys])
        try:
            asyncio.run(self.room.take(service, asked))
        except PartError:
            return False
        self.room.wrote(service, asked.puts)
        return True

    def delete(self, service: str) -> bool:
        try:
            asyncio.run(self.room.take(service, PartQuestion(deletes=True)))
        except PartError:
            return False
        return True


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@pytest.mark.parametrize("gates", [1, 4])
def test_a_part_changes_so_often_at_all_gates_together(gates: int) -> None:
    scene = Scene(gates)
    first = sum(scene.delete("db") for _ in range(2 * CHANGES_PER_SECOND))
    assert first == CHANGES_PER_SECOND // gates
    assert scene.delete("db-2")
    scene.now += 0.5
    later = sum(scene.delete("db") for _ in range(2 * CHANGES_PER_SECOND))
    assert later == pytest.approx(CHANGES_PER_SECOND / gates / 2, abs=1)


def test_all_parts_together_change_so_often() -> None:
    scene = Scene()
    done = sum(scene.delete(f"db-{number % 20}") for number in range(2000))
    assert done == CHANGES_OF_ALL_PER_SECOND


def test_what_is_written_is_history_and_comes_at_a_pace() -> None:
    scene = Scene()
    large = BYTES_MAX // 4
    assert [scene.write("db", large) for _ in range(5)] == [True] * 4 + [False]
    scene.now += large / BYTES_PER_SECOND
    assert [scene.write("db", large) for _ in range(2)] == [True, False]
    scene.now += LONG
    assert sum(scene.write(f"db-{number}", large) for number in range(20)) == (
        BYTES_OF_ALL_PER_SECOND // large
    )


def test_a_part_is_looked_at_now_and_then_and_before_it_is_called_full() -> None:
    scene = Scene()
    assert scene.write("db")
    assert scene.write("db")
    assert scene.store.looks == 1
    scene.now += 2.0
    assert scene.write("db")
    assert scene.store.looks == 2
    many = [f"k{number}".encode() for number in range(255)]
    assert scene.write("db", keys=many)
    assert scene.store.looks == 2
    assert scene.write("db", keys=[b"one more"])  # the store has none of them any more
    assert scene.store.looks == 3
    scene.store.keys = dict.fromkeys([*many, b"a"], b"x")
    scene.now += 2.0
    assert not scene.write("db", keys=[b"one more"])
    assert scene.write("db", keys=[b"k7"])


def expects(scene: Scene, service: str, size: int) -> bool:
    try:
        scene.room.expect(service, size)
    except PartError:
        return False
    return True


def test_a_part_reads_so_much_at_once_and_then_at_a_pace() -> None:
    scene, whole = Scene(), BYTES_MAX
    at_once = ANSWERS_BYTES_AT_ONCE // whole
    assert [expects(scene, "db", whole) for _ in range(at_once + 1)] == [True] * at_once + [
        False
    ]
    assert expects(scene, "db-2", whole)
    scene.now += whole / ANSWERS_BYTES_PER_SECOND
    assert [expects(scene, "db", whole) for _ in range(2)] == [True, False]
    scene.now += LONG
    assert sum(expects(scene, "db", whole) for _ in range(2 * at_once)) == at_once


def test_what_was_expected_and_not_answered_is_there_for_the_next() -> None:
    scene, whole = Scene(), BYTES_MAX
    for _ in range(1000):
        assert expects(scene, "db", whole)
        assert scene.room.answered("db", 100 - whole) == 0.0


def test_who_is_told_more_than_there_is_room_for_waits_until_it_is_made_good() -> None:
    scene = Scene()
    assert scene.room.answered("db", ANSWERS_BYTES_AT_ONCE) == 0.0
    assert scene.room.answered("db", 2 * ANSWERS_BYTES_PER_SECOND) == 2.0
    assert scene.room.answered("db-2", 2 * ANSWERS_BYTES_PER_SECOND) == 0.0
    assert not expects(scene, "db", 1)
    scene.now += 2.0
    assert scene.room.answered("db", 0) == 0.0


def test_a_full_part_is_looked_at_no_more_often_than_it_may_read() -> None:
    scene, seconds = Scene(), 100
    value = b"x" * (BYTES_MAX // 16)
    scene.store.keys = {f"k{number}".encode(): value for number in range(16)}
    for _ in range(10 * seconds):
        assert not scene.write("db", keys=[b"one more"])
        scene.now += 0.1
    room = ANSWERS_BYTES_AT_ONCE + seconds * ANSWERS_BYTES_PER_SECOND
    assert scene.store.looks <= room / BYTES_MAX
