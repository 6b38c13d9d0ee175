"""What the shell completes: names of the running platform, and never an error."""

from typing import NoReturn

import click
import pytest

from pltfrms.cli.shared import complete
from pltfrms.cli.shared.complete import Completer, complete_edges, complete_ports
from pltfrms.errors import UnavailableError
from tests.cli.world import PLATFORM, FakeController

ASKING = [
    each
    for name, each in vars(complete).items()
    if name.startswith("complete_") and name != "complete_kinds"
]


def completed(completer: Completer, incomplete: str = "", **given: str) -> list[str]:
    command = click.Command("one", params=[click.Argument(["name"])])
    context = click.Context(command)
    context.params = dict(given)
    return completer(context, command.params[0], incomplete)


@pytest.mark.parametrize("completer", ASKING)
def test_completing_is_silent_when_nobody_answers(
    completer: Completer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object) -> NoReturn:
        raise UnavailableError("nobody answers")

    monkeypatch.setattr(complete, "connect", nobody)
    monkeypatch.setattr(complete, "current_lab", nobody)
    assert completed(completer) == []


def test_names_are_completed_that_begin_so(controller: FakeController) -> None:
    assert completed(complete_edges, "lon-") == ["lon-e1", "lon-e2"]
    assert controller.asked == ["snapshot"]


@pytest.mark.usefixtures("controller")
def test_ports_are_those_of_the_edge_that_was_named() -> None:
    named = completed(complete_ports, edge="fra-e1")
    assert named == sorted({s.interface for _, s in PLATFORM.sessions_of("fra-e1")})
    assert set(completed(complete_ports)) > set(named)
