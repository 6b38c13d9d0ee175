"""Vantage points over HTTP: who may report, as whom, and what with a token."""

from dataclasses import replace

import pytest

from pltfrms.codec import decode, encode
from pltfrms.controller.asked.logins import Logins
from pltfrms.controller.asked.vantage_tokens import FIRST_MS, KEPT_MS
from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.network.vantage import VantageSpec
from pltfrms.model.running.vantage import (
    ClientVerdict,
    VantageAnswers,
    VantageAsk,
    VantageReply,
    VantageReport,
    VantageToken,
)
from tests.api.logins import WITH_ROLES, Desk, at_the_desk

OUTSIDE = replace(WITH_ROLES, vantage=VantageSpec(outside=("berlin", "madrid")))
REPORTS = "/v1/vantage/reports"


async def report(desk: Desk, vantage: str, token: str = "", seat: int = 0) -> tuple[int, str]:
    """Return the status of a report, and what was said."""
    client = desk.client if seat == 0 else desk.over("192.0.2.9", desk.make(seat))
    content = encode(VantageReport(vantage=vantage, began_ms=0))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = await client.post(REPORTS, content=content, headers=headers)
    return answer.status_code, answer.text


async def token_of(desk: Desk, vantage: str = "berlin") -> str:
    answer = await desk.ask("ada", "POST", "/v1/vantage/tokens", VantageAsk(vantage=vantage))
    assert answer.status_code == 200, answer.text
    return decode(VantageToken, answer.content).token


def test_a_machine_reports_and_readers_see_it() -> None:
    async def story(desk: Desk) -> None:
        status, text = await report(desk, "fra-e1")
        assert status == 200
        assert decode(VantageReply, text).questions
        assert decode(VantageReply, text).token == ""
        heard = decode(VantageAnswers, (await desk.ask("vic", "GET", "/v1/vantage")).content)
        assert [each.report.vantage for each in heard.heard] == ["fra-e1"]
        view = decode(SnapshotView, (await desk.ask("vic", "GET", "/v1/snapshot")).content)
        assert view.clients
        assert view.clients.points == 1
        assert view.clients.served is ClientVerdict.UNKNOWN

    at_the_desk(story, OUTSIDE)


def test_who_is_outside_needs_a_token_of_its_own() -> None:
    async def story(desk: Desk) -> None:
        assert (await report(desk, "berlin"))[0] == 403
        token = await token_of(desk)
        assert (await report(desk, "berlin", token))[0] == 200
        assert (await report(desk, "madrid", token))[0] == 403
        assert (await report(desk, "fra-e1", token))[0] == 403
        for wrong in (
            f"{token}0",
            token.replace("vantage.", "vantage.A"),
            "vantage.",
            "vantage.a.b",
        ):
            assert (await report(desk, "berlin", wrong))[0] == 403, wrong

    at_the_desk(story, OUTSIDE)


def test_its_token_is_good_for_nothing_else() -> None:
    async def story(desk: Desk) -> None:
        headers = {"Authorization": f"Bearer {await token_of(desk)}"}
        for path in ("/v1/snapshot", "/v1/view", "/metrics", "/v1/vantage", "/v1/audit"):
            assert (await desk.client.get(path, headers=headers)).status_code == 403
        for path in ("/v1/apply", "/v1/heartbeats", "/v1/vantage/tokens"):
            assert (await desk.client.post(path, headers=headers)).status_code == 403

    at_the_desk(story, OUTSIDE)


def test_a_login_is_no_vantage_point() -> None:
    async def story(desk: Desk) -> None:
        said = VantageReport(vantage="berlin", began_ms=0)
        assert (await desk.ask("ada", "POST", REPORTS, said)).status_code == 403

    at_the_desk(story, OUTSIDE)


def test_only_who_is_named_gets_a_token_and_it_is_written_down() -> None:
    async def story(desk: Desk) -> None:
        ask = VantageAsk(vantage="oslo")
        refused = await desk.ask("ada", "POST", "/v1/vantage/tokens", ask)
        assert refused.status_code == 404
        assert "vantage.outside" in refused.text
        token = await token_of(desk)
        audit = (await desk.ask("vic", "GET", "/v1/audit")).text
        assert "of berlin, for 1 h" in audit
        assert token not in audit

    at_the_desk(story, OUTSIDE)


def test_the_first_token_ends_after_an_hour_and_the_next_after_a_week(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    later, real = {"ms": 0}, Logins.now_ms
    monkeypatch.setattr(Logins, "now_ms", lambda self: real(self) + later["ms"])

    async def story(desk: Desk) -> None:
        first = await token_of(desk)
        kept = decode(VantageReply, (await report(desk, "berlin", first))[1]).token
        assert kept
        assert decode(VantageReply, (await report(desk, "berlin", kept))[1]).token == ""
        later["ms"] = FIRST_MS
        status, text = await report(desk, "berlin", first)
        assert status == 403
        assert "pltfrms vantage token berlin" in text
        later["ms"] = 25 * 3_600_000
        younger = decode(VantageReply, (await report(desk, "berlin", kept))[1]).token
        assert younger not in {"", kept}
        later["ms"] = KEPT_MS + 60_000
        assert (await report(desk, "berlin", kept))[0] == 403
        assert (await report(desk, "berlin", younger))[0] == 200

    at_the_desk(story, OUTSIDE)


def test_every_controller_knows_a_token() -> None:
    async def story(desk: Desk) -> None:
        token = await token_of(desk)
        assert (await report(desk, "berlin", token, seat=1))[0] == 200

    at_the_desk(story, OUTSIDE)
