"""`route` and `session`: what machines say of their routes, in words and JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pltfrms.cli.network.community_words import community_words
from pltfrms.cli.shared import connect as connecting
from pltfrms.codec import decode
from pltfrms.errors import NotFoundError, UnavailableError
from pltfrms.model.messages.glass import RouteAnswers, RouteView, SessionText
from pltfrms.model.network.peering import Reject
from pltfrms.model.running.state import Contact, MachineView, SessionStatus
from tests.cli.conftest import Run
from tests.cli.world import HEALTHY, PLATFORM, FakeController

AGGREGATE = "198.51.100.0/24"
ACCEPTED = RouteView(
    machine="fra-e1",
    prefix="203.0.113.0/24",
    session="peer.transit1.ipv4",
    best=True,
    via=("192.0.2.1 dev x-transit1",),
    since="12:00:00.000",
    as_path=("65010", "65011"),
    local_preference=100,
    med=20,
    communities=("65535:0", "65010:1"),
    large_communities=("64500:1:7", "64500:2:1"),
)
REFUSED = replace(
    ACCEPTED,
    best=False,
    filtered=True,
    reject=Reject.BOGON,
    large_communities=("64500:15:2",),
)
LEAVING = RouteView(
    machine="fra-e1",
    prefix=AGGREGATE,
    session="kernel.aggregate4",
    best=True,
    as_path=("64500", "64500"),
)
SESSION = SessionStatus(
    name="peer.transit1.ipv4",
    up=True,
    detail="Established",
    imported=12,
    exported=1,
    filtered=3,
    rejects={"bogon": 2, "new-reason": 1},
)


@dataclass
class GlassController(FakeController):
    """A controller whose machines have routes."""

    accepted: tuple[RouteView, ...] = (ACCEPTED,)
    refused: tuple[RouteView, ...] = ()
    leaving: tuple[RouteView, ...] = ()
    silent: dict[str, str] = field(default_factory=dict)
    questions: list[dict[str, str]] = field(default_factory=list)

    def get(self, path: str, parameters: Mapping[str, str], kind: type[Any]) -> Any:
        if kind is SessionText:
            return self._session(path)
        assert (path, kind) == ("/v1/routes", RouteAnswers)
        self.questions.append(dict(parameters))
        if parameters.get("machine") == "nobody":
            raise NotFoundError("there is no machine 'nobody'")
        routes = self.refused if "filtered" in parameters else self.accepted
        if "exported" in parameters:
            routes = self.leaving
        return RouteAnswers(
            routes=tuple(r for r in routes if r.machine not in self.silent), silent=self.silent
        )

    def _session(self, path: str) -> SessionText:
        _, _, machine, name = path.strip("/").split("/")
        if self.silent:
            raise UnavailableError(f"no answer from {machine}")
        return SessionText(machine=machine, session=name, text="BGP state:   Established")


@pytest.fixture
def glass(monkeypatch: pytest.MonkeyPatch) -> GlassController:
    status = replace(HEALTHY.statuses["fra-e1"], sessions=(SESSION,))
    snapshot = replace(HEALTHY, statuses={**HEALTHY.statuses, "fra-e1": status})
    fake = GlassController(snapshots=[snapshot])
    monkeypatch.setattr(connecting, "OperatorClient", lambda *_how: fake)
    monkeypatch.setattr(connecting, "running_labs", tuple)
    return fake


# ---- route show ----------------------------------------------------------------------------


def test_routes_are_shown_in_words(run: Run, glass: GlassController) -> None:
    result = run("route", "show", "203.0.113.7")
    assert result.code == 0
    line = result.out.splitlines()[1]
    assert line.split()[:3] == ["fra-e1", "best", "203.0.113.0/24"]
    assert "65010 65011" in line
    assert line.endswith("MED 20, from transit, in fra, graceful shutdown, 65010:1")
    assert glass.questions == [{"prefix": "203.0.113.7"}]


def test_refused_routes_are_shown_on_demand(run: Run, glass: GlassController) -> None:
    glass.refused = (REFUSED,)
    assert "refused" not in run("route", "show", "203.0.113.7").out
    both = run("route", "show", "203.0.113.7", "--all").out
    assert "best" in both
    assert "refused: bogon" in both
    only = run("route", "show", "203.0.113.7", "--filtered", "--from", "fra-e1").out
    assert "best" not in only
    assert glass.questions[-1] == {
        "prefix": "203.0.113.7",
        "machine": "fra-e1",
        "filtered": "true",
    }


def test_who_is_silent_is_named(run: Run, glass: GlassController) -> None:
    glass.silent = {"fra-e2": "no answer within 3 s"}
    result = run("route", "show", "203.0.113.7")
    assert result.code == 0
    assert "fra-e2: no answer within 3 s" in result.err
    glass.accepted = ()
    assert run("route", "show", "203.0.113.7").code == 5
    glass.silent = {}
    assert run("route", "show", "203.0.113.7").out == "no route to 203.0.113.7\n"


def test_routes_as_json(run: Run, glass: GlassController) -> None:
    glass.silent = {"fra-e2": "away"}
    found = decode(RouteAnswers, run("route", "show", "203.0.113.7", "--json").out)
    assert found == RouteAnswers(routes=(ACCEPTED,), silent={"fra-e2": "away"})


@pytest.mark.usefixtures("glass")
def test_unknown_machines_are_refused(run: Run) -> None:
    assert run("route", "show", "203.0.113.7", "--from", "nobody").code == 2


# ---- route why -----------------------------------------------------------------------------


def test_why_it_is_announced(run: Run, glass: GlassController) -> None:
    glass.leaving = (LEAVING,)
    result = run("route", "why", AGGREGATE, "--to", "transit1@fra-e1")
    assert result.out.splitlines() == [
        "transit1@fra-e1: 198.51.100.0/24: announced",
        "  fra-e1 announces it: services are healthy in this datacenter",
        "  BIRD on fra-e1 announces it with 64500 64500 behind our ASN",
    ]
    assert glass.questions == [
        {"prefix": AGGREGATE, "machine": "fra-e1", "exported": "peer.transit1.ipv4"}
    ]


def test_what_bird_says_counts(run: Run, glass: GlassController) -> None:
    result = run("route", "why", AGGREGATE, "--to", "transit1@fra-e1")
    assert "198.51.100.0/24: not announced" in result.out
    assert "what BIRD says counts" in result.out
    glass.silent = {"fra-e1": "away"}
    (row,) = json.loads(run("route", "why", AGGREGATE, "--to", "transit1@fra-e1", "--json").out)
    assert row["announced"] is True
    assert row["because"][-1] == "fra-e1 does not say what it really does: away"


@pytest.mark.usefixtures("glass")
def test_why_asks_every_edge_of_the_peer(run: Run) -> None:
    result = run("route", "why", AGGREGATE, "--to", "transit1")
    sessions = [line.split(":")[0] for line in result.out.splitlines() if line[0] != " "]
    assert sessions == ["transit1@fra-e1", "transit1@fra-e2", "transit1@ams-e2"]


def test_why_a_route_is_used_or_not(run: Run, glass: GlassController) -> None:
    arguments = ("route", "why", "203.0.113.0/24", "--from", "transit1@fra-e1")
    assert run(*arguments).out.splitlines() == [
        "transit1@fra-e1: 203.0.113.0/24: used",
        "  it is the best path",
    ]
    glass.accepted, glass.refused = (), (REFUSED,)
    result = run(*arguments)
    assert "203.0.113.0/24: not used" in result.out
    assert "must not be on the internet (bogon)" in result.out
    glass.silent = {"fra-e1": "away"}
    assert "203.0.113.0/24: not known" in run(*arguments).out


@pytest.mark.usefixtures("glass")
@pytest.mark.parametrize(
    "arguments",
    [
        ("198.51.100.0/24",),
        ("198.51.100.0/24", "--to", "transit1", "--from", "transit1"),
        ("web", "--to", "transit1"),
        ("198.51.100.0/24", "--to", "nobody"),
        ("198.51.100.0/24", "--to", "transit1@lon-e1"),
    ],
)
def test_wrong_questions_are_refused(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("route", "why", *arguments).code == 2


# ---- session -------------------------------------------------------------------------------


@pytest.mark.usefixtures("glass")
def test_sessions_are_listed(run: Run) -> None:
    line = run("session", "list", "--machine", "fra-e1").out.splitlines()[1]
    known = ["fra-e1", SESSION.name, "up", "12", "1", "3", "-", "Established"]
    assert line.split() == known, "its load is not known"
    assert len(json.loads(run("session", "list", "--json").out)) == 1 + 2 * 17
    assert run("session", "list", "--down").out == "no session is down\n"
    assert run("session", "list", "--machine", "nobody").code == 2


def test_sessions_of_a_lost_machine_are_unknown(run: Run, glass: GlassController) -> None:
    lost = MachineView(contact=Contact.LOST, since_seconds=9)
    (old,) = glass.snapshots
    glass.snapshots = [replace(old, machines={**old.machines, "fra-e1": lost})]
    rows = json.loads(run("session", "list", "--down", "--json").out)
    assert [(row["session"], row["state"]) for row in rows] == [(SESSION.name, "unknown")]


def test_a_session_is_shown(run: Run, glass: GlassController) -> None:
    shown = run("session", "show", "transit1@fra-e1").out
    assert "refused 2: the prefix is reserved" in shown
    assert "refused 1: new-reason" in shown
    assert "BGP state:   Established" in shown
    assert run("session", "show", "fra-e1", "peer.transit1.ipv4").out == shown
    glass.silent = {"fra-e1": "away"}
    result = run("session", "show", "transit1@fra-e1", "--json")
    (detail,) = json.loads(result.out)
    assert (result.code, detail["text"]) == (0, "")
    assert detail["silent"] == "no answer from fra-e1"


@pytest.mark.usefixtures("glass")
@pytest.mark.parametrize("arguments", [("transit1",), ("none@fra-e1",), ("transit1@nobody",)])
def test_unknown_sessions_are_refused(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("session", "show", *arguments).code == 2


# ---- words ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("community", "words"),
    [
        ("64500:1:2", "service"),
        ("64500:1:8", "instance"),
        ("64500:2:3", "in lon"),
        ("64500:10:30", "weight 30"),
        ("64500:12:1", "active"),
        ("64500:15:6", "refused: rpki-invalid"),
        ("64500:20:1", "RPKI valid"),
        ("64500:100:0", "not to anybody"),
        ("64500:102:65010", "prepend x2 to AS65010"),
        ("64500:104:7", "not to transit"),
        ("64500:104:9", "64500:104:9"),
        ("64500:105:3", "only from lon"),
        ("64500:106:0", "only from where we hear it"),
        ("64500:2:77", "64500:2:77"),
        ("64500:99:1", "64500:99:1"),
        ("65010:1:2", "65010:1:2"),
        ("rubbish", "rubbish"),
    ],
)
def test_communities_of_ours_have_words(community: str, words: str) -> None:
    assert community_words(PLATFORM, (), (community,)) == (words,)
