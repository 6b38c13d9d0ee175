"""No text of a platform or a service says more to a daemon, a shell or a path than it is."""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pltfrms.errors import SpecError
from pltfrms.model.network.topology import Platform, Role
from pltfrms.render.bird import render_bird
from pltfrms.render.etcd import Beginning, etcd_command, peer_url
from pltfrms.render.external import render_external_daemons
from pltfrms.render.filter import render_filter
from pltfrms.specfile import check_platform, check_service, load_platform, load_service
from tests.shapes.shapes import DIRECTORY, NAMES, read

EXAMPLE = Path(__file__).parents[2] / "examples" / "three-datacenters"
NASTY = (
    '"; } protocol device evil { } #',
    "a\n}\nprotocol static evil { ipv4; }",
    "a\r\ninclude /etc/passwd",
    "a # comment",
    "a /* b",
    "*/ a",
    "$(touch /tmp/evil)",
    "`id`",
    "a;b|c&d",
    "'a'",
    "../../etc/evil",
    "/etc/evil",
    ".",
    "..",
    "-rf",
    "--data-dir=/tmp/evil",
    "a b",
    "a\tb",
    "a\\",
    "\\n",
    "a\x00b",
    "a\x1b[2Jb",
    "a\x7fb",
    "a\u2028b",
    "a\u202eb",
    "\uff41\uff42",
    "а",  # noqa: RUF001 - Cyrillic, which is the point
    "٣",
    "a" * 300,
    "",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "${pltfrms.node}",
    "%s%n",
    "\ud800",
)
_TOKEN = re.compile(
    r"""\#[^\n]*|//[^\n]*|/\*.*?\*/|"[^"\n]*"?|'[^'\n]*'?|[A-Za-z0-9_.:/%@~-]+|\S""", re.DOTALL
)
_T = TypeVar("_T")


def leaves(word: Any, kind: str = "") -> Iterator[tuple[str, str]]:
    """Yield class, field and value of every text in a word of the model."""
    if isinstance(word, str) and not isinstance(word, Enum):
        yield kind, word
    elif is_dataclass(word) and not isinstance(word, type):
        for each in fields(word):
            where = f"{type(word).__name__}.{each.name}"
            yield from leaves(getattr(word, each.name), where)
    elif isinstance(word, tuple | list):
        for each in word:
            yield from leaves(each, kind)
    elif isinstance(word, dict):
        for key, each in word.items():
            yield from leaves(key, kind)
            yield from leaves(each, kind)


def with_text(word: _T, old: str, new: str) -> _T:
    """Return the word with `new` wherever `old` stands as a whole text."""
    some: Any = word
    if isinstance(some, str) and not isinstance(some, Enum):
        return cast("_T", new if some == old else some)
    if is_dataclass(some) and not isinstance(some, type):
        changed = {f.name: with_text(getattr(some, f.name), old, new) for f in fields(some)}
        return cast("_T", replace(some, **changed))
    if isinstance(some, tuple):
        return cast("_T", tuple(with_text(each, old, new) for each in some))
    if isinstance(some, dict):
        return cast(
            "_T",
            {with_text(k, old, new): with_text(each, old, new) for k, each in some.items()},
        )
    return word


def texts_of(platform: Platform) -> dict[str, str]:
    """Return all that daemons are told, by machine and daemon."""
    said: dict[str, str] = {}
    for machine in platform.machines:
        if machine.external:
            told = render_external_daemons(platform, machine.name)
            said |= {f"{machine.id} {machine.role} {name}": text for name, text in told.items()}
            continue
        where = f"{machine.datacenter} {machine.role} {machine.id}"
        said[f"{where} bird"] = render_bird(platform, machine.name)
        said[f"{where} nft"] = render_filter(platform, machine.name)
        if machine.has(Role.CONTROLLER):
            members = ((machine.name, peer_url(platform, machine)),)
            first = Beginning(members=members, new=True)
            words = etcd_command(platform, machine.name, Path("/data"), first)
            said[f"{where} etcd"] = json.dumps(words)
    return said


def shape_of(text: str, value: str) -> Counter[str]:
    """Return the tokens of a text, with `X` for what a value stands in, quotes kept."""
    found: Counter[str] = Counter()
    for token in _TOKEN.findall(text):
        if token.startswith(("#", "//", "/*")):
            found["comment"] += 1
        elif value and value in token:
            found["value" if token[0] not in "\"'" else f"{token[0]}value{token[-1]}"] += 1
        else:
            found[token] += 1
    return found


def platforms() -> Iterator[Platform]:
    yield load_platform(EXAMPLE / "platform.yaml")
    yield load_platform(EXAMPLE.parents[1] / "tests" / "specfile" / "routing" / "platform.yaml")
    for name in NAMES:
        if (DIRECTORY / name / "platform.yaml").stat().st_size < 6_000:
            yield read(name).platform


def _by_field() -> dict[str, tuple[Platform, str]]:
    """Return, for each field of texts, a platform in which it says something."""
    found: dict[str, tuple[Platform, str]] = {}
    for platform in platforms():
        for field, value in leaves(platform):
            if value and field not in found:
                found[field] = (platform, value)
    return found


BY_FIELD = _by_field()


def accepted(platform: Platform) -> bool:
    return not check_platform(platform)


@pytest.mark.parametrize("field", sorted(BY_FIELD))
def test_a_text_is_refused_or_stays_one_word(field: str, tmp_path: Path) -> None:
    platform, value = BY_FIELD[field]
    before = texts_of(platform)
    for nasty in NASTY:
        changed = with_text(platform, value, nasty)
        if not accepted(changed):
            continue
        said = texts_of(changed)
        told = [t for at, t in said.items() if at.endswith("bird") and nasty and nasty in t]
        for text in told[:1]:
            assert_parses(text, tmp_path)
        for where, text in said.items():
            others = [t for at, t in before.items() if at.split()[-1] == where.split()[-1]]
            assert not nasty or any(
                sum(shape_of(text, nasty).values()) == sum(shape_of(other, value).values())
                for other in others
            ), (field, nasty, where)


def assert_parses(text: str, directory: Path) -> None:
    file = directory / "bird.conf"
    file.write_text(text)
    done = subprocess.run(
        ["bird", "-p", "-c", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


PLATFORM = load_platform(EXAMPLE / "platform.yaml")
SERVICE = load_service(EXAMPLE / "web.yaml", PLATFORM)


def _documents(path: Path) -> Iterator[tuple[str, Callable[[str], object]]]:
    """Yield each text of a file, and what puts another one there."""
    data = YAML(typ="safe", pure=True).load(path)

    def walk(value: Any, put: Callable[[Any], object], where: str) -> Iterator[Any]:
        if isinstance(value, str):
            yield where, put
        elif isinstance(value, dict):
            for key, each in value.items():
                yield from walk(
                    each,
                    lambda new, k=key: put({**value, k: new}),  # type: ignore[misc]
                    f"{where}.{key}",
                )
                renamed = lambda new, k=key: put(  # noqa: E731
                    {(new if at == k else at): each for at, each in value.items()}
                )
                yield f"{where}.{key} (name)", renamed
        elif isinstance(value, list):
            for at, each in enumerate(value):
                yield from walk(
                    each,
                    lambda new, i=at: put([*value[:i], new, *value[i + 1 :]]),  # type: ignore[misc]
                    f"{where}.{at}",
                )

    yield from walk(data, lambda new: new, "")


def places(file: str) -> list[tuple[str, Callable[[str], object]]]:
    return list(_documents(EXAMPLE / file))


@pytest.mark.parametrize("file", ["platform.yaml", "web.yaml"])
@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_file_with_any_text_is_read_or_refused_with_file_and_line(
    file: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _, put = data.draw(st.sampled_from(places(file)))
    text = data.draw(st.sampled_from(NASTY) | st.text(max_size=60))
    path = tmp_path_factory.mktemp("spec") / file
    document = json.dumps(put(text), indent=1)
    path.write_text(document)
    try:
        if file == "platform.yaml":
            texts_of(load_platform(path))
        else:
            load_service(path, PLATFORM)
    except SpecError as error:
        lines = document.count("\n") + 1
        for problem in error.problems:
            assert problem.file == str(path)
            assert 0 <= problem.line <= lines
            assert str(problem).isprintable() or "\n" not in str(problem)


@pytest.mark.parametrize("nasty", NASTY)
def test_a_service_has_no_name_that_leads_elsewhere(nasty: str) -> None:
    assert check_service(replace(SERVICE, name=nasty), PLATFORM)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "..", ".", "", "a\0b", "a/" * 600 + "b"]
)
def test_a_file_of_a_service_stays_in_its_directory(name: str) -> None:
    run = replace(SERVICE.run, files=((name, "text"),))
    assert check_service(replace(SERVICE, run=run), PLATFORM)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("Frankfurt", '"\\ud83d\\ude00"', "halves of characters"),
        ("fra-e1", '"\\ud800"', "halves of characters"),
        ("cpu: 4", "cpu: 1.0e+308", "is more than 1000000"),
    ],
)
def test_what_cannot_be_written_or_counted_is_refused_in_its_line(
    old: str, new: str, says: str, tmp_path: Path
) -> None:
    text = (EXAMPLE / "platform.yaml").read_text()
    assert old in text
    path = tmp_path / "platform.yaml"
    path.write_text(text.replace(old, new, 1))
    line = text[: text.index(old)].count("\n") + 1
    with pytest.raises(SpecError) as caught:
        load_platform(path)
    assert (line, True) in {(each.line, says in each.what) for each in caught.value.problems}


def test_a_service_with_endless_cores_is_refused() -> None:
    run = replace(SERVICE.run, cpu=1e308)
    problems = check_service(replace(SERVICE, run=run), PLATFORM)
    assert ("run.cpu", "is more than 1000000") in {(each.where, each.what) for each in problems}
