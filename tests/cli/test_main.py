"""Exit codes, errors, global options, and that starting costs little."""

import resource
import subprocess
import sys

import click
import pytest

from pltfrms import __version__
from pltfrms.cli.lab import lab as lab_module
from pltfrms.cli.main import ENTRIES, cli
from pltfrms.cli.platform import status as status_module
from pltfrms.cli.shared import connect as connecting
from pltfrms.cli.shared.options import Entry, LazyGroup
from pltfrms.errors import (
    ConflictError,
    InvariantError,
    NotFoundError,
    PltfrmsError,
    UnavailableError,
    UsageError,
)
from tests.cli.conftest import Run
from tests.cli.world import EXAMPLE, FakeController, FakeLab

ALL_ENTRIES = {**ENTRIES, **{f"lab {n}": e for n, e in lab_module.ENTRIES.items()}}
HEAVY = ("pydantic", "rich", "httpx2", "fastapi", "pltfrms.codec", "pltfrms.lab.client.client")
HELP_CPU_SECONDS = 0.2


def commands(group: click.Group, path: str = "") -> list[tuple[str, click.Command]]:
    context = click.Context(group)
    found: list[tuple[str, click.Command]] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found.append((f"{path} {name}".strip(), command))
        if isinstance(command, click.Group):
            found += commands(command, f"{path} {name}".strip())
    return found


@pytest.mark.parametrize(("name", "entry"), ALL_ENTRIES.items())
def test_the_list_of_commands_says_what_their_help_says(name: str, entry: Entry) -> None:
    command = dict(commands(cli))[name]
    assert (command.help or "").splitlines()[0] == f"{entry.help}."


@pytest.mark.parametrize(("name", "command"), commands(cli))
def test_help_is_short_and_has_an_example(name: str, command: click.Command) -> None:
    text = command.help or ""
    assert len(text.splitlines()[0]) <= 60
    assert "Example: " in text
    assert f"pltfrms {name}" in text or isinstance(command, click.Group)


@pytest.mark.parametrize("path", [[], *[name.split() for name, _ in commands(cli)]])
def test_help_works_everywhere(run: Run, path: list[str]) -> None:
    result = run(*path, "--help")
    assert result.code == 0
    assert result.out.startswith(f"Usage: {' '.join(['pltfrms', *path])}")


def test_root_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pltfrms.cli.main import main; main(['--help'])\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_root_help_is_quick() -> None:
    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    costs = []
    for _ in range(3):
        before = spent()
        command = [sys.executable, "-m", "pltfrms", "--help"]
        subprocess.run(command, capture_output=True, check=True)
        costs.append(spent() - before)
    assert min(costs) < HELP_CPU_SECONDS


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("u"), 2),
        (NotFoundError("n"), 2),
        (ConflictError("c"), 4),
        (UnavailableError("a"), 5),
        (InvariantError("i"), 70),
        (ZeroDivisionError("z"), 70),
    ],
)
def test_errors_become_a_message_and_an_exit_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def fail(_settings: object) -> None:
        raise error

    monkeypatch.setattr(status_module, "connect", fail)
    result = run("status")
    assert result.code == code
    assert result.out == ""
    assert "Traceback" not in result.err
    assert str(error) in result.err
    assert len(result.err.splitlines()) == 1
    assert ("bug" in result.err) == (not isinstance(error, PltfrmsError))


@pytest.mark.parametrize("arguments", [("--debug", "status"), ("status", "--debug")])
def test_debug_shows_the_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    def fail(_settings: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(status_module, "connect", fail)
    assert "Traceback" in run(*arguments).err
    monkeypatch.setenv("PLTFRMS_DEBUG", "1")
    assert "Traceback" in run("status").err


def test_wrong_words_are_answered_with_the_nearest_right_one(run: Run) -> None:
    result = run("statsu")
    assert (result.code, "'status'" in result.err) == (2, True)
    result = run("lab", "bot", "x")
    assert (result.code, "'boot'" in result.err) == (2, True)


@pytest.mark.usefixtures("controller")
@pytest.mark.parametrize(
    "arguments",
    [
        ("--controller", "http://[::1]:1", "--controller", "http://[::1]:2", "status"),
        ("status", "--controller", "http://[::1]:1", "--controller", "http://[::1]:2"),
    ],
)
def test_named_controllers_come_first(
    run: Run, lab: FakeLab, endpoints: list[tuple[str, ...]], arguments: tuple[str, ...]
) -> None:
    assert lab.name
    assert run(*arguments).code == 0
    assert endpoints == [("http://[::1]:1", "http://[::1]:2")]


@pytest.mark.usefixtures("controller")
def test_controllers_may_come_from_the_environment(
    run: Run, endpoints: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLTFRMS_CONTROLLERS", "http://a:1 http://b:2")
    assert run("status").code == 0
    assert endpoints == [("http://a:1", "http://b:2")]


@pytest.mark.usefixtures("controller")
def test_then_the_lab_and_then_this_machine(
    run: Run, endpoints: list[tuple[str, ...]], request: pytest.FixtureRequest
) -> None:
    assert run("status").code == 0
    request.getfixturevalue("lab")
    assert run("status").code == 0
    assert endpoints == [
        ("unix:/run/pltfrms/controller.sock",),
        ("unix:/labs/example.sock",),
    ]


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize(
    "arguments",
    [
        ("--lab", "{}", "lab", "heal"),
        ("lab", "--lab", "{}", "heal"),
        ("lab", "heal", "--lab", "{}"),
    ],
)
def test_the_lab_may_be_named_anywhere(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*(each.format("example") for each in arguments)).code == 0
    wrong = run(*(each.format("other") for each in arguments))
    assert (wrong.code, "no lab is called 'other'" in wrong.err) == (2, True)


@pytest.mark.usefixtures("lab")
def test_the_lab_may_be_named_by_the_environment(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLTFRMS_LAB", "other")
    assert run("lab", "heal").code == 2
    assert run("lab", "heal", "--lab", "example").code == 0


def test_the_version_is_an_option_too(run: Run) -> None:
    assert run("--version").out == run("version").out == f"pltfrms {__version__}\n"


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        (("status",), 10.0),
        (("--timeout", "3s", "status"), 3.0),
        (("status", "--timeout", "500ms"), 0.5),
        (("--timeout", "3s", "plan", EXAMPLE / "web.yaml", "--timeout", "4s"), 4.0),
    ],
)
def test_how_long_to_wait_for_controllers_may_be_said_anywhere(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...],
    seconds: float,
) -> None:
    waits = _note_waits(monkeypatch)
    run(*arguments)
    assert waits == [seconds]


def _note_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []

    def make(_where: object, wait: float, _say: object) -> FakeController:
        waits.append(wait)
        return FakeController()

    monkeypatch.setattr(connecting, "OperatorClient", make)
    monkeypatch.setattr(connecting, "running_labs", tuple)
    return waits


def test_a_command_that_waits_for_something_else_keeps_its_own_timeout(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = _note_waits(monkeypatch)
    waiting = ("apply", EXAMPLE / "web.yaml", "--yes", "--timeout", "1ms")
    assert run("--timeout", "3s", *waiting).code == 0
    assert waits == [3.0]


def test_clients_are_closed(run: Run, controller: FakeController) -> None:
    assert run("status").code == 0
    assert controller.asked == ["snapshot", "close"]


def test_a_lazy_group_refuses_what_is_no_command() -> None:
    group = LazyGroup("g", entries={"x": Entry("pltfrms.cli.shared.options", "Settings", "")})
    with pytest.raises(TypeError, match="not a command"):
        group.get_command(click.Context(group), "x")
