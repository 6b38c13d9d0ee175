"""What containers are beyond the contract: confined, whole, and gone without a trace."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.tool import ToolFailedError, run_tool
from pltfrms.drivers.workload.images import fetched as images
from pltfrms.drivers.workload.images.fetched import KEPT_UNUSED, Images
from pltfrms.drivers.workload.images.oci import oci_config
from pltfrms.drivers.workload.probes.probe import NamespaceProber
from pltfrms.drivers.workload.process import ProcessRuntime
from pltfrms.errors import UnavailableError
from pltfrms.model.running.machine import InstanceSpec
from pltfrms.model.services.container import Container
from pltfrms.model.services.service import Probe, ProbeKind
from pltfrms.model.services.storage import HostPath, Storage, VolumeSpec
from tests.contracts.test_workload import SERVICE, directories_below, image_store, spec
from tests.namespaces import in_machine
from tests.registry import busybox, push, registries_conf, registry, short_directory

__all__ = ["image_store"]
pytestmark = pytest.mark.root
Scenario = Callable[[ProcessRuntime, Path, str], Coroutine[Any, Any, None]]
LONG = ("/bin/sleep", "1000")


class Play(Protocol):
    """Play a scenario in a machine with an image in its store."""

    def __call__(self, scenario: Scenario, *, groups: bool = False) -> None: ...


@pytest.fixture
def short_path() -> Iterator[Path]:
    with short_directory() as path:
        yield path


@pytest.fixture
def play(image_store: tuple[Path, str]) -> Play:
    root, image = image_store

    def run(scenario: Scenario, *, groups: bool = False) -> None:
        async def whole() -> None:
            runtime = ProcessRuntime(directories_below(root), KernelNetwork())
            await scenario(runtime, root, image)

        in_machine(whole, groups=groups)

    return run


def boxed(image: str, *command: str, slot: int = 1, **said: Any) -> InstanceSpec:
    container = Container(image=image, command=command, **said)
    return replace(spec((), slot), container=container)


async def said_by(runtime: ProcessRuntime, root: Path, wanted: InstanceSpec) -> str:
    """Run it to its end, and return what it said."""
    log = directories_below(root).log / "instances" / f"{wanted.allocation}.log"
    log.unlink(missing_ok=True)
    async with asyncio.timeout(30):
        await runtime.wait(await runtime.start(wanted))
    return log.read_text()


LOOKS = """
grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status; id -u; id -g
echo x >/root-is-written; echo x >/run/pltfrms/a.conf; echo x >/tmp/a && cat /tmp/a
cat /run/pltfrms/a.conf /etc/hosts; echo $MADE $HOST_OF; ulimit -n
echo 1 >/proc/sys/vm/swappiness
"""


def test_a_container_may_do_nothing_that_was_not_asked_for(play: Play) -> None:
    async def scenario(runtime: ProcessRuntime, root: Path, image: str) -> None:
        wanted = replace(
            boxed(image, "/bin/sh", "-c", LOOKS, user="1000:1001", ulimits=(("nofile", 77),)),
            files=(("a.conf", "a file\n"),),
            environment=(("HOST_OF", "spec"),),
        )
        said = await said_by(runtime, root, wanted)
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert f"{name}:\t0000000000000000" in said, said
        for words in (
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
            "\n1000\n1001\n",
            "can't create /root-is-written: Read-only file system",
            "can't create /run/pltfrms/a.conf: Read-only file system",
            "x\na file\n",
            "10.1.1.1 web.fra.1-1",
            "here spec\n77\n",
            "/proc/sys/vm/swappiness: Read-only file system",
        ):
            assert words in said, said

    play(scenario)


def test_what_was_asked_for_is_given_and_no_more(play: Play) -> None:
    async def scenario(runtime: ProcessRuntime, root: Path, image: str) -> None:
        look = "grep ^Cap /proc/self/status; echo x >/written && cat /written"
        capabilities = ("CHOWN", "NET_BIND_SERVICE")
        wanted = boxed(image, "/bin/sh", "-c", look, capabilities=capabilities, read_only=False)
        said = await said_by(runtime, root, wanted)
        for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert f"{name}:\t0000000000000401" in said, said
        assert said.endswith("x\n")
        assert "x\n" not in await said_by(
            runtime, root, boxed(image, "/bin/sh", "-c", "cat /written")
        )

    play(scenario)


@pytest.mark.parametrize("read_only", [True, False])
def test_a_device_that_an_image_brings_along_cannot_be_opened(
    play: Play, *, read_only: bool
) -> None:
    async def scenario(runtime: ProcessRuntime, root: Path, image: str) -> None:
        look = "busybox ls -l /zero; busybox head -c 1 /zero"
        wanted = boxed(image, "/bin/sh", "-c", look, read_only=read_only)
        said = await said_by(runtime, root, wanted)
        assert said.startswith("crw"), said
        assert said.endswith("head: /zero: Permission denied\n")

    play(scenario)


def test_what_a_container_is_told_leads_its_runtime_nowhere(play: Play) -> None:
    async def scenario(runtime: ProcessRuntime, root: Path, image: str) -> None:
        told = (("PATH", "/app/bin"), ("LD_PRELOAD", "/app/malloc.so"), ("LISTEN_FDS", "9"))
        look = boxed(image, "/bin/sh", "-c", "echo $PATH $LD_PRELOAD $LISTEN_FDS")
        said = await said_by(runtime, root, replace(look, environment=told))
        assert said == "/app/bin /app/malloc.so 9\n"

    play(scenario)


def test_a_machine_may_have_a_cgroup_v2_tree_as_debian_has(play: Play) -> None:
    async def scenario(runtime: ProcessRuntime, root: Path, image: str) -> None:
        await run_tool("mount", "-t", "cgroup2", "test", "/sys/fs/cgroup")
        assert await said_by(runtime, root, boxed(image, "/bin/sh", "-c", "echo x")) == "x\n"

    play(scenario)


def test_a_container_keeps_a_volume_and_reads_a_path_of_the_machine(play: Play) -> None:
    async def scenario(runtime: ProcessRuntime, root: Path, image: str) -> None:
        geo = root / "geo"
        geo.mkdir()
        (geo / "list").write_text("far away")
        data = VolumeSpec(name="data", path="/var/db", size_bytes=2**20, owner="1000:1001")
        paths = (HostPath(source=str(geo), path="/geo"),)
        storage = Storage(volumes=(data,), host_paths=paths)
        script = "cat /geo/list; echo x >/geo/list; echo kept >>/var/db/row; cat /var/db/row"
        said = []
        for slot in (1, 2):
            box = boxed(image, "/bin/sh", "-c", script, slot=slot, user="1000:1001")
            wanted = replace(box, storage=storage, volume="db.fra.1@1")
            said.append(await said_by(runtime, root, wanted))
        assert "Read-only file system" in said[0]
        assert [each.count("kept") for each in said] == [1, 2]
        assert (geo / "list").read_text() == "far away"
        here = directories_below(root).state / "volumes" / "db.fra.1@1" / "data"
        assert (here.stat().st_uid, here.stat().st_gid) == (1000, 1001)
        await runtime.remove_volume("db.fra.1@1")

    play(scenario)


def test_a_container_makes_no_namespaces(play: Play) -> None:
    async def scenario(runtime: ProcessRuntime, root: Path, image: str) -> None:
        for flag in ("-U", "-m", "-n"):
            said = await said_by(
                runtime, root, boxed(image, "/bin/busybox", "unshare", flag, "true")
            )
            assert "Operation not permitted" in said

    play(scenario)


def test_exec_is_asked_inside_the_image_as_its_user(play: Play) -> None:
    async def scenario(runtime: ProcessRuntime, root: Path, image: str) -> None:
        prober = NamespaceProber(directories_below(root).runtime)
        instance = await runtime.start(boxed(image, *LONG, user="1000"))
        for test, wanted in (("1000", True), ("0", False)):
            look = "test -e /serve && grep -q CapEff:.*00000 /proc/self/status"
            command = ("/bin/sh", "-c", f"test $(id -u) = {test} && {look}")
            probe = Probe(kind=ProbeKind.EXEC, command=command, timeout_ms=5000)
            answer = await prober.probe(instance, probe, SERVICE)
            assert (not answer.failure) is wanted, answer
        await runtime.stop(instance, 1000)

    play(scenario)


def test_the_next_agent_adopts_a_container_and_ends_it(play: Play) -> None:
    async def scenario(runtime: ProcessRuntime, root: Path, image: str) -> None:
        instance = await runtime.start(boxed(image, *LONG))
        after = ProcessRuntime(directories_below(root), KernelNetwork())
        assert await after.running() == {instance.allocation: instance}
        await after.stop(instance, 5000)
        assert await after.wait(instance) == "killed by signal 15"
        assert await after.running() == {}

    play(scenario)


# ---- images --------------------------------------------------------------------------------


class Counting(Images):
    """Notes what podman is asked."""

    def __init__(self, directories: Directories) -> None:
        super().__init__(directories)
        self.ran: list[str] = []

    async def _run(self, *words: str, seconds: float = 30, text: str = "") -> str:
        self.ran.append(words[0])
        return await super()._run(*words, seconds=seconds, text=text)


def with_registry(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    scenario: Callable[[Counting], Coroutine[Any, Any, None]],
) -> None:
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries_conf(root)))

    async def whole() -> None:
        await scenario(Counting(directories_below(root)))

    in_machine(whole)


def test_an_image_is_fetched_once_for_all_and_then_needs_no_registry(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(images: Counting) -> None:
        with registry(short_path / "registry"):
            name = push("shop/web", busybox(), entrypoint=("/bin/sh",), user="web")
            found = await asyncio.gather(*(images.get(name) for _ in range(10)))
        assert len({id(image) for image in found}) == 1
        assert images.ran.count("pull") == 1
        assert found[0].entrypoint == ("/bin/sh",)
        again = await Images(directories_below(short_path)).get(name)
        assert again == found[0]
        assert (Path(again.base) / again.layers[0] / "bin/sh").exists()
        with pytest.raises(UnavailableError, match="runs as 'web', which is no number"):
            oci_config(spec(()), Container(image=name), again, root="/", binds={})

    with_registry(short_path, monkeypatch, scenario)


def test_who_gives_up_waiting_for_an_image_does_not_end_its_coming(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(images: Counting) -> None:
        with registry(short_path / "registry"):
            name = push("shop/web", busybox())
            waiting = asyncio.ensure_future(images.get(name))
            async with asyncio.timeout(30):
                while not images.doing(name):  # noqa: ASYNC110 - outside
                    await asyncio.sleep(0.001)
            words = f"fetches its image {name}"
            assert images.doing(name) == words
            since = time.monotonic()
            with monkeypatch.context() as later:
                later.setattr(time, "monotonic", lambda: since + 29)
                assert images.doing(name) == f"{words}, for more than 20 s"
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await images.get(name)
        assert images.ran.count("pull") == 1
        assert images.doing(name) == ""

    with_registry(short_path, monkeypatch, scenario)


def test_an_image_that_cannot_be_had_says_why_and_is_not_asked_for_all_the_time(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(images: Counting) -> None:
        name = f"127.0.0.1:5000/shop/web@sha256:{'0a' * 32}"
        with pytest.raises(UnavailableError, match=r"cannot be had: .*127.0.0.1:5000") as first:
            await images.get(name)
        failed_at = time.monotonic()
        assert (images.ran.count("pull"), images.doing(name)) == (1, "")
        again = asyncio.ensure_future(images.get(name))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert images.doing(name) == str(first.value)
        with pytest.raises(UnavailableError, match="cannot be had"):
            await again
        assert images.ran.count("pull") == 2
        assert time.monotonic() - failed_at > 1

    with_registry(short_path, monkeypatch, scenario)


_ENDLESS = """#!/bin/sh
case "$*" in *" pull "*) ;; *) exit 1 ;; esac
ls "$TMPDIR" >>"$SEEN"; touch "$TMPDIR/half"; echo pulled >>"$SEEN"; exec sleep 1000
"""


def test_what_a_pull_leaves_that_was_ended_goes_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    podman, seen = tmp_path / "bin" / "podman", tmp_path / "seen"
    podman.parent.mkdir()
    podman.write_text(_ENDLESS)
    podman.chmod(0o755)
    monkeypatch.setenv("PATH", f"{podman.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SEEN", str(seen))
    monkeypatch.setattr(images, "_FETCH_SECONDS", 2)
    directories = directories_below(tmp_path)

    async def scenario() -> None:
        for _ in range(2):
            with pytest.raises(UnavailableError, match="was ended"):
                await Images(directories).get("a.example/web@sha256:0a")

    in_machine(scenario)
    assert seen.read_text() == "pulled\npulled\n"
    assert [each.name for each in (directories.state / "images-coming").iterdir()] == ["half"]


@pytest.mark.parametrize("laid_over", [False, True])
def test_images_that_nothing_runs_are_removed_but_for_the_last(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, *, laid_over: bool
) -> None:
    """Also where the store is on an overlay, so that podman can keep no layers of its own."""

    async def scenario(_: Counting) -> None:
        root = short_path / "m"
        root.mkdir()
        if laid_over:
            await lay_over(short_path / "memory", root)
        directories = directories_below(root)
        runtime = ProcessRuntime(directories, KernelNetwork())
        with registry(short_path / "registry"):
            names = [
                push(f"shop/v{number}", busybox("sleep") | {"version": str(number).encode()})
                for number in range(KEPT_UNUSED + 4)
            ]
            instance = await runtime.start(boxed(names[0], *LONG))
            for slot, name in enumerate(names, 2):
                await runtime.fetch(boxed(name, slot=slot))
        await runtime.rotate_logs()  # by who was not told yet what is wanted
        assert await here(directories, names) == names
        await runtime.rotate_logs({names[1]})
        assert await here(directories, names) == [*names[:2], *names[-KEPT_UNUSED:]]
        assert await runtime.running() == {instance.allocation: instance}
        await runtime.stop(instance, 1000)

    with_registry(short_path, monkeypatch, scenario)


class Nowhere(Images):
    """A store that podman knows nothing of."""

    async def _run(self, *words: str, seconds: float = 30, text: str = "") -> str:
        raise ToolFailedError(words, f"not within {seconds} s{text}")


def test_an_image_that_ran_for_months_until_now_was_used_last(tmp_path: Path) -> None:
    directories = directories_below(tmp_path)
    notes = directories.state / "images-used"
    notes.mkdir(parents=True)
    for number in range(KEPT_UNUSED + 3):
        note, layer = notes / str(number), "/proc" if number == 0 else "mounted-nowhere"
        note.write_text(f"a.example/web@sha256:{number}\n{layer}")
        os.utime(note, (number, number))

    def kept(*pids: int) -> list[str]:
        asyncio.run(Nowhere(directories).remove_unused(frozenset(), pids))
        return sorted(note.name for note in notes.iterdir())

    assert kept(os.getpid()) == ["0", "3", "4", "5"]
    assert kept() == ["0", "4", "5"]


async def lay_over(place: Path, root: Path) -> None:
    """Mount an overlay at `root`, with all that it needs in memory at `place`."""
    await run_tool("mkdir", str(place))
    await run_tool("mount", "-t", "tmpfs", "test", str(place))
    for path in (place / "lower", place / "upper", place / "work"):
        path.mkdir()
    options = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
    await run_tool("mount", "-t", "overlay", "test", str(root), "-o", options)


async def here(directories: Directories, names: list[str]) -> list[str]:
    """Return which images can be had without a registry."""
    found = []
    for name in names:
        with suppress(UnavailableError):
            found.append((await Images(directories).get(name)).name)
    return found
