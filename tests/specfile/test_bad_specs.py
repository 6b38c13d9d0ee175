"""Every mistake is found, in its line, in words that say what to do."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pltfrms.errors import Problem, SpecError
from pltfrms.specfile import load_lab, load_platform, load_service
from tests.specfile.bad_adopted import ADOPTED
from tests.specfile.bad_aggregates import AGGREGATES
from tests.specfile.bad_containers import CONTAINERS
from tests.specfile.bad_labs import LABS
from tests.specfile.bad_metrics import METRICS
from tests.specfile.bad_names import CLIENTS, DOMAINS, NAMES
from tests.specfile.bad_places import PLACES
from tests.specfile.bad_ports import PORTS
from tests.specfile.bad_replicas import REPLICAS
from tests.specfile.bad_secrets import SECRETS
from tests.specfile.bad_services import SERVICES
from tests.specfile.bad_sessions import SESSIONS
from tests.specfile.bad_specs import PLATFORMS, Bad
from tests.specfile.bad_storage import ALLOWED, STORAGE
from tests.specfile.bad_vantage import VANTAGE
from tests.specfile.bad_zones import ZONES

EXAMPLE = Path("examples/three-datacenters")
MARK = "# <-"


def problems_of(load: Callable[[], object]) -> tuple[Problem, ...]:
    with pytest.raises(SpecError) as caught:
        load()
    return caught.value.problems


def changed(source: str, bad: Bad, directory: Path) -> tuple[Path, int]:
    text = (EXAMPLE / source).read_text()
    assert bad.old in text, "the table does not fit the example any more"
    text = text.replace(*bad.also, 1).replace(bad.old, bad.new, 1)
    path = directory / source
    path.write_text(text)
    marked = [number for number, line in enumerate(text.splitlines(), 1) if MARK in line]
    return path, marked[0] if marked else 0


def names(bad: Bad) -> str:
    return bad.name


def assert_said(problems: tuple[Problem, ...], bad: Bad, path: Path, line: int) -> None:
    assert all(problem.file == str(path) for problem in problems)
    said = [problem for problem in problems if bad.says in str(problem)]
    assert said, [str(problem) for problem in problems]
    if line:
        assert line in {problem.line for problem in said}, [str(p) for p in problems]
    assert list(problems) == sorted(problems, key=lambda problem: problem.line)


@pytest.mark.parametrize(
    "bad",
    [
        *PLATFORMS,
        *DOMAINS,
        *AGGREGATES,
        *SESSIONS,
        *PORTS,
        *ALLOWED,
        *PLACES,
        *VANTAGE,
        *METRICS,
    ],
    ids=names,
)
def test_a_wrong_platform_is_refused(bad: Bad, tmp_path: Path) -> None:
    path, line = changed("platform.yaml", bad, tmp_path)
    problems = problems_of(lambda: load_platform(path))
    assert_said(problems, bad, path, line)


@pytest.mark.parametrize(
    "bad",
    [*SERVICES, *NAMES, *CLIENTS, *REPLICAS, *CONTAINERS, *STORAGE, *ADOPTED, *SECRETS, *ZONES],
    ids=names,
)
def test_a_wrong_service_is_refused(bad: Bad, tmp_path: Path) -> None:
    path, line = changed("web.yaml", bad, tmp_path)
    platform = load_platform(EXAMPLE / "platform.yaml")
    problems = problems_of(lambda: load_service(path, platform))
    # What is missing is said where its surroundings begin.
    at = 2 if bad.name == "no probe" else line
    assert_said(problems, bad, path, at)


@pytest.mark.parametrize("bad", LABS, ids=names)
def test_a_wrong_lab_is_refused(bad: Bad, tmp_path: Path) -> None:
    path, line = changed("lab.yaml", bad, tmp_path)
    platform = load_platform(EXAMPLE / "platform.yaml")
    problems = problems_of(lambda: load_lab(path, platform))
    assert_said(problems, bad, path, line)


def test_all_problems_of_a_file_are_said_at_once(tmp_path: Path) -> None:
    text = (EXAMPLE / "platform.yaml").read_text()
    for old, new in (
        ("asn: 64500", "asn: banana"),  # wrong type at the top
        ("198.51.100.0/24", "198.51.100.0/25"),  # wrong value
        ("fra-n1: {cpu: 4, memory: 8GiB}", "fra-n1: {cpu: 4, memory: 8}"),  # entry is lost
        ("fra-n2: {cpu: 4,", "fra-n2: {cpu: 4, disk: 1TB,"),  # unknown field
        ("link: [lon-e1, fra-e2]", "link: [lon-e1, fra-e9]"),  # reference
        ("asn: 64700", "asn: 0"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "platform.yaml"
    path.write_text(text)
    problems = problems_of(lambda: load_platform(path))
    assert [(problem.line, problem.where) for problem in problems] == [
        (3, "asn"),
        (4, "aggregates.0"),
        (14, "datacenters.fra.nodes.fra-n1.memory"),
        (15, "datacenters.fra.nodes.fra-n2.disk"),
        (43, "backbone.2.link.1"),
        (62, "peers.ixp1.asn"),
    ]


def test_what_only_follows_from_another_mistake_is_not_said(tmp_path: Path) -> None:
    text = (EXAMPLE / "platform.yaml").read_text()
    # Without its id the datacenter cannot be read; its edges exist all the same.
    path = tmp_path / "platform.yaml"
    path.write_text(text.replace("    id: 2\n", "", 1))
    problems = problems_of(lambda: load_platform(path))
    assert [problem.where for problem in problems] == ["datacenters.ams.id"]


def test_indexes_stay_right_behind_an_entry_that_cannot_be_read(tmp_path: Path) -> None:
    text = (EXAMPLE / "platform.yaml").read_text()
    text = text.replace("- {link: [fra-e1, ams-e2], kind: direct,", "- {kind: direct,", 1)
    text = text.replace("link: [lon-e1, fra-e2]", "link: [lon-e1, nobody]", 1)
    path = tmp_path / "platform.yaml"
    path.write_text(text)
    problems = problems_of(lambda: load_platform(path))
    assert [problem.where for problem in problems] == ["backbone.0.link", "backbone.2.link.1"]


def test_indexes_stay_right_when_one_entry_goes_after_the_other(tmp_path: Path) -> None:
    text = (EXAMPLE / "platform.yaml").read_text()
    text = text.replace("- {link: [fra-e1, ams-e2], kind: direct,", "- {kind: direct,", 1)
    text = text.replace("link: [ams-e1, lon-e2]", "link: [ams-e1, nobody]", 1)
    text = text.replace("fra-e2], kind: direct", "fra-e2], kind: direkt", 1)
    path = tmp_path / "platform.yaml"
    path.write_text(text)
    problems = problems_of(lambda: load_platform(path))
    assert [problem.where for problem in problems] == [
        "backbone.0.link",
        "backbone.1.link.1",
        "backbone.2.kind",
    ]


def test_several_duplicate_keys_are_all_said(tmp_path: Path) -> None:
    path = tmp_path / "service.yaml"
    path.write_text((EXAMPLE / "web.yaml").read_text() + "service: a\nservice: b\n")
    problems = problems_of(lambda: load_service(path))
    assert len(problems) == 2
    assert all("first in line 2" in problem.what for problem in problems)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "the file is empty"),
        (b"\xff\xfe\xfd", "is not text in UTF-8"),
        (b"~", "must be a mapping, not empty"),
        (b"- a\n- b\n", "must be a mapping, not a list"),
        (b"platform: a\x07\n", "not YAML"),
        (b"[" * 2000, "nested too deeply"),
        (b"a: &a [*a]\n", "anchors"),
        (b"? [a]\n: b\n", "a key must be text"),
        (b"platform: !!python/object:os.system x\n", "is not supported"),
        (b"service: web\n", "this is a service file, not a platform file"),
        (b"platform: a\n---\nplatform: b\n", "not YAML"),
    ],
)
def test_what_is_no_spec_at_all_is_refused(text: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "platform.yaml"
    path.write_bytes(text)
    problems = problems_of(lambda: load_platform(path))
    assert any(says in str(problem) for problem in problems), list(map(str, problems))


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[ {b: "])
def test_a_deeply_nested_document_is_refused_before_its_depth_costs_time(
    opening: str, tmp_path: Path
) -> None:
    path = tmp_path / "platform.yaml"
    path.write_text(f"platform: {opening * (900_000 // len(opening))}")
    begun = time.thread_time()
    (problem,) = problems_of(lambda: load_platform(path))
    assert time.thread_time() - begun < 5
    assert "more than 20 levels" in problem.what or "not YAML" in problem.what


def test_a_document_that_is_too_large_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "web.yaml"
    path.write_text((EXAMPLE / "web.yaml").read_text() + "{" * 1_000_000)
    (problem,) = problems_of(lambda: load_service(path))
    assert (problem.file, problem.line) == (str(path), 0)
    assert "has more than 1000000 characters" in problem.what


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    (problem,) = problems_of(lambda: load_platform(tmp_path / "no.yaml"))
    assert (problem.line, problem.file) == (0, str(tmp_path / "no.yaml"))
