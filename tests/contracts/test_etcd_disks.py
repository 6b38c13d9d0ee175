"""Members of the store whose disks are really full: each has a tmpfs of its own."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pltfrms.drivers.store.etcd import EtcdStore
from pltfrms.drivers.store.members import EtcdMembers
from pltfrms.drivers.store.ports import Put
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.store import StoreLook
from tests.contracts.etcd import EtcdCluster
from tests.contracts.test_members import until_seen
from tests.namespaces import in_machine

pytestmark = pytest.mark.root

MEMBERS = (0, 1, 2)
TRIES = 100
LARGE = 900_000


class Disks:
    """Three members, each with a disk of its own."""

    def __init__(self, directory: Path) -> None:
        self.cluster = EtcdCluster(directory)
        self.kept: dict[str, bytes] = {}
        """What was acknowledged."""
        subprocess.run(("ip", "link", "set", "lo", "up"), check=True)
        for number in MEMBERS:
            disk = directory / f"m{number}"
            disk.mkdir(mode=0o700)
            words = ("mount", "-t", "tmpfs", "-o", "size=200m,mode=0700", "tmpfs", str(disk))
            subprocess.run(words, check=True)
        self.cluster.start()
        self.store = EtcdStore(self.cluster.endpoints)

    def filler(self, number: int) -> Path:
        return self.cluster.directory / f"m{number}" / "filler"

    def fill(self, number: int) -> None:
        with suppress(OSError), self.filler(number).open("wb", buffering=0) as file:
            while file.write(b"\0" * 4096):
                pass

    async def write(self, count: int) -> int:
        """Write so many large values; return how many were acknowledged."""
        before = len(self.kept)
        for _ in range(count):
            key = f"/k{len(self.kept)}"
            value = f"{len(self.kept)}".encode().rjust(LARGE)
            with suppress(UnavailableError):
                await self.store.commit([Put(key=key, value=value)])
                self.kept[key] = value
        return len(self.kept) - before

    async def until_ended(self, numbers: tuple[int, ...]) -> None:
        for _ in range(TRIES):
            await self.write(1)
            if all(map(self.cluster.has_ended, numbers)):
                return
        pytest.fail("etcd does not notice that its disk is full")

    async def come_back(self, numbers: tuple[int, ...]) -> None:
        """Make room, and start the members again, as their unit does each second."""
        for number in numbers:
            self.filler(number).unlink()
        for number in numbers:
            self.cluster.start_again(number, wait=False)
        members = EtcdMembers(self.cluster.endpoints)
        await until_seen(members, have_all)
        await members.close()
        for key, value in self.kept.items():
            (entry,) = (await self.store.list(key)).entries[:1]
            assert (entry.key, entry.value) == (key, value)


def have_all(seen: StoreLook) -> bool:
    well = [each.index for each in seen.members if not each.trouble]
    return len(well) == len(MEMBERS) and len(set(well)) == 1


def on_disks(directory: Path, story: Callable[[Disks], Awaitable[None]]) -> None:
    async def run() -> None:
        disks = Disks(directory)
        try:
            await asyncio.wait_for(story(disks), 120)
        finally:
            await disks.store.close()
            disks.cluster.stop()

    in_machine(run)


def test_the_member_with_a_full_disk_ends_and_the_others_go_on(tmp_path: Path) -> None:
    async def story(disks: Disks) -> None:
        await disks.write(1)
        disks.fill(0)
        await disks.until_ended((0,))
        kept = len(disks.kept)
        while len(disks.kept) < kept + 3:  # over an election, if it led
            await disks.write(1)
        await disks.come_back((0,))

    on_disks(tmp_path, story)


def test_with_all_disks_full_nothing_is_taken_and_nothing_is_lost(tmp_path: Path) -> None:
    async def story(disks: Disks) -> None:
        await disks.write(3)
        for number in MEMBERS:
            disks.fill(number)
        await disks.until_ended(MEMBERS[:2])
        assert await disks.write(2) == 0, "a majority is gone"
        for number in MEMBERS:
            if not disks.cluster.has_ended(number):
                disks.cluster.kill(number)
        await disks.come_back(MEMBERS)
        kept = len(disks.kept)
        while len(disks.kept) == kept:
            await disks.write(1)

    on_disks(tmp_path, story)
