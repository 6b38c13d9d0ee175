"""`service exec`, against a controller that is imagined."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from pltfrms.codec import encode
from pltfrms.model.messages.commands import CommandPart, WantedCommand
from tests.cli.conftest import Run
from tests.cli.world import FakeController

SAID = CommandPart(output=base64.b64encode("one\n\u00e9".encode()).decode())
COMPLAINT = CommandPart(complaint=base64.b64encode(b"no\n").decode())


class Door:
    """Answers with these parts, in pieces that end anywhere."""

    def __init__(self, *parts: CommandPart) -> None:
        self.text = b"".join(encode(part) + b"\n" for part in parts)
        self.asked: list[tuple[str, WantedCommand]] = []

    @contextmanager
    def raw(self, path: str, headers: Mapping[str, str], word: Any) -> Iterator[Any]:
        del headers
        self.asked.append((path, word))
        pieces = [self.text[at : at + 7] for at in range(0, len(self.text), 7)]
        yield SimpleNamespace(parts=lambda: iter(pieces))


def test_what_a_command_says_is_passed_on_with_its_exit_code(
    run: Run, controller: FakeController
) -> None:
    controller.door = Door(SAID, CommandPart(), COMPLAINT, CommandPart(status=7))
    words = ("service", "exec", "web/fra.1", "--seconds", "9", "--why", "it hangs", "--")
    result = run(*words, "sh", "-c", "exit 7", "--why")
    assert result.code == 7
    assert result.out == "one\n\u00e9"
    assert "no\n" in result.err
    [(path, command)] = controller.door.asked
    assert path == "/v1/services/web/exec"
    assert command.allocation == "web.fra.1-1"
    assert command.words == ("sh", "-c", "exit 7", "--why")
    assert (command.seconds, command.why) == (9, "it hangs")


@pytest.mark.parametrize(
    ("words", "instance"),
    [
        (("web/fra.1-1",), "web.fra.1-1"),
        (("web/lon.2",), "web.lon.2-1"),
        (("web", "--node", "ams-n2"), "web.ams.2-1"),
    ],
)
def test_one_instance_is_meant(
    run: Run, controller: FakeController, words: tuple[str, ...], instance: str
) -> None:
    controller.door = Door(CommandPart(status=0))
    assert run("service", "exec", *words, "--", "id").code == 0
    assert controller.door.asked[0][1].allocation == instance


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("web", "--", "id"), "say which one: web/ams.1-1 on ams-n1"),
        (("web/fra.7", "--", "id"), "web has no instance /fra.7"),
        (("web/fra.1", "--node", "fra-n2", "--", "id"), "/fra.1 on fra-n2"),
        (("shop", "--", "id"), "shop"),
        (("web/fra.1",), "COMMAND"),
    ],
)
def test_what_is_not_one_instance_is_refused(
    run: Run, controller: FakeController, words: tuple[str, ...], why: str
) -> None:
    controller.door = Door()
    result = run("service", "exec", *words)
    assert result.code == 2
    assert why in result.err
    assert controller.door.asked == []


def test_an_end_that_is_not_known_is_no_success(run: Run, controller: FakeController) -> None:
    controller.door = Door(SAID)
    result = run("service", "exec", "web/fra.1", "--", "id")
    assert result.code not in {0, 2}
    assert "how it ended is not known" in result.err
    controller.door = Door(SAID, CommandPart(failure="was ended: it took longer than 9 s"))
    result = run("service", "exec", "web/fra.1", "--", "id")
    assert result.code not in {0, 2}
    assert "it took longer than 9 s" in result.err
