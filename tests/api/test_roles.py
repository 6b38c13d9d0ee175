"""Who may ask what of the API: every role and every route, as the OpenAPI document has them."""

import asyncio
import re
from dataclasses import replace

import pytest

from pltfrms.codec import decode, encode
from pltfrms.model.messages.api import (
    Change,
    InterventionChange,
    PlanPreview,
    RolloutChange,
    RolloutVerb,
    Verb,
)
from pltfrms.model.messages.audit import AuditPage
from pltfrms.model.messages.guards import Guard
from pltfrms.model.network.readers import MetricsReader, fingerprint
from pltfrms.model.network.topology import Platform
from pltfrms.planner.identity import roles
from pltfrms.planner.identity.roles import PART_QUESTIONS, need_of
from tests.api.logins import PEOPLE, WITH_ROLES, Desk, at_the_desk
from tests.controller.test_network import PLATFORM as BARE
from tests.strategies import make_spec

STRANGER, ROOT, READER = "stranger", "root", "reader"
TOKEN = f"metrics.{'0a' * 32}"
WITH_A_READER = replace(
    WITH_ROLES, readers=(MetricsReader(name="prometheus", sha256=fingerprint(TOKEN)),)
)
FREEZE = InterventionChange(verb=Verb.FREEZE, why="look", by="somebody else")
WRITES = {
    "POST /v1/apply": {"dan", "oli", "ada"},
    "DELETE /v1/services/{name}": {"dan", "oli", "ada"},
    "POST /v1/rollouts": {"dan", "oli", "ada"},
    "POST /v1/jobs": {"dan", "oli", "ada"},
    "POST /v1/secrets": {"dan", "oli", "ada"},
    "DELETE /v1/secrets/{name}": {"dan", "oli", "ada"},
    "POST /v1/secrets-key": {"ada"},
    "POST /v1/interventions": {"oli", "ada"},
    "POST /v1/volumes/{volume}/release": {"oli", "ada"},
    "POST /v1/services/{name}/exec": {"oli", "ada"},
    "POST /v1/requests": {"oli", "ada"},
    "POST /v1/requests/{number}/approval": {"oli", "ada"},
    "POST /v1/requests/{number}/withdrawal": {"oli", "ada"},
    "POST /v1/identity/tokens": {"ada"},
    "POST /v1/vantage/tokens": {"ada"},
}
"""Who may change something, of those who have logged in."""
OPEN = {
    "POST /v1/plan",
    "POST /v1/login",
    "POST /v1/identity/join",
    "POST /v1/identity/nonce",
    "POST /v1/identity/return",
    *(f"{method} {path}" for method, path in PART_QUESTIONS if method == "POST"),
}
"""Changes nothing, is how one begins, or shows a token of its own."""
OF_MACHINES = {
    "POST /v1/heartbeats",
    "POST /v1/leases",
    "POST /v1/vantage/reports",
    "POST /v1/identity/renewal",
    "POST /v1/identity/leave",
    "GET /v1/targets/{machine}",
    "GET /v1/identity/store",
    "GET /v1/identity/secrets",
}
TO_READERS = {"GET /metrics", "GET /v1/prometheus/targets"}
TO_ANYBODY = {
    *("GET /healthz", "GET /readyz", "GET /v1/login", "GET /v1/identity/roots"),
    "GET /version",
}
"""Beside `OPEN`."""
SECRET = {"GET /v1/requests/{number}"}
"""Has passwords in it."""


def routes(desk: Desk) -> list[str]:
    paths = desk.app.openapi()["paths"].items()
    return [f"{verb.upper()} {path}" for path, verbs in paths for verb in verbs]


def expected(who: str, route: str) -> bool:
    """Return whether somebody may ask it."""
    if who == ROOT:
        return True
    if who == READER:
        return route in TO_READERS | TO_ANYBODY | OPEN - {"POST /v1/plan"}
    if route in OF_MACHINES:
        return who == STRANGER  # of plain HTTP; by TLS it must show a certificate
    if route in WRITES:
        return who in WRITES[route]
    if route in SECRET:
        return who in {"oli", "ada"}
    return True


def test_every_route_has_a_rule_and_every_rule_a_route() -> None:
    async def story(desk: Desk) -> None:
        found = {tuple(route.split(" ")) for route in routes(desk)}
        assert found | {("GET", "/openapi.json")} == set(roles._NEEDS)

    at_the_desk(story)


def test_what_writes_is_named_here() -> None:
    async def story(desk: Desk) -> None:
        writes = {route for route in routes(desk) if not route.startswith("GET ")}
        assert writes == WRITES.keys() | OPEN | (OF_MACHINES & writes)

    at_the_desk(story)


def test_each_role_may_ask_of_each_route_what_is_its_own() -> None:
    async def story(desk: Desk) -> None:
        wrong: list[tuple[str, str, int]] = []
        everybody = (*PEOPLE, STRANGER, READER)
        clients = {who: desk.over(f"192.0.2.{10 + at}") for at, who in enumerate(everybody)}
        clients[ROOT] = desk.local
        for route in routes(desk):
            await asyncio.sleep(1)  # nobody has used up what one identity may ask for
            method, path = route.split(" ")
            path = re.sub(r"{\w+}", "x", path) + ("?for_ms=1" if path == "/v1/stream" else "")
            for who, client in clients.items():
                headers = await desk.headers(who) if who in PEOPLE else {}
                headers |= {"Authorization": f"Bearer {TOKEN}"} if who == READER else {}
                answer = await client.request(method, path, headers=headers)
                if (answer.status_code != 403) != expected(who, route):
                    wrong.append((who, route, answer.status_code))
        assert wrong == []

    at_the_desk(story, WITH_A_READER)


def test_a_token_of_metrics_is_void_as_soon_as_the_platform_does_not_name_it() -> None:
    async def story(desk: Desk) -> None:
        for shown in (TOKEN, "metrics.", f"metrics.{fingerprint(TOKEN)}"):
            headers = {"Authorization": f"Bearer {shown}"}
            for client in (desk.client, desk.over("192.0.2.9", desk.make(1))):
                for path in ("/metrics", "/v1/prometheus/targets", "/v1/snapshot"):
                    answer = await client.get(path, headers=headers)
                    assert answer.status_code == 403
                    assert "names no metrics reader with this token" in answer.text

    at_the_desk(story)


def test_a_route_without_a_rule_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    left = {key: need for key, need in roles._NEEDS.items() if key[1] != "/v1/apply"}
    monkeypatch.setattr(roles, "_NEEDS", left)

    async def story(desk: Desk) -> None:
        for client in (desk.client, desk.local):
            assert (await client.post("/v1/apply")).status_code == 404

    at_the_desk(story)


@pytest.mark.parametrize(
    "path", ["/v1/apply/", "//v1/apply", "/v1/plan/../apply", "/v1/%61pply"]
)
def test_a_path_that_is_written_otherwise_is_no_way_around(path: str) -> None:
    async def story(desk: Desk) -> None:
        answer = await desk.client.post(path, content=encode(Change(services=(make_spec(),))))
        assert answer.status_code in {403, 404}
        assert "web" not in desk.cluster.stored().services

    at_the_desk(story)


def test_without_roles_all_is_as_it_was() -> None:
    people = tuple(replace(each, role=None, services=()) for each in WITH_ROLES.operators)

    async def story(desk: Desk) -> None:
        change = Change(services=(make_spec(),), by="eve@desk")
        done = await desk.client.post("/v1/apply", content=encode(change))
        assert done.status_code == 200
        done = await desk.local.post("/v1/interventions", content=encode(FREEZE))
        assert done.status_code == 200
        page = decode(AuditPage, (await desk.client.get("/v1/audit")).content)
        said = [(each.by, each.proved, each.origin) for each in page.records]
        assert said == [
            ("eve@desk", "", "192.0.2.7"),
            ("somebody else", "", "local socket"),
        ]

    at_the_desk(story, replace(WITH_ROLES, operators=people))


@pytest.mark.parametrize(
    ("who", "names", "may"),
    [
        ("dan", ("web",), True),
        ("dan", ("shop-a", "web"), True),
        ("dan", ("mail",), False),
        ("dan", ("web", "mail"), False),
        ("oli", ("mail",), True),
    ],
)
def test_a_deployer_deploys_his_own_services_alone(
    who: str,
    names: tuple[str, ...],
    may: bool,  # noqa: FBT001 - a table's
) -> None:
    async def story(desk: Desk) -> None:
        change = Change(services=tuple(make_spec(name) for name in names))
        answer = await desk.ask(who, "POST", "/v1/apply", change)
        assert answer.status_code == (200 if may else 403), answer.text
        assert set(desk.cluster.stored().services) == (set(names) if may else set())

    at_the_desk(story)


def test_a_deployer_deletes_only_his_own_and_overrides_nothing() -> None:
    async def story(desk: Desk) -> None:
        specs = (make_spec("web"), make_spec("mail"))
        await desk.ask("ada", "POST", "/v1/apply", Change(services=specs))
        assert (await desk.ask("dan", "DELETE", "/v1/services/mail")).status_code == 403
        assert (await desk.ask("dan", "DELETE", "/v1/services/web")).status_code == 200
        change = Change(services=(specs[0],), despite=(Guard.SHRINK_GUARD,))
        answer = await desk.ask("dan", "POST", "/v1/apply", change)
        assert answer.status_code == 403
        assert "to override a guard one must be operator" in answer.text

    at_the_desk(story)


@pytest.mark.parametrize(("who", "may"), [("dan", False), ("oli", False), ("ada", True)])
def test_the_platform_is_changed_by_admins_alone(
    who: str,
    may: bool,  # noqa: FBT001 - a table's
) -> None:
    changed: Platform = replace(WITH_ROLES, director=False)

    async def story(desk: Desk) -> None:
        same = Change(platform=WITH_ROLES, services=(make_spec(),))
        assert (await desk.ask(who, "POST", "/v1/apply", same)).status_code == 200
        answer = await desk.ask(who, "POST", "/v1/apply", Change(platform=changed))
        assert answer.status_code == (200 if may else 403)
        assert desk.cluster.stored().platform == (changed if may else WITH_ROLES)
        planned = await desk.ask("vic", "POST", "/v1/plan", Change(platform=BARE))
        assert decode(PlanPreview, planned.content).changes

    at_the_desk(story)


def test_the_audit_has_who_logged_in_whatever_he_says_and_root_as_such() -> None:
    async def story(desk: Desk) -> None:
        assert (await desk.ask("oli", "POST", "/v1/interventions", FREEZE)).status_code == 200
        end = replace(FREEZE, verb=Verb.UNFREEZE)
        await desk.local.post("/v1/interventions", content=encode(end))
        page = decode(AuditPage, (await desk.client.get("/v1/audit")).content)
        said = [(each.what, each.by, each.proved, each.origin) for each in page.records]
        assert said == [
            ("login", "oli", "login", "192.0.2.7"),
            ("freeze", "oli", "login", "192.0.2.7"),
            ("unfreeze", "somebody else", "local root", "local socket"),
        ]
        freeze = await desk.cluster.operations.events(0, 0, 100)
        assert [each.detail for each in freeze if each.what == "network frozen"] == [
            "look; by oli"
        ]

    at_the_desk(story)


def test_rules_are_found_by_the_whole_path() -> None:
    assert need_of("POST", "/v1/apply/x") is None
    assert need_of("GET", "/v1/apply") is None
    assert need_of("GET", "/v1/targets/fra-n1") is roles.Need.MACHINE
    assert need_of("GET", "/v1/targets/") is None


def test_a_deployer_changes_the_rollouts_of_his_own_services_alone() -> None:
    async def story(desk: Desk) -> None:
        specs = (make_spec("web"), make_spec("mail"))
        await desk.ask("ada", "POST", "/v1/apply", Change(services=specs))
        newer = (make_spec("web", cpu=0.3), make_spec("mail", cpu=0.3))
        await desk.ask("ada", "POST", "/v1/apply", Change(services=newer))
        for service, allowed in (("mail", False), ("web", True)):
            undo = RolloutChange(service=service, verb=RolloutVerb.UNDO)
            answer = await desk.ask("dan", "POST", "/v1/rollouts", undo)
            assert (answer.status_code == 403) is not allowed, answer.text

    at_the_desk(story)
