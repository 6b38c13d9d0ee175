"""A hosts file is changed while others read it: every line is whole or a comment, always."""

import asyncio
import os
from collections.abc import Callable
from ipaddress import ip_interface
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.workload.instance.hosts import MARK, HostsFiles, revise
from pltfrms.drivers.workload.process import LINGER_SECONDS, ProcessRuntime
from pltfrms.model.running.machine import InstanceSpec
from pltfrms.model.services.container import Container
from tests.contracts.test_workload import directories_below
from tests.contracts.test_workload import spec as real
from tests.drivers.workload.test_process import shell
from tests.namespaces import in_machine

WEB = "2001:db8:100::1 web.test.internal web"
API = "2001:db8:100::2 api.test.internal api"
MOVED = "2001:db8:100::9 web.test.internal web"
Seen = Callable[[Path, Callable[[], None]], list[list[str]]]


def lines(path: Path) -> list[str]:
    """Return what a reader takes from behind the mark."""
    below = path.read_text().partition(MARK)[2]
    return [line for line in below.splitlines() if line and not line.startswith("#")]


def spec(container: Container | None = None) -> InstanceSpec:
    return InstanceSpec(
        allocation="web.fra.1-1",
        process=("serve",),
        files=(),
        environment=(),
        device="i1",
        service_addresses=(),
        unicast_addresses=(ip_interface("10.1.1.1"), ip_interface("fd00::1")),
        cpu=0.1,
        memory_bytes=1 << 20,
        stop_grace_ms=1,
        container=container,
    )


def files(root: Path, said: str = "192.0.2.7 printer\n") -> HostsFiles:
    machine = root / "hosts"
    machine.write_text(said)
    return HostsFiles(Directories(config=root, state=root, runtime=root, log=root), machine)


def test_a_process_keeps_what_its_machine_says_and_a_container_does_not(tmp_path: Path) -> None:
    both = files(tmp_path)
    both.know([WEB])
    own = ["10.1.1.1 web.fra.1-1", "fd00::1 web.fra.1-1", MARK, WEB]
    assert both.write(spec()).read_text().splitlines() == ["192.0.2.7 printer", *own]
    boxed = both.write(spec(Container(image="a"))).read_text().splitlines()
    assert boxed == [
        "127.0.0.1 localhost",
        "::1 localhost ip6-localhost ip6-loopback",
        *own,
    ]


def test_who_runs_is_told_in_the_very_file_that_it_has(tmp_path: Path) -> None:
    both = files(tmp_path)
    both.know([WEB])
    path = both.write(spec())
    with path.open() as mounted:
        both.know([WEB, API])
        both.tell()
        assert mounted.read().splitlines()[-2:] == [WEB, API]
    both.know([API])
    both.tell()
    assert lines(path) == [API]
    both.forget("web.fra.1-1")
    both.tell()
    assert not path.exists()


def test_a_file_that_says_the_same_is_not_touched(tmp_path: Path) -> None:
    both = files(tmp_path)
    both.know([WEB, API])
    path = both.write(spec())
    os.utime(path, (1, 1))
    both.tell()
    assert path.stat().st_mtime == 1


def test_one_that_cannot_be_told_keeps_nobody_else_from_it(tmp_path: Path) -> None:
    both = files(tmp_path)
    both.know([WEB])
    path = both.write(spec())
    (path.parent / "a.hosts").mkdir()  # first in order
    both.know([WEB, API])
    with pytest.raises(IsADirectoryError):
        both.tell()
    assert lines(path) == [WEB, API]


def test_a_file_that_somebody_else_has_rewritten_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.hosts"
    path.write_text("127.0.0.1 localhost\n")
    revise(path, [WEB])
    assert path.read_text() == "127.0.0.1 localhost\n"


def test_what_is_written_is_what_was_read_also_if_an_instance_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, fresh = tmp_path / "a.hosts", tmp_path / "a.hosts.new"
    path.write_text(f"{MARK}\n{WEB}\n")
    fresh.write_text(f"127.0.0.1 localhost\n{MARK}\n{WEB}\n{API}\n")
    open_ = os.open

    def late(name: Path, flags: int) -> int:
        if fresh.exists():
            fresh.replace(path)
        return open_(name, flags)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", late)
        revise(path, [API])
    assert lines(path) == [API]
    assert path.read_text() == f"127.0.0.1 localhost\n{MARK}\n#{WEB[1:]}\n{API}\n"


def test_a_name_that_moves_always_has_an_address(tmp_path: Path, seen: Seen) -> None:
    path = tmp_path / "a.hosts"
    path.write_text(f"{MARK}\n{WEB}\n")
    for state in seen(path, lambda: revise(path, [MOVED])):
        assert any(line.endswith(" web") for line in state)
    assert lines(path) == [MOVED]


NAMES = st.lists(st.integers(1, 12), unique=True, max_size=8).map(
    lambda numbers: [f"2001:db8::{n:x} s{n}.test.internal s{n}" for n in numbers]
)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Return what a reader finds after every write, also if that is torn in the middle."""

    def watch(path: Path, act: Callable[[], None]) -> list[list[str]]:
        found: list[list[str]] = []
        write = os.pwrite

        def torn(fd: int, data: bytes, offset: int) -> int:
            for end in range(1, len(data) + 1):
                write(fd, data[end - 1 : end], offset + end - 1)
                found.append(lines(path))
            return len(data)

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", torn)
            act()
        return found

    return watch


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(old=NAMES, new=NAMES)
def test_no_reader_ever_sees_half_a_line(
    tmp_path: Path, seen: Seen, old: list[str], new: list[str]
) -> None:
    path = tmp_path / "a.hosts"
    path.write_text("\n".join(("127.0.0.1 localhost", MARK, *old)) + "\n")
    stays = set(old) & set(new)
    for state in seen(path, lambda: revise(path, new)):
        assert stays <= set(state) <= {*old, *new}
    assert set(lines(path)) == set(new)
    assert path.read_text().startswith("127.0.0.1 localhost\n")


@given(old=NAMES, new=NAMES, torn=st.integers(0, 40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_who_was_killed_at_it_is_followed_by_one_that_ends_it(
    tmp_path: Path, old: list[str], new: list[str], torn: int
) -> None:
    path = tmp_path / "a.hosts"
    half = "#001:db8::77 late.test.internal late"[:torn]
    path.write_text("\n".join((MARK, *old, half)))
    revise(path, new)
    assert set(lines(path)) == set(new)


def test_want_of_room_is_said_and_shows_nobody_half_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.hosts"
    path.write_text(f"{MARK}\n{WEB}\n")
    write = os.pwrite

    def full(fd: int, data: bytes, offset: int) -> int:
        return write(fd, data[:30], offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="no room"):
            revise(path, [WEB, API])
    assert lines(path) == [WEB]
    revise(path, [WEB, API])
    assert lines(path) == [WEB, API]


@pytest.mark.root
def test_a_process_resolves_services_also_those_that_come_later(tmp_path: Path) -> None:
    # Not by the DNS, which there is none of in a test.
    late = "until getent -s files hosts late; do sleep 0.05; done; getent -s files hosts db"
    write = "echo 192.0.2.1 evil >>/etc/hosts; hostname; getent -s files hosts web.fra.1-1"

    async def scenario() -> None:
        runtime = ProcessRuntime(directories_below(tmp_path), KernelNetwork())
        runtime.know(["192.0.2.7 db.test.internal db"])
        instance = await runtime.start(real(shell(f"{write}; {late}")))
        await asyncio.sleep(0.2)
        runtime.know(["192.0.2.7 db.test.internal db", "192.0.2.8 late.test.internal late"])
        await runtime.tell()
        async with asyncio.timeout(20):
            await runtime.wait(instance)
        log = (tmp_path / "log" / "instances" / "web.fra.1-1.log").read_text()
        for words in (
            "/etc/hosts: Read-only file system",
            "\nweb.fra.1-1\nfd00::1",
            "\n192.0.2.8       late.test.internal late\n192.0.2.7       db.test.internal db\n",
        ):
            assert words in log, log
        await asyncio.sleep(2 * LINGER_SECONDS)
        assert not list((tmp_path / "run" / "instances").glob("*.hosts"))

    own = Path("/etc/hosts").read_text()
    in_machine(scenario)
    assert Path("/etc/hosts").read_text() == own
