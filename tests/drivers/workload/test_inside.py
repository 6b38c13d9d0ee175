"""A command in a real instance: in all of its namespaces, as its user, and gone afterwards."""

import asyncio
import base64
import subprocess
import sys
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.workload.inside import said_inside
from pltfrms.drivers.workload.process import ProcessRuntime
from pltfrms.model.messages.commands import CommandPart
from pltfrms.model.running.machine import Instance
from pltfrms.model.services.container import Container
from tests.contracts.test_workload import directories_below, image_store, spec
from tests.namespaces import in_machine

__all__ = ["image_store"]
pytestmark = pytest.mark.root


async def run(
    root: Path, instance: Instance, *words: str, seconds: float = 30
) -> tuple[str, str, CommandPart]:
    """Return what it says, what it complains of, and its end."""
    output, complaint = b"", b""
    async for part in said_inside(directories_below(root).runtime, instance, words, seconds):
        output += base64.b64decode(part.output)
        complaint += base64.b64decode(part.complaint)
    return output.decode(), complaint.decode(), part


def named(name: str) -> list[str]:
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            words = (each / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if name.encode() in words:
            found.append(each.name)
    return found


async def seen(name: str) -> None:
    """Wait until something runs that has this word in its command line."""
    async with asyncio.timeout(30):
        while not named(name):  # noqa: ASYNC110 - it is another process's
            await asyncio.sleep(0.02)


async def gone(name: str) -> None:
    """Wait until nothing runs any more that has this word in its command line."""
    async with asyncio.timeout(30):
        while named(name):  # noqa: ASYNC110 - it is killed by then, and ends when it may
            await asyncio.sleep(0.02)


def test_a_command_is_where_the_instance_is_and_says_how_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OURS", "a word of the agent")

    async def scenario() -> None:
        runtime = ProcessRuntime(directories_below(tmp_path), KernelNetwork())
        one = await runtime.start(replace(spec(("sleep", "1000")), files=(("a.conf", "x\n"),)))
        look = "hostname; cat a.conf; env; ip -o link; read it; echo $?; echo no >&2; exit 7"
        output, complaint, last = await run(tmp_path, one, "sh", "-c", look)
        assert output.startswith("web.fra.1-1\nx\n")
        assert "OURS" not in output
        assert "\n1\n" in output, "there is no input"
        assert (complaint, last) == ("no\n", CommandPart(status=7))
        assert (await run(tmp_path, one, "sh", "-c", "kill -9 $$"))[2].status == 137
        assert (await run(tmp_path, one, "no-such-program"))[2].status == 127
        many = "head -c 300000 /dev/zero | tr '\\0' x"
        assert len((await run(tmp_path, one, "sh", "-c", many))[0]) == 300_000
        await runtime.stop(one, 0)

    in_machine(scenario)


def test_a_command_ends_in_time_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = ProcessRuntime(directories_below(tmp_path), KernelNetwork())
        one = await runtime.start(spec(("sleep", "1000")))
        _, _, last = await run(tmp_path, one, "sleep", "1234567", seconds=0.5)
        assert "it took longer than 0.5 s" in last.failure
        await gone("1234567")
        left = "sleep 1234568 & echo begun"
        output, _, last = await run(tmp_path, one, "sh", "-c", left)
        assert (output, last.status) == ("begun\n", 0)
        await gone("1234568")
        runtime_directory = directories_below(tmp_path).runtime
        words = ("sh", "-c", "echo begun; sleep 1234569")
        async with aclosing(said_inside(runtime_directory, one, words, 60)) as parts:
            assert (await anext(parts)).output
            await seen("1234569")
        await gone("1234569")
        assert (await runtime.running()).keys() == {one.allocation}
        await runtime.stop(one, 0)

    in_machine(scenario)


def test_a_command_in_a_container_is_of_its_user(image_store: tuple[Path, str]) -> None:
    root, image = image_store

    async def scenario() -> None:
        runtime = ProcessRuntime(directories_below(root), KernelNetwork())
        box = Container(image=image, command=("/bin/sleep", "1000"), user="1000:1001")
        one = await runtime.start(replace(spec(()), container=box))
        look = "id -u; id -g; grep -E '^(CapEff|NoNewPrivs)' /proc/self/status; exit 5"
        output, complaint, last = await run(root, one, "/bin/sh", "-c", look)
        assert "1000\n1001\n" in output, complaint
        assert last.status == 5
        await runtime.stop(one, 0)

    in_machine(scenario)


def test_who_says_too_much_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pltfrms.drivers.workload.inside._BYTES_MAX", 1 << 20)

    async def scenario() -> None:
        runtime = ProcessRuntime(directories_below(tmp_path), KernelNetwork())
        one = await runtime.start(spec(("sleep", "1000")))
        async with asyncio.timeout(60):
            _, _, last = await run(tmp_path, one, "cat", "/dev/zero")
        assert "it said more than 1 MiB" in last.failure
        await runtime.stop(one, 0)

    in_machine(scenario)


AGENT = """
import asyncio
from pathlib import Path
from pltfrms.drivers.workload.inside import said_inside
from pltfrms.model.running.machine import Instance
async def main():
    async for _ in said_inside(Path({runtime!r}), {instance!r}, ("sh", "-c", {words!r}), 60):
        pass
asyncio.run(main())
"""


def test_a_command_ends_when_the_agent_is_killed(tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = ProcessRuntime(directories_below(tmp_path), KernelNetwork())
        one = await runtime.start(spec(("sleep", "1000")))
        where = str(directories_below(tmp_path).runtime)
        words = "setsid sleep 1234571 & sleep 1234572"
        text = AGENT.format(runtime=where, instance=one, words=words)
        agent = subprocess.Popen([sys.executable, "-c", text])  # noqa: ASYNC220 - it is killed
        for each in ("1234571", "1234572"):
            await seen(each)
        agent.kill()
        agent.wait()
        for each in ("1234571", "1234572"):
            await gone(each)
        assert (await runtime.running()).keys() == {one.allocation}
        await runtime.stop(one, 0)

    in_machine(scenario)
