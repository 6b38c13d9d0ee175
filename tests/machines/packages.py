"""The package, built from this repository and its history, and what is asked of its file."""

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.machines.bed import ROOT

BEFORE = "764776899b65df321debdb6864bd57ae08ca3a09"
"""The commit that stands for the release before this one; move it at each release."""
VERSION_BEFORE = "0.0.9"
"""No release has been yet: the number that it would have."""
_GIT = ("git", "-c", "safe.directory=*", "-C", str(ROOT))


def build(
    files: Path, directory: Path, root: Path = ROOT, *, from_nothing: bool = False
) -> Path:
    """Build the package for the Debian whose files these are, if asked with nothing kept."""
    directory.mkdir(exist_ok=True)
    done = subprocess.run(
        [root / "scripts/build-deb", files],
        env={
            **os.environ,
            "PLTFRMS_DIST": str(directory),
            **({"PLTFRMS_KEPT": ""} if from_nothing else {}),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def has_history() -> bool:
    """Return whether this clone has the commit of the release before."""
    return not subprocess.run(
        [*_GIT, "cat-file", "-e", f"{BEFORE}^{{commit}}"], capture_output=True, check=False
    ).returncode


def build_before(files: Path) -> Path:
    """Build the package of the release before from the sources that it had, if nobody has yet.

    It is kept beside the files of its Debian.
    """
    kept = files.with_name(f"{files.name}.{VERSION_BEFORE}-{BEFORE[:12]}.deb")
    if not kept.exists():
        for older in files.parent.glob(f"{files.name}.*.deb"):
            older.unlink()
        with TemporaryDirectory(dir=files.parent) as name:
            _build_before(files, Path(name)).rename(kept)
    return kept


def _build_before(files: Path, directory: Path) -> Path:
    with TemporaryDirectory() as name:
        root = Path(name)
        unpack_sources(root)
        (root / ".venv").symlink_to(ROOT / ".venv")
        (root / "src/pltfrms/__init__.py").write_text(
            f'"""The release before."""\n\n__version__ = "{VERSION_BEFORE}"\n'
        )
        return build(files, directory, root)


def unpack_sources(root: Path) -> None:
    """Write the sources of the release before into a directory."""
    archive = subprocess.run([*_GIT, "archive", BEFORE], capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", root], input=archive.stdout, check=True)


def renumbered(
    package: Path, directory: Path, version: str, *, without_files: bool = False
) -> Path:
    """Return the package with another version number, and the same or only scripts in it."""
    stage, file = directory / package.stem, directory / f"{version}-{package.name}"
    stage.mkdir()
    if without_files:
        subprocess.run(["dpkg-deb", "-e", package, stage / "DEBIAN"], check=True)
    else:
        subprocess.run(["dpkg-deb", "-R", package, stage], check=True)
    control = stage / "DEBIAN/control"
    lines = control.read_text().splitlines(keepends=True)
    control.write_text(
        "".join(
            f"Version: {version}\n" if line.startswith("Version:") else line for line in lines
        )
    )
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zzstd", "-z1", "-b", stage, file],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return file


def unpack(package: Path, directory: Path) -> Path:
    """Return a directory with the files of the package."""
    subprocess.run(["dpkg-deb", "-x", package, directory], check=True)
    return directory
