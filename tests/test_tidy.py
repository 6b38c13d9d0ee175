"""Style that no linter checks: sizes, words, habits. A rule lives here or nowhere."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent
FUNCTION_LINES = 50
FILE_LINES = 520

# The glossary's "say this, not that"; docs/glossary.md is for people, this is for the machine.
BANNED_WORDS = {
    r"(?<![-\w])advertis\w*": "announce",
    r"\bVIPs?\b": "prefix, or service address",
    r"\banycast IPs?\b": "prefix, or service address",
    r"\bnext[_-]hops?\b": "nexthop",
    r"\bhealth[- ]?checks?\b": "probe",
    r"\bblueprints?\b": "plan",
    r"\bdesired state\b": "target",
    r"\bfault domains?\b": "failure domain",
    r"\bavailability zones?\b": "datacenter",
    r"\bpods?\b": "instance",
    r"\bchaos\b": "fault",
    r"\bevacuat\w*": "drain",
    r"\bneighbors?\b": "peer, or machine at the other end",
}
# These files must speak as BIRD does.
SPEAKS_BIRD = ("src/pltfrms/render/",)
# The glossary page names the words to avoid; the other one is about what others have.
NAMES_BANNED_WORDS = ("docs/glossary.md", "docs/howto-adopt.md")

LEFTOVERS = {
    r"\b(TODO|FIXME|XXX)\b": "do it, or write down why not",
    rf"{re.escape(str(ROOT))}|/home/\w": "no path of one machine",
}


def tree(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


PYTHON = tree("src/**/*.py", "tests/**/*.py", "bench/**/*.py")
SOURCES = tree("src/**/*.py")
PROSE = tree("src/**/*.py", "src/**/*.j2", "docs/**/*.md", "*.md", "examples/**/*.yaml")
ALL_TEXT = tree(
    *("src/**/*.py", "src/**/*.j2", "tests/**/*.py", "bench/**/*.py", "scripts/*", ".ci/*"),
    *("docs/**/*.md", "*.md", "examples/**/*.yaml", "Makefile", "pyproject.toml"),
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the number of lines of a function's body, without its docstring."""
    has_docstring = ast.get_docstring(function) is not None
    body = function.body[1:] if has_docstring else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def findings(path: Path, patterns: dict[str, str], flags: int) -> list[str]:
    """Return `file:line: word (say this)` for every match."""
    return [
        f"{name_of(path)}:{number}: {match[0]!r} ({hint})"
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        for pattern, hint in patterns.items()
        for match in [re.search(pattern, line, flags)]
        if match
    ]


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 10
    assert len(PROSE) > len(SOURCES)


def test_functions_are_short() -> None:
    long = [
        f"{name_of(path)}:{function.lineno}: {function.name} has {body_lines(function)} lines"
        for path in PYTHON
        for function in functions(path)
        if body_lines(function) > FUNCTION_LINES
    ]
    assert long == []


def test_files_are_short() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in PYTHON}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_no_example_is_wrong_because_the_machine_is_busy() -> None:
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check


def test_no_exception_is_caught_unnamed() -> None:
    bare = [
        f"{name_of(path)}:{node.lineno}"
        for path in PYTHON
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert bare == []


def test_source_does_not_assert() -> None:
    """`python -O` drops asserts: input is refused with an error of `pltfrms.errors`."""
    asserts = [
        f"{name_of(path)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Assert)
    ]
    assert asserts == []


WRITE_OWN_WORDS = {
    f"src/pltfrms/cli/{name}.py" for name in ("main", "platform/shell", "shared/output")
}
"""What they write is theirs alone, or was looked at; the first two start without libraries."""


def test_words_of_others_tell_a_terminal_nothing() -> None:
    """All that commands write passes `shared/output.py`, which takes control sequences out."""
    around = [
        f"{name_of(path)}:{node.lineno}"
        for path in SOURCES
        if "cli" in path.parts and name_of(path) not in WRITE_OWN_WORDS
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"click.echo", "print"}
    ]
    assert around == []


def test_every_module_says_what_it_is() -> None:
    silent = [name_of(path) for path in SOURCES if not ast.get_docstring(parsed(path))]
    assert silent == []


def test_words_are_those_of_the_glossary() -> None:
    checked = [
        path
        for path in PROSE
        if not name_of(path).startswith((*SPEAKS_BIRD, *NAMES_BANNED_WORDS))
    ]
    found = [f for path in checked for f in findings(path, BANNED_WORDS, re.IGNORECASE)]
    assert found == []


def test_no_two_public_classes_of_the_source_share_a_name() -> None:
    """One word, one class: a reader must not have to ask which one is meant."""
    places: dict[str, list[str]] = {}
    for path in SOURCES:
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name_of(path))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_nothing_is_left_over() -> None:
    checked = [path for path in ALL_TEXT if path != Path(__file__)]
    assert [f for path in checked for f in findings(path, LEFTOVERS, 0)] == []


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no clone")
def test_nothing_that_is_made_from_the_source_is_part_of_it() -> None:
    """An old page that is kept would never be built again; what it needs are others' files."""
    git = ("git", "-c", "safe.directory=*", "-C", str(ROOT))
    kept = [*git, "ls-files", "--cached", "--ignored", "--exclude-standard"]
    assert subprocess.run(kept, capture_output=True, check=True, timeout=60).stdout == b""


def test_labs_are_where_they_are_looked_for() -> None:
    """`scripts/test` reads no other directory for them."""
    (places,) = re.findall(r'^LABS="(.*)"$', (ROOT / "scripts/test").read_text(), re.MULTILINE)
    labs = [name_of(path) for path in PYTHON if "pytest.mark.live" in path.read_text()]
    known = tuple(f"{place}/" for place in places.split())
    assert [name for name in labs if not name.startswith((*known, "tests/test_tidy"))] == []


def test_requirements_name_no_host() -> None:
    """Where packages come from is the reader's configuration, not ours."""
    found = [
        finding
        for path in tree("requirements/*")
        for finding in findings(path, {r"://|--(extra-)?index-url|--find-links": "no"}, 0)
    ]
    assert found == []


@pytest.mark.parametrize("word", ["advertised", "VIP", "next_hop", "health check", "Chaos"])
def test_banned_words_are_found(word: str) -> None:
    matches = [p for p in BANNED_WORDS if re.search(p, f"a {word} b", re.IGNORECASE)]
    assert len(matches) == 1


def test_long_functions_are_found() -> None:
    source = "def f():\n    '''One.'''\n" + "    x = 1\n" * (FUNCTION_LINES + 1)
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert body_lines(function) == FUNCTION_LINES + 1


STARTS_PROCESSES = {
    "src/pltfrms/drivers/tool.py": "the one place: `run_tool` has a timeout",
    "src/pltfrms/drivers/descriptors.py": "`run` has a timeout",
    "src/pltfrms/drivers/workload/instance/init.py": "instances; their start has a timeout",
    "src/pltfrms/drivers/workload/inside.py": "commands, which get their seconds",
    "src/pltfrms/api/store/recovering.py": "etcd, which ends with us; its start has a timeout",
    "src/pltfrms/lab/capsule/doctor.py": "asks for versions, with a timeout",
    "src/pltfrms/lab/client/client.py": "the keeper outlives us; its start has a timeout",
    "src/pltfrms/lab/client/probing.py": "the prober gets its duration and is waited for",
    "src/pltfrms/lab/client/ready.py": "the asker, which gets its timeout",
}
"""Who starts a process and goes on while it runs, and why that ends."""
_RUNS_TO_ITS_END = {"run", "call", "check_call", "check_output"}
_GOES_ON = {
    *("Popen", "create_subprocess_exec", "create_subprocess_shell", "subprocess_exec"),
    *("system", "popen", "getoutput", "getstatusoutput"),
}


def starters(path: Path) -> Iterator[tuple[ast.Call, str]]:
    """Yield the calls that start a process, and the name of what is called."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            module, name = ast.unparse(node.func.value), node.func.attr
            if module.rpartition(".")[2] in {"subprocess", "asyncio", "os"} and (
                name in _GOES_ON or (module == "subprocess" and name in _RUNS_TO_ITS_END)
            ):
                yield node, name


def test_no_tool_that_we_run_can_keep_us_for_ever() -> None:
    """Tools are run by `run_tool`, or with a timeout; `timeout=None` says: on purpose."""
    for path in SOURCES:
        for call, name in starters(path):
            where = f"{name_of(path)}:{call.lineno}"
            if name in _RUNS_TO_ITS_END:
                assert any(word.arg == "timeout" for word in call.keywords), where
            else:
                assert name_of(path) in STARTS_PROCESSES, where
    found = {name_of(path) for path in SOURCES if any(starters(path))}
    assert found >= STARTS_PROCESSES.keys(), "no longer true"


def test_processes_are_started_by_their_modules_names() -> None:
    """Else the test above would not see it."""
    for path in SOURCES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom):
                assert node.module not in {"subprocess", "asyncio.subprocess"}, name_of(path)
