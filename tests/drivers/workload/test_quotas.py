"""Project quotas refuse what a volume may not have, where kernel and file system have them.

`scripts/on-debian-kernel .venv/bin/pytest -n0 tests/drivers/workload/test_quotas.py` does.
"""

import errno
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.drivers.workload.disks.volumes import Volumes
from pltfrms.model.services.storage import VolumeSpec

MIB = 2**20
USER = 999
DATA = VolumeSpec(name="data", path="/srv/data", size_bytes=4 * MIB, owner=f"{USER}")
pytestmark = pytest.mark.root


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on an ext4 with project quotas."""
    image, place = tmp_path / "image", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    options = ("-q", "-O", "project,quota", "-E", "quotatype=prjquota")
    made = subprocess.run(["mkfs.ext4", *options, image], check=False, capture_output=True)
    mount = ["mount", "-o", "loop,prjquota", str(image), str(place)]
    if made.returncode or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no ext4 with project quotas can be had here")
    yield place
    subprocess.run(["umount", place], check=True)


def write(directory: str, name: str, size: int, user: int = USER) -> int:
    """Write as a user without capabilities; return 0, or why the kernel refuses."""
    above = os.open(directory, os.O_RDONLY)
    child = os.fork()
    if not child:
        code = 255
        try:
            os.setresuid(user, user, user)
            file = os.open(name, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=above)
            while size > 0:
                size -= os.write(file, b"x" * MIB)
            os.fsync(file)
            code = 0
        except OSError as error:
            code = error.errno or code
        finally:
            os._exit(code)
    os.close(above)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_volume_takes_no_more_than_its_size_but_of_root(disk: Path) -> None:
    volumes = Volumes(disk)
    (found,) = volumes.prepare("db.fra.1@1", [DATA]).values()
    (other,) = volumes.prepare("db.fra.2@1", [DATA]).values()
    assert write(found, "rows", 3 * MIB) == 0
    assert write(found, "more", 3 * MIB) in {errno.EDQUOT, errno.ENOSPC}
    assert write(other, "rows", 3 * MIB) == 0
    uses = volumes.uses()
    for volume in ("db.fra.1@1", "db.fra.2@1"):
        use = uses[volume]["data"]
        assert use.limited
        assert 3 * MIB <= use.bytes <= 4 * MIB
    assert write(found, "by-root", 3 * MIB, user=0) == 0
    assert volumes.uses()["db.fra.1@1"]["data"].bytes > 4 * MIB


def test_a_volume_that_is_given_more_takes_more(disk: Path) -> None:
    volumes = Volumes(disk)
    volumes.prepare("db.fra.1@1", [DATA])
    larger = replace(DATA, size_bytes=16 * MIB)
    (found,) = volumes.prepare("db.fra.1@1", [larger]).values()
    assert write(found, "rows", 8 * MIB) == 0
    assert volumes.uses()["db.fra.1@1"]["data"].bytes >= 8 * MIB
