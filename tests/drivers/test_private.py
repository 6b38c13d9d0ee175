"""What is nobody else's business: modes of files and directories with state."""

import asyncio
import os
import stat
import subprocess
from pathlib import Path

import pytest

from pltfrms.drivers.bird.archive import MrtArchive
from pltfrms.drivers.bird.daemon import BirdDaemon
from pltfrms.drivers.disk import DirectoryDisk
from pltfrms.drivers.private import make_directory

TEXT = "router id 192.0.2.1;\nprotocol device {}\n"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(autouse=True)
def _wide_umask() -> None:
    os.umask(0o022)


def test_documents_are_for_us_alone(tmp_path: Path) -> None:
    disk = DirectoryDisk(tmp_path / "state")
    disk.write("target.json", b"secret")
    assert mode(tmp_path / "state") == 0o711, "BIRD and instances have directories in it"
    assert mode(tmp_path / "state" / "target.json") == 0o600


def test_what_an_older_agent_left_open_is_closed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "target.json").write_text("secret")
    (state / ".target.json.new").write_text("half")
    (state / "bird").mkdir(mode=0o755)
    (state / "elsewhere").symlink_to(tmp_path)
    disk = DirectoryDisk(state)
    assert mode(state / "target.json") == mode(state / ".target.json.new") == 0o600
    assert mode(state / "bird") == 0o755, "directories are of who makes them"
    disk.write("target.json", b"new")
    assert mode(state / "target.json") == 0o600


def test_a_new_document_is_never_open_not_even_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    sync = os.fsync

    def look(descriptor: int) -> None:
        seen.extend(mode(path) for path in tmp_path.iterdir())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    DirectoryDisk(tmp_path).write("target.json", b"secret")
    assert set(seen) == {0o600}


def test_the_configuration_is_for_us_and_bird(tmp_path: Path) -> None:
    bird = BirdDaemon(tmp_path / "bird", tmp_path / "run" / "bird.ctl")
    asyncio.run(bird.apply(TEXT))
    for path in (tmp_path / "bird", tmp_path / "bird" / "gen-1"):
        assert mode(path) in {0o710, 0o700}
    assert mode(bird.config) in {0o640, 0o600}


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_bird_can_read_its_configuration_as_its_own_user_and_others_cannot() -> None:
    home = Path("/tmp") / f"pltfrms-private-{os.getpid()}"  # noqa: S108 - others pass there
    make_directory(home, 0o711)
    try:
        DirectoryDisk(home / "state").write("target.json", b"secret")
        daemon = BirdDaemon(home / "state" / "bird", home / "run" / "bird.ctl")
        asyncio.run(daemon.apply(TEXT))
        archive = MrtArchive(home / "state" / "mrt")
        record = archive.file(0)

        def may(user: str, *command: str) -> bool:
            group = "nogroup" if user == "nobody" else user
            words = ("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups")
            return not subprocess.run((*words, *command), check=False, timeout=10).returncode

        assert may("bird", "cat", str(daemon.start_config))
        assert may("bird", "touch", record)
        assert not may("bird", "cat", str(home / "state" / "target.json"))
        assert not may("bird", "ls", str(home / "state"))
        for secret in (daemon.config, home / "state" / "target.json", Path(record)):
            assert not may("nobody", "cat", str(secret))
    finally:
        subprocess.run(("rm", "-rf", str(home)), check=True, timeout=10)
