"""A member that was cut off while the store was recovered: who ends it, and when."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from pltfrms.api.store import superseded
from pltfrms.api.store.member import DATA_DIRECTORY
from pltfrms.api.store.superseded import end_superseded, follow_recoveries
from pltfrms.controller.planning.loop import Controller
from pltfrms.drivers.identity.store_files import RECOVERING_FILE
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.store.data import user_of
from tests.api.door import PLATFORM, Door, serve
from tests.api.test_securing import NAME, controller, here

OWN_GROUP = Path("/proc/self/cgroup").read_text().splitlines()[-1]
HOLD = """
import fcntl, sys
held = open(sys.argv[1])
fcntl.flock(held, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def stand_in(state: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run what holds the data of a member as etcd does."""
    database = state / DATA_DIRECTORY / "member" / "snap" / "db"
    database.parent.mkdir(parents=True)
    database.touch()
    words = [sys.executable, "-c", HOLD, str(database)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture(autouse=True)
def as_a_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take processes of our own group for what systemd starts again."""
    monkeypatch.setattr(superseded, "_UNIT", OWN_GROUP)


async def ended(state: Path) -> bool:
    return await end_superseded(PLATFORM, NAME, state)


def test_who_holds_the_data_is_known_by_the_lock(tmp_path: Path) -> None:
    assert user_of(tmp_path / DATA_DIRECTORY) is None
    with stand_in(tmp_path) as process:
        assert user_of(tmp_path / DATA_DIRECTORY) == process.pid
    assert user_of(tmp_path / DATA_DIRECTORY) is None


def test_a_member_of_before_a_recovery_is_ended_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(door: Door) -> None:
        theirs = here(door, monkeypatch)
        theirs.begin(PLATFORM.name)
        state = tmp_path / "own"
        ours = controller(door, state)
        with stand_in(state) as process:
            assert not await ended(state), "it speaks plainly"
            ours.keep(theirs.text())
            assert not await ended(state), "it is not known what it believes"
            ours.furnish_member(NAME, ())
            assert not await ended(state), "nothing was recovered"
            theirs.begin_anew(PLATFORM.name)
            mark = state / RECOVERING_FILE
            mark.touch()
            assert not await ended(state), "its own recovery goes on"
            mark.unlink()
            monkeypatch.setattr(superseded, "_UNIT", "/another.service")
            assert not await ended(state), "nobody would start it again"
            assert ours.text() == theirs.text()
            assert process.poll() is None
            monkeypatch.setattr(superseded, "_UNIT", OWN_GROUP)
            assert await ended(state)
            assert await asyncio.to_thread(process.wait, 20) == -15
            assert not await ended(state), "nothing runs"
        ours.furnish_member(NAME, ())
        assert not ours.superseded, "what starts now believes the newer one"

    serve(tmp_path / "door", story)


@pytest.mark.parametrize(
    ("answers", "asked"),
    [("...", 1), ("..+..", 0), ("..+...", 1), ("+++++", 0), ("....", 2)],
)
def test_others_are_asked_only_while_the_store_answers_nothing(
    monkeypatch: pytest.MonkeyPatch, answers: str, asked: int
) -> None:
    left, known = iter(answers), []

    class View:
        platform = None

        @property
        def fresh(self) -> bool:
            return next(left) == "+"

    async def end(*told: object) -> bool:
        known.append(told)
        return False

    async def story() -> None:
        monkeypatch.setattr(superseded, "_LOOK_SECONDS", 0.0)
        monkeypatch.setattr(superseded, "end_superseded", end)
        ours = cast("Controller", SimpleNamespace(name=NAME, view=View()))
        with pytest.raises(RuntimeError, match="StopIteration"):
            await follow_recoveries(ours, PLATFORM, Directories(state=Path("/state")))

    asyncio.run(story())
    assert known == [(PLATFORM, NAME, Path("/state"))] * asked
