"""What is written for people stays readable on a narrow terminal."""

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.cli.shared import output
from pltfrms.model.messages.api import Event
from tests.cli.conftest import Run
from tests.cli.routing_world import SETTLED
from tests.cli.world import HEALTHY, NOW_MS, FakeController, with_lost

EVENT = Event(
    sequence=1,
    at_ms=NOW_MS,
    source="fra-c1",
    about="drain/transit1@fra-e1",
    what="drain begun",
    detail="the line card is replaced; by ada@fra-bastion-host",
)
COMMANDS = (
    ("status",),
    ("explain", "service/web"),
    ("events",),
    ("network", "show"),
    ("service", "list"),
    ("service", "show", "web"),
    ("node", "list"),
    ("datacenter", "list"),
    ("peer", "list"),
    ("peer", "show", "transit1"),
    ("edge", "list"),
    ("edge", "show", "fra-e1"),
    ("session", "list"),
)


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    monkeypatch.setattr(output, "screen_columns", lambda: request.param)
    return int(request.param)


def words_of(text: str) -> list[str]:
    return [word.strip(",:") for word in click.unstyle(text).split()]


@pytest.mark.parametrize("columns", [40, 80], indirect=True)
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_word_is_broken_and_no_line_is_too_long(
    run: Run,
    controller: FakeController,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    columns: int,
) -> None:
    controller.stored = [EVENT]
    controller.snapshots = [with_lost(SETTLED, "fra-n1")]
    narrow = run(*command)
    monkeypatch.setattr(output, "screen_columns", lambda: 10_000)
    wide = run(*command)
    assert (narrow.code, wide.code) == (0, 0)
    for line in map(click.unstyle, narrow.out.splitlines()):
        assert len(line) <= columns or len(line.split()) == 1, line
    names = {word for word in words_of(wide.out) if any(map(str.isdigit, word))}
    assert names <= set(words_of(narrow.out))


@pytest.mark.parametrize("columns", [40], indirect=True)
@pytest.mark.usefixtures("columns")
def test_a_row_that_does_not_fit_is_a_sentence(run: Run, controller: FakeController) -> None:
    controller.snapshots = [HEALTHY]
    lines = run("status").out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("  fra-e1:"))
    assert lines[at : at + 2] == [
        "  fra-e1: role edge, contact present,",
        "    since 12 s, sessions 2/2 up",
    ]


def test_a_table_that_fits_is_written_as_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("fra-e1", "the line card is being replaced since noon"), ("ams-e1", "-")]
    monkeypatch.setattr(output, "screen_columns", lambda: 34)
    output.write_table(("edge", "why"), rows)
    assert capsys.readouterr().out.splitlines() == [
        "edge    why",
        "fra-e1  the line card is being",
        "        replaced since noon",
        "ams-e1  -",
    ]
    monkeypatch.setattr(output, "screen_columns", lambda: 10_000)
    output.write_table(("edge", "why"), rows)
    assert capsys.readouterr().out.splitlines()[1] == f"fra-e1  {rows[0][1]}"


def test_without_a_terminal_nothing_is_folded(capsys: pytest.CaptureFixture[str]) -> None:
    long = "word " * 2000
    output.write_line(long)
    output.write_table(("a", "b"), [(long, long)])
    assert capsys.readouterr().out.count("\n") == 3


def test_colours_take_no_room(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "screen_columns", lambda: 20)
    output.write_line(output.bad("twenty letters in it"))
    output.write_table(("a", "b"), [(output.bad("twelve chars"), "six...")])
    assert len(capsys.readouterr().out.splitlines()) == 3


_CELLS = st.text(st.sampled_from("ab -1:"), max_size=30).map(lambda text: f"x{text}x")


@given(st.lists(st.tuples(_CELLS, _CELLS, _CELLS), min_size=1, max_size=4), st.integers(8, 90))
def test_every_word_of_a_table_is_there_at_any_width(
    rows: list[tuple[str, str, str]], width: int
) -> None:
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "screen_columns", lambda: width)
        patch.setattr(click, "echo", said.append)
        output.write_table(("one", "two", "three"), rows)
    found = words_of("\n".join(said))
    assert all(set(words_of(cell)) <= set(found) for row in rows for cell in row)
