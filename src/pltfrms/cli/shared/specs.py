"""Spec files, read by what is imported only then: two commands in three need none."""

from pathlib import Path

import click

from pltfrms.errors import Problem
from pltfrms.model.api import Change
from pltfrms.model.lab import Lab
from pltfrms.model.service import ServiceSpec
from pltfrms.model.topology import Platform


def load_platform(path: Path) -> Platform:
    """Return the platform of a file; SpecError with every problem."""
    from pltfrms import specfile  # noqa: PLC0415 - 0.2 s

    return specfile.load_platform(path)


def load_service(path: Path, platform: Platform) -> ServiceSpec:
    """Return the service of a file, checked against the platform; SpecError."""
    from pltfrms import specfile  # noqa: PLC0415 - as above

    return specfile.load_service(path, platform)


def load_lab(path: Path, platform: Platform) -> Lab:
    """Return the lab of a file, checked against the platform; SpecError."""
    from pltfrms import specfile  # noqa: PLC0415 - as above

    return specfile.load_lab(path, platform)


def load_file(path: Path, notes: list[Problem] | None = None) -> Platform | ServiceSpec:
    """Return the platform or the service of a file; SpecError."""
    from pltfrms import specfile  # noqa: PLC0415 - as above

    return specfile.load_file(path, notes)


def load_directory(
    path: Path, notes: list[Problem] | None = None
) -> tuple[Platform | None, tuple[ServiceSpec, ...], Lab | None]:
    """Return everything that the files of a directory say; SpecError."""
    from pltfrms import specfile  # noqa: PLC0415 - as above

    return specfile.load_directory(path, notes)


def read_change(path: Path) -> Change:
    """Return the change that a file or a directory of files says.

    What may be a mistake is noted on standard error.

    Raises:
        SpecError: every problem of the files.
    """
    notes: list[Problem] = []
    change = _read_change(path, notes)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    return change


def _read_change(path: Path, notes: list[Problem]) -> Change:
    if path.is_dir():
        platform, services, _ = load_directory(path, notes)
        return Change(platform=platform, services=services)
    document = load_file(path, notes)
    if isinstance(document, Platform):
        return Change(platform=document)
    return Change(services=(document,))
