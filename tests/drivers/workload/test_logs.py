"""Logs of real instances: bounded, whoever writes and whoever is there to look."""

import asyncio
import contextlib
import os
import time
from pathlib import Path

import pytest

from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.workload.instance.instance_files import InstanceFiles
from pltfrms.drivers.workload.measuring.log_reading import LogReader
from pltfrms.drivers.workload.process import LINGER_SECONDS, ProcessRuntime
from tests.contracts.test_workload import real_machine, spec
from tests.drivers.workload.test_process import directories_in, log_of, shell
from tests.namespaces import in_machine

pytestmark = pytest.mark.root


def sizes(root: Path) -> dict[str, int]:
    """Return the bytes of every log by its name."""
    found = {}
    for path in (root / "log/instances").iterdir():
        with contextlib.suppress(FileNotFoundError):  # just renamed
            found[path.name] = path.stat().st_size
    return found


def test_logs_have_a_bound_also_while_there_is_no_agent(tmp_path: Path) -> None:
    async def scenario() -> None:
        workload = ProcessRuntime(directories_in(tmp_path), KernelNetwork(), log_bytes=1000)
        script = "n=0; while [ $n -lt 2000 ]; do echo line-$n; n=$((n+1)); done; echo end"
        instance = await workload.start(spec(shell(script + "; sleep 600")))
        said = ""
        while "end\n" not in said:
            assert max(sizes(tmp_path).values(), default=0) <= 1000
            await asyncio.sleep(0)
            with contextlib.suppress(FileNotFoundError):  # just renamed
                said = log_of(tmp_path, instance).read_text()
        names = [f"web.fra.1-1.log{suffix}" for suffix in ("", ".1", ".2", ".3")]
        assert sorted(sizes(tmp_path)) == names
        said = "".join(
            log_of(tmp_path, instance, suffix).read_text() for suffix in (".3", ".2", ".1", "")
        )
        lines = said.splitlines()
        assert lines == [*(f"line-{n}" for n in range(2001 - len(lines), 2000)), "end"]

    in_machine(scenario)


def test_a_restart_does_not_escape_the_bound_of_logs(tmp_path: Path) -> None:
    async def scenario() -> None:
        directories = directories_in(tmp_path)
        workload = ProcessRuntime(directories, KernelNetwork(), log_bytes=100_000)
        for _turn in range(3):
            words = shell("yes 0123456789 | head -n 300000; exit 1")
            instance = await workload.start(spec(words))
            how = await workload.wait(instance)
            assert how == "exited with status 1, and said last: 0123456789"
            assert sum(sizes(tmp_path).values()) <= 400_000
            await asyncio.sleep(2 * LINGER_SECONDS)

    in_machine(scenario)


def test_a_log_from_a_version_without_a_bound_gets_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        directories = directories_in(tmp_path)
        workload = ProcessRuntime(directories, KernelNetwork(), log_bytes=1000)
        instance = await workload.start(spec())
        log_of(tmp_path, instance).write_bytes(b"0123456789" * 100_000 + b"the end")
        await workload.rotate_logs()
        assert sizes(tmp_path) == {"web.fra.1-1.log": 0, "web.fra.1-1.log.1": 1000}
        assert log_of(tmp_path, instance, ".1").read_bytes().endswith(b"the end")
        await workload.stop(instance, 1000)
        log_of(tmp_path, instance).write_bytes(b"0123456789" * 100_000)
        await workload.start(spec())
        assert max(sizes(tmp_path).values(), default=0) <= 1000

    in_machine(scenario)


def test_house_keeping_lets_everything_else_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InstanceFiles, "rotate_log", lambda *_: time.sleep(0.5))

    async def scenario() -> None:
        workload = ProcessRuntime(directories_in(tmp_path), KernelNetwork())
        await workload.start(spec())
        rotating = asyncio.ensure_future(workload.rotate_logs())
        longest, before = 0.0, time.monotonic()
        while not rotating.done():
            await asyncio.sleep(0.01)
            longest = max(longest, (now := time.monotonic()) - before)
            before = now
        assert longest < 0.3

    in_machine(scenario)


def test_a_full_disk_holds_up_nobody_who_has_something_to_say(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "log").mkdir()
        words = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path / "log")]
        await (await asyncio.create_subprocess_exec(*words)).wait()
        workload = ProcessRuntime(directories_in(tmp_path), KernelNetwork())
        script = "yes 0123456789 | head -n 100000; echo no room; exit 3"
        instance = await workload.start(spec(shell(script)))
        async with asyncio.timeout(10):
            how = await workload.wait(instance)
        assert how == "exited with status 3, and said last: no room"

    in_machine(scenario)


def test_last_words_are_short_and_harmless(tmp_path: Path) -> None:
    async def scenario() -> None:
        workload = real_machine(tmp_path).workload
        long = "x" * 500
        script = f"printf 'before\\n\\033[31mred \\377 {long}\\n\\n' >&2; kill -9 $$"
        how = await workload.wait(await workload.start(spec(shell(script))))
        assert how.startswith("killed by signal 9, and said last: [31mred \ufffd xxx")
        assert how.endswith("xxx...")
        assert len(how) < 250

    in_machine(scenario)


def test_old_logs_go_when_all_of_them_are_too_much(tmp_path: Path) -> None:
    async def scenario() -> None:
        workload = ProcessRuntime(directories_in(tmp_path), KernelNetwork(), keep_bytes=2500)
        names = []
        for slot in range(1, 5):
            instance = await workload.start(spec(slot=slot))
            await workload.stop(instance, 1000)
            names.append(instance.allocation)
            log_of(tmp_path, instance).write_bytes(bytes(1000))
            ago = time.time() - (3000 - 700 * slot)
            os.utime(log_of(tmp_path, instance), (ago, ago))
        await workload.rotate_logs()
        kept = {path.name for path in (tmp_path / "lib/instances").iterdir()}
        assert kept == set(names[2:])

    in_machine(scenario)


def test_files_of_ended_instances_go_after_a_while(tmp_path: Path) -> None:
    async def scenario() -> None:
        workload = ProcessRuntime(directories_in(tmp_path), KernelNetwork(), keep_seconds=100)
        ended = await workload.start(spec(slot=1))
        await workload.stop(ended, 1000)
        young = await workload.start(spec(slot=2))
        await workload.stop(young, 1000)
        running = await workload.start(spec(slot=3))
        for instance in (ended, running):
            os.utime(log_of(tmp_path, instance), (1, 1))
        await workload.rotate_logs()
        kept = {young.allocation, running.allocation}
        assert {path.name for path in (tmp_path / "lib/instances").iterdir()} == kept
        assert {path.stem for path in (tmp_path / "log/instances").iterdir()} == kept

    in_machine(scenario)


def test_what_an_instance_said_is_read_while_it_runs_and_after_its_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        directories = directories_in(tmp_path)
        workload = ProcessRuntime(directories, KernelNetwork(), log_bytes=1000)
        logs = LogReader(directories.log / "instances")
        words = shell("echo one; while ! [ -e go ]; do sleep 0.05; done; echo two; exit 3")
        instance = await workload.start(spec(words))
        position, said = "0.0", list[str]()
        while said != ["one"]:
            (found,) = logs.read("web", 50, position)
            said, position = [*said, *found.lines], found.position
            await asyncio.sleep(0.02)
        (tmp_path / "lib/instances" / instance.allocation / "go").touch()
        await workload.wait(instance)
        (ended,) = logs.read(instance.allocation, 50, position)
        assert ended.lines == ("two",)
        (whole,) = logs.read("web", 50)
        assert whole.lines == ("one", "two")
        await asyncio.sleep(2 * LINGER_SECONDS)

    in_machine(scenario)
