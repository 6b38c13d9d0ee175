"""Spec files, read by what is imported only then: two commands in three need none."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pltfrms.cli.shared.output import echo
from pltfrms.errors import Problem, SpecError, UsageError
from pltfrms.model.messages.api import Change
from pltfrms.model.network.lab import Lab
from pltfrms.model.network.topology import Platform
from pltfrms.model.services.jobs import JobSpec
from pltfrms.model.services.service import ServiceSpec

_ABOUT = re.compile(r"(service|job|platform)(?:[ /]([a-z0-9-]+))?(?::0)?: ")
_APPLIED = re.compile(rb"^(service|job) *:", re.MULTILINE)
_FIELD = re.compile(r"[a-z_]+")


def load_platform(path: Path) -> Platform:
    """Return the platform of a file; SpecError with every problem."""
    from pltfrms import specfile  # noqa: PLC0415 - 0.2 s

    return specfile.load_platform(path)


def load_lab(path: Path, platform: Platform) -> Lab:
    """Return the lab of a file, checked against the platform; SpecError."""
    from pltfrms import specfile  # noqa: PLC0415 - as above

    return specfile.load_lab(path, platform)


def load_file(
    path: Path, notes: list[Problem], platform: Platform | None
) -> Platform | ServiceSpec | JobSpec:
    """Return what a file says, see specfile.load_file; SpecError."""
    from pltfrms import specfile  # noqa: PLC0415 - as above

    return specfile.load_file(path, notes, platform)


def load_directory(
    path: Path, notes: list[Problem] | None = None, around: Platform | None = None
) -> tuple[Platform | None, tuple[ServiceSpec, ...], Lab | None]:
    """Return everything that the files of a directory say; SpecError."""
    from pltfrms import specfile  # noqa: PLC0415 - as above

    return specfile.load_directory(path, notes, around)


def load_jobs(path: Path, platform: Platform | None) -> tuple[JobSpec, ...]:
    """Return the jobs of a directory, see specfile.load_jobs; SpecError."""
    from pltfrms import specfile  # noqa: PLC0415 - as above

    return specfile.load_jobs(path, platform)


def change_for(
    path: Path, change: Change, platform: Platform, *, ask_tags: bool = True
) -> Change:
    """Return a change with its services and jobs read anew, to run on `platform`.

    They are those of a file, or of a directory without a platform of its own.

    Raises:
        SpecError: every problem of the files; what cannot run on `platform` is one.
    """
    read = _read_change(path, [], platform, ask_tags=ask_tags)
    return replace(change, services=read.services, jobs=read.jobs)


@contextmanager
def located(path: Path) -> Iterator[None]:
    """Let what a change is refused for say the file and the line that it is about.

    A controller, and a plan without one, know words and no files.
    """
    try:
        yield
    except SpecError:
        raise
    except UsageError as error:
        from pltfrms.specfile import lines_of  # noqa: PLC0415 - as above

        places = lines_of(path)
        told = [_with_place(line, places) for line in str(error).splitlines()]
        raise UsageError("\n".join(told)) from error


def _with_place(sentence: str, places: Mapping[str, tuple[str, Mapping[str, int]]]) -> str:
    match = _ABOUT.match(sentence)
    about = f"{match[1]} {match[2] or ''}".strip() if match else ""
    if match is None or about not in places:
        return sentence
    file, lines = places[about]
    words = [word for word in lines if word.startswith("secret ") and word in sentence]
    words += [word for word in _FIELD.findall(sentence[match.end() :]) if word != match[1]]
    line = next((lines[word] for word in words if word in lines), lines[match[1]])
    return f"{file}:{line}: {sentence}"


def read_change(path: Path, *, ask_tags: bool = True) -> Change:
    """Return the change that a file or a directory of files says.

    What may be a mistake is noted on standard error. Without `ask_tags` images are named as
    they are in the files, and no registry is asked.

    Raises:
        SpecError: every problem of the files.
    """
    notes: list[Problem] = []
    change = _read_change(path, notes, None, ask_tags=ask_tags)
    for note in notes:
        echo(f"note: {note}", err=True)
    return change


def require_none_below(path: Path) -> None:
    """Refuse a directory below which there are services or jobs: nobody reads them there.

    Raises:
        UsageError: there is one, which is taken for one that is to go.
    """
    for each in sorted(path.glob("*/**/*.y*ml")):
        hidden = any(part.startswith(".") for part in each.relative_to(path).parts)
        if hidden or not each.is_file() or not _APPLIED.search(each.read_bytes()):
            continue
        raise UsageError(
            f"{each}: a service or a job in a directory below {path}, which is not read: with "
            f"--prune it counts as gone; move the file to {path}, or away"
        )


def _read_change(
    path: Path, notes: list[Problem], around: Platform | None, *, ask_tags: bool
) -> Change:
    change = _said_change(path, notes, around)
    if not ask_tags:
        return change
    from pltfrms.cli.shared.tags import with_digests  # noqa: PLC0415 - only here

    with located(path):
        return with_digests(change)


def _said_change(path: Path, notes: list[Problem], around: Platform | None) -> Change:
    if path.is_dir():
        platform, services, _ = load_directory(path, notes, around)
        jobs = load_jobs(path, platform or around)
        if platform is None and not services and not jobs:
            what = "has no spec file: no *.yaml or *.yml that says platform:, service: or job:"
            raise SpecError((Problem(str(path), 0, "", what, "is the path right?"),))
        return Change(platform=platform, services=services, jobs=jobs)
    document = load_file(path, notes, around)
    if isinstance(document, Platform):
        return Change(platform=document)
    if isinstance(document, JobSpec):
        return Change(jobs=(document,))
    return Change(services=(document,))
