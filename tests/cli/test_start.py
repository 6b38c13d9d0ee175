"""Starting costs little: what commands import, so that it stays so."""

import subprocess
import sys
from pathlib import Path

import pytest

from pltfrms.codec import encode
from pltfrms.model.messages.api import Event, SnapshotView
from tests.cli.world import HEALTHY
from tests.drivers.tiny_http import serving

HEAVY = (
    "pydantic",
    "httpx2",
    "fastapi",
    "uvicorn",
    "jinja2",
    "ruamel",
    "pyroute2",
    "structlog",
    "cryptography",
    "asyncio",
    "pltfrms.specfile",
    "pltfrms.render",
    "pltfrms.agent",
    "pltfrms.controller",
    "pltfrms.api",
)
"""Each of them takes longer to import than a question to a controller takes."""
OWN_MODULES_MAX = 106
"""Of ours that the help of a command may import; a module of words takes 1 to 10 ms."""
FIRST_SCREEN_MODULES_MAX = 14

CHILD = f"""
import os, sys
HEAVY = {HEAVY!r}

def look(arguments):
    from pltfrms.cli.main import main
    sys.stdout = open(os.devnull, "w")
    try:
        code = main(arguments)
    except SystemExit:
        code = 0
    own = [name for name in sys.modules if name.startswith("pltfrms")]
    found = [name for name in HEAVY if name in sys.modules]
    print(" ".join(arguments), code, len(own), *found, sep="|", file=sys.stderr, flush=True)

def fork(arguments):
    if not (pid := os.fork()):
        look(arguments)
        os._exit(0)
    os.waitpid(pid, 0)
"""
EVERY_HELP = """
from pltfrms.cli.lab.lab import ENTRIES as LAB
from pltfrms.cli.main import ENTRIES

for path in [(), *((name,) for name in ENTRIES), *(("lab", name) for name in LAB)]:
    fork([*path, "--help"])

from pltfrms.cli.network.network import ENTRIES as NETWORK

for name in NETWORK:
    fork(["network", name, "--help"])
"""
"""Of every command that has a module of its own; its neighbours there cost the same."""


def looked(program: str) -> dict[str, tuple[int, int, list[str]]]:
    """Return exit code, count of our modules, and heavy modules, by command line."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD + program], capture_output=True, text=True, check=True
    )
    found = {}
    for line in done.stderr.splitlines():
        words, code, own, *heavy = line.split("|")
        found[words] = (int(code), int(own), heavy)
    return found


def test_no_help_imports_what_only_doing_needs() -> None:
    found = looked(EVERY_HELP)
    assert len(found) > 30
    assert {words: heavy for words, (_, _, heavy) in found.items() if heavy} == {}
    assert {words: code for words, (code, _, _) in found.items() if code} == {}
    assert {words: own for words, (_, own, _) in found.items() if own > OWN_MODULES_MAX} == {}
    assert found["--help"][1] <= FIRST_SCREEN_MODULES_MAX
    assert found["version --help"][1] <= FIRST_SCREEN_MODULES_MAX


@pytest.mark.parametrize("arguments", [["version"], ["--version"], ["completion", "bash"]])
def test_what_needs_nothing_imports_nothing(arguments: list[str]) -> None:
    (code, own, heavy) = looked(f"look({arguments!r})")[" ".join(arguments)]
    assert (code, heavy) == (0, [])
    assert own <= FIRST_SCREEN_MODULES_MAX


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["service", "list"],
        ["service", "show", "web"],
        ["node", "list"],
        ["edge", "list"],
        ["peer", "list"],
        ["session", "list"],
        ["network", "show"],
        ["explain", "service/web"],
    ],
)
def test_looking_needs_neither_spec_files_nor_pydantic(
    tmp_path: Path, arguments: list[str]
) -> None:
    view = SnapshotView(controller="fra-c1", snapshot=HEALTHY)
    with serving(encode(view), unix=str(tmp_path / "c.sock")) as server:
        words = [*arguments, "--controller", server.endpoint]
        (code, _, heavy) = looked(f"look({words!r})")[" ".join(words)]
    assert (code, heavy) == (0, [])


def test_events_need_neither_spec_files_nor_pydantic(tmp_path: Path) -> None:
    event = Event(sequence=9, at_ms=1, source="fra-n1", about="web", what="instance ready")
    with serving(encode([event], list[Event]), unix=str(tmp_path / "c.sock")) as server:
        words = ["events", "--controller", server.endpoint]
        (code, _, heavy) = looked(f"look({words!r})")[" ".join(words)]
    assert (code, heavy) == (0, [])


def test_completing_a_name_needs_neither_spec_files_nor_pydantic(tmp_path: Path) -> None:
    view = SnapshotView(controller="fra-c1", snapshot=HEALTHY)
    with serving(encode(view), unix=str(tmp_path / "c.sock")) as server:
        completing = (
            f"os.environ['PLTFRMS_CONTROLLERS'] = {server.endpoint!r}\n"
            "os.environ['_PLTFRMS_COMPLETE'] = 'bash_complete'\n"
            "os.environ['COMP_WORDS'] = 'pltfrms service show '\n"
            "os.environ['COMP_CWORD'] = '3'\n"
            "look([])"
        )
        (_, _, heavy) = looked(completing)[""]
        assert server.seen
    assert heavy == []
