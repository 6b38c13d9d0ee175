"""`brake release` and `brake hold`, as a person sees them."""

from dataclasses import replace

import pytest

from pltfrms.errors import ConflictError
from pltfrms.model.messages.api import InterventionChange, InterventionReply
from pltfrms.model.network.interventions import Interventions, Release
from tests.cli.conftest import Run
from tests.cli.world import FakeController

NOW_MS = 1_700_000_000_000


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("network.intervening", "platform.brake"):
        monkeypatch.setattr(f"pltfrms.cli.{module}.unix_ms", lambda: NOW_MS)


def test_a_release_says_which_nodes_it_is_for(run: Run, controller: FakeController) -> None:
    nodes = tuple(f"fra-n{number}" for number in range(1, 7))
    fra = Release(datacenter="fra", nodes=nodes, until_ms=NOW_MS + 60_000)
    ams = Release(datacenter="ams", nodes=("ams-n1",), until_ms=NOW_MS + 60_000)
    controller.reply = replace(
        controller.reply, interventions=Interventions(releases=(ams, fra))
    )
    *_, last = run("brake", "release", "fra").out.splitlines()
    assert last == (
        "  fra, fra-n1, fra-n2, fra-n3, fra-n4, fra-n5 and 1 more: ends in 60 s "
        "(2023-11-14 22:14 UTC)"
    )
    assert "ends in" not in run("brake", "hold", "fra").out


def test_a_brake_that_holds_nothing_is_refused_as_a_conflict(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_change: InterventionChange) -> InterventionReply:
        raise ConflictError("the brake of fra holds nothing")

    monkeypatch.setattr(controller, "intervene", refuse)
    result = run("brake", "release", "fra")
    assert (result.code, "the brake of fra holds nothing" in result.err) == (4, True)
