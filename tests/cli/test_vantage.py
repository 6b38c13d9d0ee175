"""`vantage`, and what `status` begins with."""

from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from pltfrms.model.running.vantage import (
    ClientEvidence,
    ClientVerdict,
    HeardVantage,
    Recent,
    VantageAnswers,
    VantageAsk,
    VantageReport,
    VantageTally,
    VantageToken,
)
from tests.cli.conftest import Run
from tests.cli.world import FakeController

SHOWN = "vantage.a.b"
GOOD = Recent(asked=30, p50_us=1234, p99_us=2900, by={"web.ams.1-1": 30})
DEAD = Recent(asked=30, failed=5, in_a_row=5, failure="Connection refused")


def heard(vantage: str, datacenter: str, recent: Recent, age_ms: int = 4000) -> HeardVantage:
    tally = VantageTally(
        service="web", address=ip_address("198.51.100.1"), port=80, kind="http", recent=recent
    )
    report = VantageReport(vantage=vantage, began_ms=0, tallies=(tally,))
    return HeardVantage(report=report, datacenter=datacenter, age_ms=age_ms)


@dataclass
class Door:
    said: tuple[HeardVantage, ...] = ()
    asked: list[Any] = field(default_factory=list)

    def get(self, path: str, _parameters: object, _kind: object) -> VantageAnswers:
        self.asked.append(path)
        return VantageAnswers(heard=self.said)

    def post(self, path: str, word: VantageAsk, _kind: object) -> VantageToken:
        self.asked.append((path, word.vantage))
        return VantageToken(vantage=word.vantage, token=SHOWN, expires_ms=1)


@pytest.mark.parametrize("served", list(ClientVerdict))
def test_status_begins_with_whether_clients_are_served(
    run: Run, controller: FakeController, served: ClientVerdict
) -> None:
    controller.clients = ClientEvidence(served=served, sentence="a sentence")
    assert run("status").out.splitlines()[0] == "clients: a sentence"


def test_show_says_who_answers_whom_and_how_not(run: Run, controller: FakeController) -> None:
    controller.door = Door(
        (
            heard("ams-e1", "ams", GOOD),
            heard("berlin", "", DEAD),
            heard("fra-e1", "fra", GOOD, 999_000),
        )
    )
    rows = [line.split() for line in run("vantage", "show", "web").out.splitlines()[1:]]
    ams, berlin, fra = (" ".join(row) for row in rows)
    assert ams == (
        "web 198.51.100.1 port 80 ams (ams-e1) web.ams.1-1 30/30 1.2 ms 2.9 ms 4.0 s ago -"
    )
    assert berlin == "web 198.51.100.1 port 80 berlin - 25/30 - - 4.0 s ago Connection refused"
    assert "30/30 (not known)" in fra
    assert len(run("vantage", "show", "api").out.splitlines()) == 1


def test_a_token_is_shown_once(run: Run, controller: FakeController) -> None:
    controller.door = door = Door()
    result = run("vantage", "token", "berlin")
    assert result.out == f"{SHOWN}\n"
    assert door.asked == [("/v1/vantage/tokens", "berlin")]


def test_without_a_token_nobody_runs(run: Run, tmp_path: Path) -> None:
    result = run("vantage", "run", "berlin", "--token-file", str(tmp_path / "none"))
    assert result.code == 2
    assert "has no token" in result.err
