"""What machines and other people say tells a terminal nothing, wherever it is written."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pltfrms.cli.shared import output
from pltfrms.errors import ConflictError
from tests.cli.conftest import Run
from tests.cli.world import FakeController
from tests.model.messages.test_audit import chain

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\x1b[8mhidden\r\x7f"
WAYS: tuple[Callable[[str], None], ...] = (
    output.write_line,
    output.echo,
    lambda text: output.write_table(("a", "b"), [("x", text), (text, "y")]),
    lambda text: output.write_json([text], list[str]),
    lambda text: output.write_json_line(json.dumps(text, ensure_ascii=False)),
)


def is_harmless(text: str) -> bool:
    for colour in (0, 1, 2, 31, 32, 33, 36):
        text = text.replace(f"\x1b[{colour}m", "")
    text = text.replace("\n", "")
    return not any("\x7f" <= letter <= "\x9f" or letter < " " for letter in text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.sampled_from(WAYS), st.text(st.characters(max_codepoint=0xFF), max_size=40))
def test_nothing_but_words_and_our_colours_is_written(
    capsys: pytest.CaptureFixture[str], write: Callable[[str], None], text: str
) -> None:
    capsys.readouterr()
    write(text + EVIL)
    assert is_harmless(capsys.readouterr().out.replace("\t", ""))


def test_json_says_the_same_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    output.write_json([EVIL], list[str])
    assert json.loads(capsys.readouterr().out) == [EVIL]


def test_our_own_colours_stay() -> None:
    cyan = output.paint("d", "cyan")
    for painted in (output.good("a"), output.bad("b"), output.dim("c"), cyan):
        assert output.harmless(painted) == painted


def test_why_and_names_of_the_audit_and_errors_are_words_only(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, _ = chain(1)
    controller.records = [replace(records[0], why=EVIL, by=EVIL, lines=(EVIL,))]
    assert is_harmless(run("audit", "list").out)

    def refuse(*_: object) -> None:
        raise ConflictError(EVIL)

    monkeypatch.setattr("pltfrms.cli.platform.audit._all", refuse)
    result = run("audit", "list")
    assert result.code == ConflictError.exit_code
    assert is_harmless(result.err)
    assert "hidden" in result.err
