"""Spec files -> words of the model, or every problem at once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import time
from typing import Any, Generic, Literal, TypeVar

from pltfrms.codec import encode
from pltfrms.errors import InvariantError, Problem, SpecError
from pltfrms.model.addresses import Address
from pltfrms.model.network.lab import Lab
from pltfrms.model.network.topology import Platform
from pltfrms.model.services.jobs import JobSpec
from pltfrms.model.services.service import ServiceSpec
from pltfrms.specfile.beside import with_files
from pltfrms.specfile.building.job import build_job
from pltfrms.specfile.building.lab import build_lab
from pltfrms.specfile.building.platform import build_platform
from pltfrms.specfile.building.service import build_service
from pltfrms.specfile.checking.labs.lab import lab_findings
from pltfrms.specfile.checking.platforms.doubts import platform_notes
from pltfrms.specfile.checking.platforms.platform import platform_findings
from pltfrms.specfile.checking.services.container import tag_findings
from pltfrms.specfile.checking.services.job import job_findings, job_findings_here
from pltfrms.specfile.checking.services.service import (
    placement_findings,
    service_findings,
    service_notes,
)
from pltfrms.specfile.checking.services.variables import variable_notes
from pltfrms.specfile.document import Document, read
from pltfrms.specfile.findings import Finding
from pltfrms.specfile.reading import Reading, read_shape
from pltfrms.specfile.shapes.job import JobShape
from pltfrms.specfile.shapes.lab import LabShape
from pltfrms.specfile.shapes.platform import PlatformShape
from pltfrms.specfile.shapes.postgres import PostgresServiceShape
from pltfrms.specfile.shapes.service import ServiceShape
from pltfrms.specfile.shapes.shapes import Shape
from pltfrms.specfile.templates.postgres import place_in, written_out
from pltfrms.specfile.templates.postgres_checks import (
    postgres_findings,
    postgres_findings_here,
    postgres_notes,
)

_T = TypeVar("_T")
_S = TypeVar("_S", bound=Shape)

Kind = Literal["platform", "service", "postgres", "job", "lab"]
_SHAPES: dict[Kind, type[Shape]] = {
    "platform": PlatformShape,
    "service": ServiceShape,
    "postgres": PostgresServiceShape,
    "job": JobShape,
    "lab": LabShape,
}
_MOST_BYTES = 900_000
"""Of a platform as the store keeps it, with the prefixes out of other files; the store takes
1 000 000 at once."""
_TOP_KEYS: dict[str, Kind] = {
    "platform": "platform",
    "service": "service",
    "job": "job",
    "links": "lab",
    "internet": "lab",
}


@dataclass(frozen=True, slots=True)
class _Outcome(Generic[_T]):
    """A word, and what is wrong with it. Use the word only if nothing is."""

    word: _T | None
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...] = ()
    """What is no problem, but may be a mistake."""


# ---- files ---------------------------------------------------------------------------------


def load_platform(path: Path) -> Platform:
    """Return the platform that a file says.

    Raises:
        SpecError: every problem of the file.
    """
    return _word(_platform(read(path)))


def load_service(path: Path, platform: Platform | None = None) -> ServiceSpec:
    """Return the service that a file says; with `platform`, only if it can run there.

    Raises:
        SpecError: every problem of the file.
    """
    return _word(_service(read(path), platform))


def load_jobs(path: Path, platform: Platform | None = None) -> tuple[JobSpec, ...]:
    """Return the jobs of a directory by file name; with `platform`, only if they can run there.

    Raises:
        SpecError: every problem of the files. What is no job is not looked at.
    """
    documents = [each for each in _documents(path) if _kind(each) == "job"]
    jobs = [_job(document, platform) for document in documents]
    _refuse(
        [
            *_same_names(documents, jobs),
            *(problem for outcome in jobs for problem in outcome.problems),
        ]
    )
    return tuple(outcome.word for outcome in jobs if outcome.word is not None)


def load_lab(path: Path, platform: Platform) -> Lab:
    """Return the emulated internet around `platform` that a file says.

    Raises:
        SpecError: every problem of the file.
    """
    return _word(_lab(read(path), platform))


def load_file(
    path: Path, notes: list[Problem] | None = None, platform: Platform | None = None
) -> Platform | ServiceSpec | JobSpec:
    """Return what a file says, by its first word: `platform:`, `service:` or `job:`.

    With `platform`, a service or a job is refused that cannot run there.

    What is no problem, but may be a mistake, is added to `notes`.

    Raises:
        SpecError: every problem of the file, or it is none of them.
    """
    document = read(path)
    kind = _kind(document)
    if kind == "platform":
        read_platform = _platform(document)
        word = _word(read_platform)
        _note(notes, read_platform)
        return word
    if kind == "service":
        outcome = _service(document, platform)
        spec = _word(outcome)
        _note(notes, outcome)
        return spec
    if kind == "job":
        return _word(_job(document, platform))
    raise SpecError(document.problems or (_unknown_kind(document),))


def load_directory(
    path: Path, notes: list[Problem] | None = None, around: Platform | None = None
) -> tuple[Platform | None, tuple[ServiceSpec, ...], Lab | None]:
    """Return what all `*.yaml` and `*.yml` files of a directory say; services by file name.

    Services must be able to run on the directory's platform; if it has none, on `around`.
    What is no problem, but may be a mistake, is added to `notes`. Jobs are checked, and
    returned by `load_jobs`.

    Raises:
        SpecError: every problem of every file.
    """
    if not path.is_dir():
        what = "is not a directory"
        raise SpecError((Problem(str(path), 0, "", what, "is the path right?"),))
    documents = _documents(path)
    by_kind = {kind: [d for d in documents if _kind(d) == kind] for kind in _SHAPES}
    unknown = [d for d in documents if _kind(d) is None]
    problems = [
        *_only_one(by_kind["platform"], "platform"),
        *_only_one(by_kind["lab"], "lab"),
        *(problem for d in unknown for problem in d.problems or (_unknown_kind(d),)),
    ]
    platforms = [_platform(document) for document in by_kind["platform"]]
    platform = platforms[0].word if platforms and not platforms[0].problems else None
    place = platform if platforms else around
    services = [_service(document, place) for document in by_kind["service"]]
    jobs = [_job(document, place) for document in by_kind["job"]]
    labs = [_lab(document, platform) for document in by_kind["lab"]]
    if labs and not platforms:
        problems.append(_homeless(by_kind["lab"][0]))
    problems += _same_names(by_kind["service"], services)
    problems += _same_names(by_kind["job"], jobs)
    problems += _same_addresses(by_kind["service"], services)
    for found in (platforms, services, jobs, labs):
        problems += [problem for outcome in found for problem in outcome.problems]
    _refuse(problems)
    _note(notes, *platforms, *services)
    specs = tuple(outcome.word for outcome in services if outcome.word is not None)
    return platform, specs, labs[0].word if labs else None


def lines_of(path: Path) -> dict[str, tuple[str, dict[str, int]]]:
    """Return where `platform`, each `service NAME` and `job NAME` stands: file, and lines.

    These are by top field, and of each `secret 'NAME'`.

    What cannot be read is left out: who asks has read it before.
    """
    found: dict[str, tuple[str, dict[str, int]]] = {}
    for document in [read(path)] if path.is_file() else _documents(path):
        kind = _kind(document)
        if kind in {"platform", "service", "job"} and isinstance(document.data, dict):
            what = kind if kind == "platform" else f"{kind} {document.data[kind]}"
            lines = {key: document.line((key,)) for key in document.data}
            run = document.data.get("run")
            for name in run.get("secrets") or () if isinstance(run, dict) else ():
                lines[f"secret {name!r}"] = document.line(("run", "secrets", name))
            found[what] = (document.file, lines)
    return found


def json_schema(kind: Kind) -> dict[str, Any]:
    """Return the JSON Schema of a kind of spec file, for editors."""
    schema = _SHAPES[kind].model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


# ---- words ---------------------------------------------------------------------------------


def check_platform(platform: Platform) -> tuple[Problem, ...]:
    """Return everything that is wrong with a platform; the problems have no file and line."""
    return tuple(finding.problem() for finding in platform_findings(platform))


def check_job(spec: JobSpec, platform: Platform) -> tuple[Problem, ...]:
    """Return everything that is wrong with a job, by itself and on this platform."""
    found = (*job_findings(spec), *job_findings_here(spec, platform))
    findings = (*found, *tag_findings(spec.run))
    return tuple(finding.problem() for finding in findings)


def check_service(spec: ServiceSpec, platform: Platform) -> tuple[Problem, ...]:
    """Return everything that is wrong with a service, by itself and on this platform."""
    found = (*service_findings(spec), *placement_findings(spec, platform))
    findings = (*found, *tag_findings(spec.run))
    return tuple(finding.problem() for finding in findings)


# ---- how -----------------------------------------------------------------------------------


def _platform(document: Document) -> _Outcome[Platform]:
    reading = _read(PlatformShape, document)
    if reading.shape is None:
        return _Outcome(None, reading.problems)
    platform, notes = build_platform(reading.shape, Path(document.file).parent)
    reading = replace(reading, short=frozenset(notes.short))
    findings = [*notes.findings, *map(notes.located, platform_findings(platform))]
    findings += _oversize(platform)
    problems = _all_problems(document, reading, findings)
    doubts = () if problems else platform_notes(platform, int(time() * 1000))
    said = tuple(document.problem(notes.located(doubt)) for doubt in doubts)
    return _Outcome(platform, problems, said)


def _oversize(platform: Platform) -> Iterator[Finding]:
    try:
        size = len(encode(platform))
    except ValueError:  # characters that JSON cannot have are said already
        return
    if size > _MOST_BYTES:
        what = f"takes {size} bytes, at most {_MOST_BYTES} fit into the store"
        yield Finding((), what, "customers' prefixes take most: aggregate them (bgpq4 -A)")


def _service(document: Document, platform: Platform | None) -> _Outcome[ServiceSpec]:
    if isinstance(document.data, dict) and "postgres" in document.data:
        return _postgres(document, platform)
    document = with_files(document)
    reading = _read(ServiceShape, document)
    if reading.shape is None:
        return _Outcome(None, reading.problems)
    spec, findings = build_service(reading.shape)
    findings += service_findings(spec)
    if platform is not None:
        findings += placement_findings(spec, platform)
    doubts = (*service_notes(spec), *(variable_notes(spec, platform) if platform else ()))
    notes = tuple(map(document.problem, doubts))
    return _Outcome(spec, _all_problems(document, reading, findings), notes)


def _postgres(document: Document, platform: Platform | None) -> _Outcome[ServiceSpec]:
    reading = read_shape(PostgresServiceShape, document)
    if reading.shape is None:
        return _Outcome(None, reading.problems)
    words = reading.shape.postgres
    spec, found = build_service(written_out(reading.shape))
    found += service_findings(spec)
    if platform is not None:
        found += placement_findings(spec, platform)
    findings = [replace(each, where=place_in(each.where)) for each in found]
    findings += postgres_findings(words)
    if platform is None:
        return _Outcome(spec, _all_problems(document, reading, findings))
    findings += postgres_findings_here(words, spec, platform)
    notes = tuple(map(document.problem, postgres_notes(words, spec, platform)))
    return _Outcome(spec, _all_problems(document, reading, findings), notes)


def _job(document: Document, platform: Platform | None) -> _Outcome[JobSpec]:
    document = with_files(document)
    reading = _read(JobShape, document)
    if reading.shape is None:
        return _Outcome(None, reading.problems)
    spec, findings = build_job(reading.shape)
    findings += job_findings(spec)
    if platform is not None:
        findings += job_findings_here(spec, platform)
    return _Outcome(spec, _all_problems(document, reading, findings))


def _lab(document: Document, platform: Platform | None) -> _Outcome[Lab]:
    reading = _read(LabShape, document)
    if reading.shape is None or platform is None:
        return _Outcome(None, reading.problems)
    lab = build_lab(reading.shape, platform)
    findings = list(lab_findings(lab, platform))
    return _Outcome(lab, _all_problems(document, reading, findings))


def _read(kind: type[_S], document: Document) -> Reading[_S]:
    """Read the shape, unless the file is none, or of another kind."""
    if document.data is None and document.problems:
        return Reading(None, document.problems)
    said = _kind(document)
    if said is not None and _SHAPES[said] is not kind:
        wanted = next(name for name, shape in _SHAPES.items() if shape is kind)
        what = f"this is a {said} file, not a {wanted} file"
        return Reading(None, (document.problem(Finding((), what)),))
    return read_shape(kind, document)


def _all_problems(
    document: Document, reading: Reading[_S], findings: Iterable[Finding]
) -> tuple[Problem, ...]:
    believed = [
        document.problem(finding)
        for finding in (reading.in_document(finding) for finding in findings)
        if reading.believes(finding)
    ]
    return (*document.problems, *reading.problems, *believed)


def _word(outcome: _Outcome[_T]) -> _T:
    _refuse(outcome.problems)
    if outcome.word is None:
        raise InvariantError("a spec without problems gave no word")
    return outcome.word


def _note(notes: list[Problem] | None, *outcomes: _Outcome[Any]) -> None:
    if notes is not None:
        notes += [note for outcome in outcomes for note in outcome.notes]


def _refuse(problems: Iterable[Problem]) -> None:
    unique = dict.fromkeys(problems)
    if unique:
        raise SpecError(tuple(sorted(unique, key=lambda p: (p.file, p.line))))


# ---- which file is what --------------------------------------------------------------------


def _documents(path: Path) -> list[Document]:
    files = sorted(file for file in path.iterdir() if file.suffix in {".yaml", ".yml"})
    return [read(file) for file in files]


def _kind(document: Document) -> Kind | None:
    if not isinstance(document.data, dict):
        return None
    return next((_TOP_KEYS[key] for key in _TOP_KEYS if key in document.data), None)


def _unknown_kind(document: Document) -> Problem:
    what = "no platform, service or job: there is no such top field"
    hint = "start with platform: NAME, service: NAME or job: NAME"
    return document.problem(Finding((), what, hint))


def _only_one(documents: list[Document], noun: str) -> Iterator[Problem]:
    for document in documents[1:]:
        what = f"a second {noun}, the first is in {documents[0].file}"
        yield document.problem(Finding((), what, "keep one"))


def _homeless(document: Document) -> Problem:
    what = "a lab without a platform"
    return document.problem(Finding((), what, "put platform.yaml beside it"))


def _same_names(
    documents: Sequence[Document], outcomes: Sequence[_Outcome[Any]]
) -> Iterator[Problem]:
    owners: dict[str, str] = {}
    for document, outcome in zip(documents, outcomes, strict=True):
        if outcome.word is None:
            continue
        owner = owners.setdefault(outcome.word.name, document.file)
        if owner != document.file:
            what = f"{outcome.word.name} is already in {owner}"
            where = (_kind(document) or "",)
            yield document.problem(Finding(where, what, "names are unique"))


def _same_addresses(
    documents: list[Document], outcomes: list[_Outcome[ServiceSpec]]
) -> Iterator[Problem]:
    owners: dict[Address, str] = {}
    for document, outcome in zip(documents, outcomes, strict=True):
        for index, address in enumerate(outcome.word.addresses if outcome.word else ()):
            owner = owners.setdefault(address, document.file)
            if owner != document.file:
                what = f"{address} is already in {owner}"
                yield document.problem(Finding(("addresses", index), what, "one service each"))
