"""An agent as a process whose disks are small and full: what runs goes on, and it heals."""

import contextlib
import errno
import os
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from pltfrms.drivers.workload.instance.records import start_ticks
from tests.agent.test_main import ONE, Node, announced, routes
from tests.namespaces import in_machine

PAGE = bytes(4096)


class SmallDisks(Node):
    """Its state and its runtime files have a megabyte each."""

    NAMES = ("state", "runtime")

    def build(self) -> None:
        for name in self.NAMES:
            (self.root / name).mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs"]
            subprocess.run((*mount, self.root / name), check=True)
        super().build()

    def fill(self) -> None:
        """Leave not a byte."""
        for name in self.NAMES:
            filler = (self.root / name / "filler").open("ab", buffering=0)
            with contextlib.suppress(OSError), filler:
                while filler.write(PAGE):
                    pass
            probe = self.root / name / "probe"
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                probe.write_bytes(PAGE)
            probe.unlink(missing_ok=True)

    def make_room(self) -> None:
        for name in self.NAMES:
            (self.root / name / "filler").unlink()

    def clear(self) -> None:
        for mounted in ("runtime/bpf", *self.NAMES):
            subprocess.run(("umount", "-l", self.root / mounted), check=True)

    @property
    def record(self) -> Path:
        return self.root / "runtime" / "instances" / f"{ONE.id}.json"

    def said(self, *words: str) -> bool:
        """Return whether a line of the log has all of these words."""
        return any(all(word in line for word in words) for line in self.log.splitlines())


async def _starts_anew_with_a_torn_record(node: SmallDisks) -> None:
    before, pid = routes(), node.init_pid
    (node.root / "state" / "routing.json").unlink()
    node.fill()
    node.start()
    await node.until(lambda: node.said("instance adopted"))
    await node.until(lambda: node.said("problem", "disk, routing.json", "No space left"))
    os.truncate(node.record, 20)
    await node.until(lambda: node.said("problem", "instance records", "No space left"))
    assert start_ticks(pid)
    assert routes() == before
    assert node.record.stat().st_size == 20

    node.make_room()
    await node.until(lambda: node.said("problem solved", "disk, routing.json"))
    await node.until(lambda: node.said("problem solved", "instance records"))
    assert (node.init_pid, routes()) == (pid, before)
    assert (node.root / "state" / "routing.json").exists()


async def _starts_an_instance_again(node: SmallDisks) -> None:
    """The room of the old record is room for the new one."""
    pid = node.init_pid
    node.fill()
    os.kill(pid, signal.SIGKILL)
    await node.until(lambda: node.init_pid not in {0, pid} and announced())
    node.make_room()


async def _life_on_full_disks() -> None:
    with tempfile.TemporaryDirectory(prefix="full-disk-") as directory:
        node = SmallDisks(Path(directory))
        node.build()
        node.start()
        await node.until(announced)
        node.stop()
        await _starts_anew_with_a_torn_record(node)
        await _starts_an_instance_again(node)
        node.stop()
        assert not node.said("failure")
        os.kill(node.init_pid, signal.SIGKILL)
        node.clear()


@pytest.mark.root
def test_on_full_disks_what_runs_goes_on_is_said_and_heals_by_itself() -> None:
    in_machine(_life_on_full_disks)
