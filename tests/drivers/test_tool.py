"""Tools of the operating system: what they say, and that none keeps us."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from pltfrms.drivers.tool import ToolFailedError, run_tool
from pltfrms.errors import UnavailableError


def test_what_a_tool_prints_is_returned() -> None:
    assert asyncio.run(run_tool("cat", text="words\n")) == "words\n"


def test_what_a_tool_complains_of_is_said() -> None:
    with pytest.raises(ToolFailedError, match="`sh -c echo no >&2; exit 3`: no"):
        asyncio.run(run_tool("sh", "-c", "echo no >&2; exit 3"))
    with pytest.raises(ToolFailedError, match=": only here"):
        asyncio.run(run_tool("sh", "-c", "echo only here; exit 3"))
    with pytest.raises(ToolFailedError, match="exit code 3"):
        asyncio.run(run_tool("sh", "-c", "exit 3"))
    with pytest.raises(UnavailableError, match="no-such-tool is not installed"):
        asyncio.run(run_tool("no-such-tool"))


def _gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def _children(file: Path) -> list[int]:
    return [int(word) for word in file.read_text().split()]


def test_a_tool_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    script = f"sleep 60 & echo $! $$ > {file}; wait"
    with pytest.raises(UnavailableError, match=r"took longer than 0\.3 s"):
        asyncio.run(run_tool("sh", "-c", script, seconds=0.3))
    assert all(_gone(pid) for pid in _children(file))


def test_what_has_left_a_tool_and_holds_its_output_keeps_nobody(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    script = f"setsid sleep 60 & echo $! > {file}; sleep 60"
    with pytest.raises(UnavailableError, match=r"took longer than 0\.3 s"):
        asyncio.run(run_tool("sh", "-c", script, seconds=0.3))
    (pid,) = _children(file)
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    os.kill(pid, signal.SIGKILL)
    assert state == "S", "nobody has waited for its end"


@pytest.mark.parametrize("steps", range(1, 8))
def test_a_tool_ends_with_the_loop_however_far_it_has_come(tmp_path: Path, steps: int) -> None:
    file = tmp_path / "pids"
    command = ("sh", "-c", f"echo $$ > {file}; exec sleep 60")

    async def story() -> None:
        asked = asyncio.create_task(run_tool(*command))
        for _ in range(steps):
            await asyncio.sleep(0)
        assert not asked.done()

    asyncio.run(story())
    assert not file.exists() or all(map(_gone, _children(file)))


def test_a_tool_ends_with_who_asked(tmp_path: Path) -> None:
    file = tmp_path / "pids"

    async def story() -> None:
        asked = asyncio.create_task(run_tool("sh", "-c", f"echo $$ > {file}; exec sleep 60"))
        for _ in range(500):
            if file.exists() and file.read_text():
                break
            await asyncio.sleep(0.01)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)

    asyncio.run(story())
    (pid,) = _children(file)
    assert pid != os.getpid()
    assert _gone(pid)
