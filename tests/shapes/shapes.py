"""Platforms as operators write them: a directory each, and what every one must keep."""

from dataclasses import dataclass
from pathlib import Path

from pltfrms.model.network.lab import Lab
from pltfrms.model.network.topology import Platform
from pltfrms.specfile.load import load_lab, load_platform

DIRECTORY = Path(__file__).parent
NAMES = tuple(sorted(each.parent.name for each in DIRECTORY.glob("*/platform.yaml")))
WITH_LABS = tuple(sorted(each.parent.name for each in DIRECTORY.glob("*/lab.yaml")))


@dataclass(frozen=True, slots=True)
class Shape:
    """One platform, and the internet around it if it can be started as a lab."""

    directory: Path
    platform: Platform
    lab: Lab | None


def read(name: str) -> Shape:
    """Return a platform of this directory by its name."""
    directory = DIRECTORY / name
    platform = load_platform(directory / "platform.yaml")
    lab = directory / "lab.yaml"
    return Shape(directory, platform, load_lab(lab, platform) if lab.exists() else None)
