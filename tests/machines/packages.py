"""The package, built from this repository, and what is asked of its file."""

import os
import subprocess
from pathlib import Path

from tests.machines.bed import ROOT


def build(files: Path, directory: Path) -> Path:
    """Build the package for the Debian whose files these are."""
    done = subprocess.run(
        [ROOT / "scripts/build-deb", files],
        env={**os.environ, "PLTFRMS_DIST": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def newer(package: Path, directory: Path) -> Path:
    """Return the package with a later version number, and the same in it."""
    stage, file = directory / "newer", directory / f"newer-{package.name}"
    subprocess.run(["dpkg-deb", "-R", package, stage], check=True)
    control = stage / "DEBIAN/control"
    lines = control.read_text().splitlines(keepends=True)
    control.write_text(
        "".join(
            f"Version: 9.{line[9:]}" if line.startswith("Version:") else line for line in lines
        )
    )
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "-b", stage, file],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return file


def unpack(package: Path, directory: Path) -> Path:
    """Return a directory with the files of the package."""
    subprocess.run(["dpkg-deb", "-x", package, directory], check=True)
    return directory
