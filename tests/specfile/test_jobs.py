"""Files of jobs: what they say, and what is refused with its line."""

from pathlib import Path

import pytest

from pltfrms.errors import SpecError
from pltfrms.model.network.topology import Platform
from pltfrms.model.services.jobs import JobSpec, Missed
from pltfrms.model.services.service import Run
from pltfrms.specfile import check_job, load_directory, load_file, load_jobs, load_platform

EXAMPLE = Path("examples/three-datacenters")
JOB = """\
job: backup
run:
  process: [pg_dump, db]
  cpu: 0.5
  memory: 64MiB
datacenters: [ams, fra]
schedule: "0 3 * * *"
timezone: Europe/Berlin
timeout: 2h
retries: 1
missed: once
group: shop
labels: {team: db}
"""


def written(text: str, directory: Path) -> Path:
    path = directory / "backup.yaml"
    path.write_text(text)
    return path


def test_a_file_says_a_job(tmp_path: Path) -> None:
    job = load_file(written(JOB, tmp_path), None, load_platform(EXAMPLE / "platform.yaml"))
    assert job == JobSpec(
        name="backup",
        run=Run(process=("pg_dump", "db"), cpu=0.5, memory_bytes=64 * 1024 * 1024),
        datacenters=("ams", "fra"),
        schedule="0 3 * * *",
        timezone="Europe/Berlin",
        timeout_ms=7_200_000,
        retries=1,
        missed=Missed.ONCE,
        labels=(("team", "db"),),
        group="shop",
    )


def test_little_is_enough(tmp_path: Path) -> None:
    job = load_file(written("job: migrate\nrun: {process: [migrate]}\n", tmp_path))
    assert isinstance(job, JobSpec)
    assert job == JobSpec(name="migrate", run=Run(process=("migrate",)))
    assert job.times is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("job: backup", "job: Back up", "'Back up' is not a name"),
        ("process: [pg_dump, db]", "process: []", "there is no command"),
        ("process: [pg_dump, db]", "systemd: a.service", "a job is what we start"),
        ("process: [pg_dump, db]", "external: true", "a job is what we start"),
        ("cpu: 0.5", "zones: {reload: [a]}", "a job answers no names"),
        (
            "cpu: 0.5",
            "store: {secret: a}\n  secrets: {a: {file: a}}",
            "a job has no part of the store",
        ),
        ("db]", '"${pltfrms.address6}"]', "unknown variable"),
        ("db]", '"${pltfrms.service.db.address6}"]', "unknown variable"),
        ("cpu: 0.5", "cpu: 900", "no node where it may run has so much"),
        ("memory: 64MiB", "memory: 900TiB", "no node where it may run has so much"),
        ("[ams, fra]", "[ams, mars]", "there is no datacenter 'mars'"),
        ("[ams, fra]", "[ams, ams]", "ams is in the list twice"),
        ('"0 3 * * *"', '"0 3 * *"', "has 4 fields, not 5"),
        ('"0 3 * * *"', '"0 3 30 2 *"', "it is never due"),
        ('"0 3 * * *"', '"0 3 * * *\\0"', "is no day of the week"),
        ("Europe/Berlin", "../../etc/passwd", "is not a time zone"),
        ("Europe/Berlin", "Mars/Base", "is not a time zone that is known here"),
        ("timeout: 2h", "timeout: 200ms", "is outside 1s..168h"),
        ("timeout: 2h", "timeout: 169h", "is outside 1s..168h"),
        ("retries: 1", "retries: 11", "11 is outside 0..10"),
        ("missed: once", "missed: twice", "twice"),
        ("missed: once", "replicas: 2", "unknown field"),
        ("{team: db}", "{group: db}", "is not the name of a label"),
    ],
)
def test_a_mistake_is_refused_with_its_line(
    old: str, new: str, says: str, tmp_path: Path
) -> None:
    assert old in JOB
    path = written(JOB.replace(old, new), tmp_path)
    line = JOB[: JOB.index(old)].count("\n") + 1
    with pytest.raises(SpecError) as caught:
        load_file(path, None, load_platform(EXAMPLE / "platform.yaml"))
    (problem,) = (each for each in caught.value.problems if says in str(each))
    assert (problem.file, problem.line) == (str(path), line)


def test_words_are_judged_without_a_file() -> None:
    platform = load_platform(EXAMPLE / "platform.yaml")
    good = JobSpec(name="backup", run=Run(process=("true",)), schedule="0 3 * * *")
    assert check_job(good, platform) == ()
    bad = JobSpec(name="a b", run=Run(process=("true",)), datacenters=("mars",))
    assert [problem.where for problem in check_job(bad, platform)] == ["job", "datacenters.0"]


def test_a_directory_has_jobs_beside_services(tmp_path: Path) -> None:
    for each in EXAMPLE.glob("*.yaml"):
        (tmp_path / each.name).write_text(each.read_text())
    written(JOB, tmp_path)
    platform, services, _ = load_directory(tmp_path)
    assert platform is not None
    assert services
    assert [job.name for job in load_jobs(tmp_path, platform)] == ["backup"]
    (tmp_path / "other.yaml").write_text(JOB)
    with pytest.raises(SpecError, match="backup is already in"):
        load_directory(tmp_path)
    with pytest.raises(SpecError, match="backup is already in"):
        load_jobs(tmp_path)


def test_what_is_no_job_is_none_of_a_directory() -> None:
    platform = load_file(EXAMPLE / "platform.yaml")
    assert isinstance(platform, Platform)
    assert load_jobs(EXAMPLE, platform) == ()
