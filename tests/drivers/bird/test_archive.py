"""The MRT archive stays small."""

from datetime import UTC, datetime
from pathlib import Path

from pltfrms.drivers.bird.archive import MrtArchive

HOUR_MS = 3_600_000
NOON_MS = int(datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC).timestamp() * 1000)


def _fill(archive: MrtArchive, hours: int, size: int) -> list[str]:
    names = []
    for number in range(hours):
        file = Path(archive.file(NOON_MS + number * HOUR_MS))
        file.write_bytes(b"x" * size)
        names.append(file.name)
    return names


def test_there_is_one_file_per_hour_of_utc(tmp_path: Path) -> None:
    archive = MrtArchive(tmp_path / "mrt")
    assert archive.file(NOON_MS) == str(tmp_path / "mrt" / "2026-01-31T23.mrt")
    assert archive.file(NOON_MS + 1000) == str(tmp_path / "mrt" / "2026-02-01T00.mrt")
    assert (tmp_path / "mrt").is_dir()


def test_the_oldest_files_go_first(tmp_path: Path) -> None:
    archive = MrtArchive(tmp_path, most_files=3)
    names = _fill(archive, 5, 10)
    (tmp_path / "notes.txt").touch()
    archive.prune(NOON_MS + 4 * HOUR_MS)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names[2:], "notes.txt"]


def test_size_is_bounded_and_the_present_file_stays(tmp_path: Path) -> None:
    archive = MrtArchive(tmp_path, most_bytes=25)
    names = _fill(archive, 4, 10)
    archive.prune(NOON_MS + 3 * HOUR_MS)
    assert sorted(path.name for path in tmp_path.iterdir()) == names[2:]
    (tmp_path / names[3]).write_bytes(b"x" * 100)
    archive.prune(NOON_MS + 3 * HOUR_MS)
    assert [path.name for path in tmp_path.iterdir()] == names[3:]
