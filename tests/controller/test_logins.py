"""Operators log in with what they sign, and their tokens are good where and while they are."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace

import httpx2
import pytest

from pltfrms.codec import decode, encode
from pltfrms.controller.asked import logins
from pltfrms.controller.records.state import LOGINS_KEY
from pltfrms.drivers.operators.memory import memory_signature
from pltfrms.drivers.store.ports import Listing
from pltfrms.model.messages.api import Change, ErrorBody
from pltfrms.model.messages.logins import (
    CHALLENGE_MS,
    LOGIN_MS,
    LOGIN_NAMESPACE,
    LoginAsk,
    LoginChallenge,
)
from pltfrms.model.network.topology import Operator
from tests.api.logins import KEYS, WITH_ROLES, Desk, at_the_desk
from tests.controller.test_network import PLATFORM as BARE
from tests.strategies import make_public_key


async def signed(desk: Desk, name: str = "ada", namespace: str = LOGIN_NAMESPACE) -> LoginAsk:
    said = decode(LoginChallenge, (await desk.client.get("/v1/login")).content)
    signature = memory_signature(said.text, KEYS[name], namespace)
    return LoginAsk(text=said.text, seal=said.seal, key=KEYS[name], signature=signature)


async def answered(desk: Desk, ask: LoginAsk) -> httpx2.Response:
    return await desk.client.post("/v1/login", content=encode(ask))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda ask: replace(ask, key=KEYS["eve"]), "not the key of an operator"),
        (lambda ask: replace(ask, key=KEYS["oli"]), "none of the platform's operators"),
        (lambda ask: replace(ask, signature=f"{KEYS['ada']} x"), "not what ada has signed"),
        (lambda ask: replace(ask, text=ask.text.replace("}", " }")), "no controller has asked"),
        (lambda ask: replace(ask, seal="0" * 64), "no controller has asked"),
        (lambda ask: replace(ask, seal="é"), "no controller has asked"),
        (
            lambda ask: replace(ask, signature=memory_signature(ask.text, KEYS["ada"])),
            "not what ada has signed",
        ),
    ],
)
def test_what_is_not_signed_as_asked_is_refused_and_not_written_down(
    spoil: Callable[[LoginAsk], LoginAsk], why: str
) -> None:
    async def story(desk: Desk) -> None:
        refused = await answered(desk, spoil(await signed(desk)))
        assert refused.status_code == 403
        assert why in decode(ErrorBody, refused.content).message
        assert (await desk.cluster.operations.audit(0, 10)).records == ()

    at_the_desk(story)


def test_a_challenge_is_signed_in_time_or_not_at_all() -> None:
    async def story(desk: Desk) -> None:
        ask = await signed(desk)
        await desk.cluster.clock.sleep(CHALLENGE_MS / 1000 + 1)
        assert "too late" in (await answered(desk, ask)).text

    at_the_desk(story)


def test_a_token_is_good_at_every_controller_also_while_the_store_is_away() -> None:
    async def story(desk: Desk) -> None:
        headers = await desk.headers("vic")
        other = desk.over("192.0.2.7", desk.make(1))
        assert (await other.get("/v1/snapshot", headers=headers)).status_code == 200
        for seat in desk.cluster.seats.values():
            seat.store.unavailable = True
        for client in (desk.client, other):
            stale = await client.get("/v1/snapshot?stale=true", headers=headers)
            assert stale.status_code == 200

    at_the_desk(story)


def test_a_token_ends_after_a_working_day(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LOGIN_MS == 8 * 3_600_000
    monkeypatch.setattr(logins, "LOGIN_MS", 30_000)  # the same, and the test ends today

    async def story(desk: Desk) -> None:
        headers = await desk.headers("ada")
        await desk.cluster.clock.sleep(29)
        assert (await desk.client.get("/v1/snapshot", headers=headers)).status_code == 200
        await desk.cluster.clock.sleep(2)
        ended = await desk.client.get("/v1/snapshot", headers=headers)
        assert ended.status_code == 403
        assert "the login of ada has ended" in ended.text

    at_the_desk(story)


@pytest.mark.parametrize(
    "operators",
    [
        tuple(each for each in WITH_ROLES.operators if each.name != "oli"),
        tuple(
            replace(each, keys=(make_public_key("new"),)) if each.name == "oli" else each
            for each in WITH_ROLES.operators
        ),
    ],
)
def test_who_or_whose_key_leaves_the_platform_is_out_at_once(
    operators: tuple[Operator, ...],
) -> None:
    async def story(desk: Desk) -> None:
        headers = await desk.headers("oli")
        change = Change(platform=replace(WITH_ROLES, operators=operators))
        assert (await desk.ask("ada", "POST", "/v1/apply", change)).status_code == 200
        await desk.cluster.clock.sleep(1)
        out = await desk.client.get("/v1/snapshot", headers=headers)
        assert out.status_code == 403
        assert "oli is not an operator any more with that key" in out.text

    at_the_desk(story)


def test_who_is_given_less_may_do_less_with_the_token_that_he_has() -> None:
    fewer = tuple(
        replace(each, role=WITH_ROLES.operators[0].role) if each.name == "oli" else each
        for each in WITH_ROLES.operators
    )

    async def story(desk: Desk) -> None:
        await desk.headers("oli")
        change = Change(platform=replace(WITH_ROLES, operators=fewer))
        assert (await desk.ask("ada", "POST", "/v1/apply", change)).status_code == 200
        await desk.cluster.clock.sleep(1)
        assert (await desk.ask("oli", "POST", "/v1/apply", Change())).status_code == 403
        assert (await desk.ask("oli", "GET", "/v1/snapshot")).status_code == 200

    at_the_desk(story)


@pytest.mark.parametrize("token", ["", "x", "x.y", "..", "é.é", "e30=." + "0" * 64])
def test_a_token_of_ones_own_making_is_refused(token: str) -> None:
    async def story(desk: Desk) -> None:
        await desk.headers("ada")
        headers = [(b"Authorization", f"Bearer {token}".encode("latin-1"))]
        made = await desk.client.get("/v1/snapshot", headers=headers)
        assert made.status_code == (403 if token else 200)

    at_the_desk(story)


def test_a_claim_that_is_changed_is_no_token() -> None:
    async def story(desk: Desk) -> None:
        await desk.headers("vic")
        text, seal = desk.tokens["vic"].split(".")
        other = urlsafe_b64decode(text).replace(b"vic", b"ada")
        forged = f"{urlsafe_b64encode(other).decode()}.{seal}"
        headers = {"Authorization": f"Bearer {forged}"}
        assert (await desk.client.get("/v1/snapshot", headers=headers)).status_code == 403

    at_the_desk(story)


def test_before_anybody_has_logged_in_no_token_is_good_and_the_store_is_asked_rarely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(desk: Desk) -> None:
        store, asked = desk.cluster.operations.controller.store, 0
        real = store.list

        async def counting(prefix: str, *words: int) -> Listing:
            nonlocal asked
            asked += prefix == LOGINS_KEY
            return await real(prefix, *words)

        monkeypatch.setattr(store, "list", counting)
        headers = {"Authorization": "Bearer a.b"}
        for _ in range(20):
            assert (await desk.client.get("/v1/snapshot", headers=headers)).status_code == 403
        assert asked <= 1

    at_the_desk(story)


def test_nobody_logs_in_where_no_operators_are_named() -> None:
    async def story(desk: Desk) -> None:
        refused = await desk.client.get("/v1/login")
        assert refused.status_code == 403
        assert "names no operators" in refused.text

    at_the_desk(story, BARE)
