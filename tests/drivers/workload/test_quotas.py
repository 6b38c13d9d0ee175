"""Project quotas refuse what a volume may not have, where kernel and file system have them.

`scripts/on-debian-kernel .venv/bin/pytest -n0 tests/drivers/workload/test_quotas.py` does.
"""

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pltfrms.drivers.workload.volumes import Volumes
from pltfrms.model.services.storage import VolumeSpec

MIB = 2**20
DATA = VolumeSpec(name="data", path="/srv/data", size_bytes=4 * MIB)
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


def test_a_volume_takes_no_more_than_its_size(disk: Path) -> None:
    volumes = Volumes(disk)
    (found,) = volumes.prepare("db.fra.1@1", [DATA]).values()
    (other,) = volumes.prepare("db.fra.2@1", [DATA]).values()
    Path(found, "rows").write_bytes(b"x" * 3 * MIB)
    with pytest.raises(OSError, match=r"quota|space") as refused:
        Path(found, "more").write_bytes(b"x" * 3 * MIB)
    assert refused.value.errno in {errno.EDQUOT, errno.ENOSPC}
    Path(other, "rows").write_bytes(b"x" * 3 * MIB)
    uses = volumes.uses()
    for volume in ("db.fra.1@1", "db.fra.2@1"):
        use = uses[volume]["data"]
        assert use.limited
        assert 3 * MIB <= use.bytes <= 4 * MIB


def test_a_volume_that_is_given_more_takes_more(disk: Path) -> None:
    volumes = Volumes(disk)
    volumes.prepare("db.fra.1@1", [DATA])
    larger = VolumeSpec(name="data", path="/srv/data", size_bytes=16 * MIB)
    (found,) = volumes.prepare("db.fra.1@1", [larger]).values()
    Path(found, "rows").write_bytes(b"x" * 8 * MIB)
    assert volumes.uses()["db.fra.1@1"]["data"].bytes >= 8 * MIB
