"""`service logs` and `service restart`, against nodes that are imagined."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from pltfrms.cli.service import logs as logs_module
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.glass import InstanceLog, LogAnswers
from tests.cli.conftest import Run
from tests.cli.world import HEALTHY, FakeController


def log(allocation: str, *lines: str, position: str = "1.1") -> InstanceLog:
    return InstanceLog(
        allocation=allocation, lines=lines, position=position, said_ms=5, machine="fra-n1"
    )


class Nodes:
    """Answers with the next of what was prepared; then it is interrupted."""

    def __init__(self, *answers: LogAnswers | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    def get(self, path: str, parameters: Mapping[str, str], kind: type[Any]) -> LogAnswers:
        assert kind is LogAnswers
        self.asked.append((path, dict(parameters)))
        if not self.answers:
            raise KeyboardInterrupt
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


TWO = LogAnswers(
    logs=(log("web.fra.1-1", "a\x1b[2J"), log("web.fra.2-1", "b")), silent={"ams-n1": "away"}
)


def test_each_line_says_whose_it_is_and_who_is_silent(
    run: Run, controller: FakeController
) -> None:
    controller.door = Nodes(TWO)
    result = run("service", "logs", "web", "--lines", "7", "--ended")
    assert result.code == 0
    assert result.out.splitlines() == ["web.fra.1-1  a\ufffd[2J", "web.fra.2-1  b"]
    assert "ams-n1 is silent: away" in result.err
    path, parameters = controller.door.asked[0]
    assert (path, parameters) == ("/v1/services/web/logs", {"lines": "7", "ended": "true"})


def test_one_instance_is_shown_as_it_is(run: Run, controller: FakeController) -> None:
    controller.door = Nodes(LogAnswers(logs=(log("web.fra.1-1", "a"),)))
    result = run("service", "logs", "web", "--instance", "web.fra.1-1")
    assert result.out == "a\n"
    controller.door = Nodes(TWO)
    document = json.loads(run("service", "logs", "web", "--json").out)
    assert document["logs"][1]["lines"] == ["b"]


def test_an_instance_that_nobody_knows_is_not_found(
    run: Run, controller: FakeController
) -> None:
    controller.door = Nodes(LogAnswers(logs=()))
    result = run("service", "logs", "web", "--instance", "web.fra.9-9")
    assert result.code == 2
    assert "no node knows a log of web.fra.9-9" in result.err


def test_who_sees_nothing_is_told_why(run: Run, controller: FakeController) -> None:
    controller.door = Nodes(
        LogAnswers(logs=(log("web.fra.1-1"),)),
        LogAnswers(logs=()),
        LogAnswers(logs=(), silent={"ams-n1": "away"}),
    )
    result = run("service", "logs", "web")
    assert (result.code, result.out) == (0, "")
    assert result.err == "note: web has said nothing; of those that are no more: --ended\n"
    assert run("service", "logs", "web", "--ended").err == "note: web has said nothing\n"
    assert "nothing" not in run("service", "logs", "web").err, "that is not known"


def test_following_shows_what_is_new_also_of_new_instances(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_module, "_AGAIN_SECONDS", 0)
    now = LogAnswers(
        logs=(log("web.fra.1-1", position="1.9"), log("web.fra.2-1"), log("web.fra.3-2"))
    )
    controller.door = Nodes(
        TWO,
        UnavailableError("nobody answers"),
        now,
        LogAnswers(logs=(log("web.fra.1-1", "more", position="1.9"),)),
        LogAnswers(logs=(log("web.fra.3-2", "new"),)),
        now,
    )
    result = run("service", "logs", "web", "--follow")
    assert result.out.splitlines()[2:] == ["web.fra.1-1  more", "web.fra.3-2  new"]
    assert "asking again" in result.err
    asked = [parameters for _, parameters in controller.door.asked]
    assert asked[3] == {"instance": "web.fra.1-1", "after": "1.1"}
    assert asked[4] == {"instance": "web.fra.3-2", "after": "0.0"}


def test_explaining_shows_what_failed_instances_said(
    run: Run, controller: FakeController
) -> None:
    node = HEALTHY.allocations["web.fra.1-1"].node
    status = HEALTHY.statuses[node]
    ill = tuple(replace(each, failure="exited with status 1") for each in status.instances)
    statuses = {**HEALTHY.statuses, node: replace(status, instances=ill)}
    controller.snapshots = [replace(HEALTHY, statuses=statuses)]
    controller.door = Nodes(LogAnswers(logs=(log("web.fra.1-1", "no such file: x"),)))
    shown = run("explain", "service/web").out
    assert shown.endswith("web.fra.1-1 said last:\n  no such file: x\n")
    asked = {"instance": "web.fra.1-1", "lines": "50"}
    assert controller.door.asked == [("/v1/services/web/logs", asked)]
    controller.door = Nodes(UnavailableError("nobody answers"))
    result = run("explain", "service/web")
    assert (result.code, "said last" in result.out) == (0, False)
    assert "no log of web.fra.1-1: nobody answers" in result.err
    controller.snapshots = [HEALTHY]
    assert "said last" not in run("explain", "service/web").out


def test_a_restart_is_a_change_of_the_rollout(run: Run, controller: FakeController) -> None:
    result = run("service", "restart", "web", "--yes", "--why", "certificates")
    assert result.code == 0
    assert controller.seen == "version 1"
    assert controller.asked.count("snapshot") == 1, "nobody waits for it"
    refused = run("service", "restart", "web")
    assert refused.code == 2
    assert "say --yes" in refused.err
