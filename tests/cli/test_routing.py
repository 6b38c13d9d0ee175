"""plan and apply as far as they touch routing: shown, guarded, waited for, compared offline."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.cli.shared import confirming
from pltfrms.model.messages.api import ChangeLine
from pltfrms.model.messages.guards import Effect, Guard, RoutingChange, Verdict
from pltfrms.model.network.interventions import Freeze, Interventions
from pltfrms.model.running.state import RoutingState, RoutingStatus, Snapshot
from tests.cli.conftest import Run
from tests.cli.routing_world import SETTLED, with_interventions, with_routing, with_status
from tests.cli.world import EXAMPLE, FakeController, with_lost

UPDATE = (ChangeLine(about="platform", action="update", detail="peers"),)
ROUTING = (
    RoutingChange(session="transit1@fra-e1", what="-198.51.100.0/24", effect=Effect.MOVES),
    RoutingChange(session="transit1@fra-e2", what="password changed", effect=Effect.RESET),
    RoutingChange(session="guards", what="floor 1 -> 2", effect=Effect.COSMETIC),
)
FLOOR = Verdict(
    guard=Guard.ANNOUNCE_FLOOR,
    about="198.51.100.0/24",
    sentence="announced from 2 datacenters, would be announced from 1; the floor is 2",
)
LAST = Verdict(guard=Guard.LAST_ANNOUNCER, about="2001:db8:100::/48", sentence="2 now, 0 then")
PLATFORM_FILE = EXAMPLE / "platform.yaml"


@pytest.fixture(autouse=True)
def _at_rest(monkeypatch: pytest.MonkeyPatch, controller: FakeController) -> None:
    controller.snapshots = [SETTLED]
    monkeypatch.setattr(confirming, "POLL_SECONDS", 0)


# ---- shown and guarded ---------------------------------------------------------------------


def test_plan_shows_routing_and_what_guards_say(run: Run, controller: FakeController) -> None:
    controller.changes, controller.routing = UPDATE, ROUTING
    result = run("plan", PLATFORM_FILE)
    assert result.code == 3
    assert result.out.splitlines()[-4:] == [
        "Routing",
        "  transit1@fra-e1  -198.51.100.0/24  moves traffic",
        "! transit1@fra-e2  password changed  session reset",
        "  guards           floor 1 -> 2      cosmetic",
    ]
    controller.verdicts = (FLOOR, LAST)
    result = run("plan", PLATFORM_FILE)
    assert result.code == 4
    assert result.out.splitlines()[-4:] == [
        "Guards",
        f"! announce_floor: 198.51.100.0/24: {FLOOR.sentence}",
        "! last_announcer: 2001:db8:100::/48: 2 now, 0 then",
        (
            "refused as it stands; if you mean it, say "
            "--yes-i-mean announce_floor --yes-i-mean last_announcer"
        ),
    ]
    document = json.loads(run("plan", PLATFORM_FILE, "--json").out)
    assert [each["effect"] for each in document["routing"]] == [
        *("moves traffic", "session reset", "cosmetic"),
    ]
    assert document["verdicts"][0]["guard"] == "announce_floor"


def test_apply_wants_every_guard_named(run: Run, controller: FakeController) -> None:
    controller.changes, controller.verdicts = UPDATE, (FLOOR, LAST)
    one = ("--yes-i-mean", "announce_floor")
    result = run("apply", PLATFORM_FILE, "--yes", *one)
    assert (result.code, controller.applied) == (4, [])
    assert "last_announcer forbid it" in result.err
    assert run("apply", PLATFORM_FILE, "--yes", "--yes-i-mean", "me").code == 2
    both = (*one, "--yes-i-mean", "last_announcer")
    assert run("apply", PLATFORM_FILE, "--yes", *both).code == 0
    (change,) = controller.applied
    assert change.despite == (Guard.ANNOUNCE_FLOOR, Guard.LAST_ANNOUNCER)
    assert "@" in change.by


# ---- waited for ----------------------------------------------------------------------------


def waited(run: Run, controller: FakeController, *snapshots: Snapshot) -> tuple[int, str]:
    controller.changes = UPDATE
    controller.snapshots = list(snapshots)
    arguments = ("--yes", "--wait", "--timeout", "100ms")
    result = run("apply", PLATFORM_FILE, *arguments)
    return result.code, result.err


def test_apply_waits_until_every_edge_has_confirmed(
    run: Run, controller: FakeController
) -> None:
    unseen = replace(SETTLED, revision=6)
    waiting = with_routing(SETTLED, "lon-e1", RoutingState.WAITING)
    waiting = with_routing(waiting, "fra-e1", RoutingState.WAITING)
    trying = with_routing(waiting, "fra-e1", RoutingState.TRYING)
    next_one = with_routing(SETTLED, "lon-e1", RoutingState.TRYING)
    code, told = waited(run, controller, unseen, waiting, trying, next_one, SETTLED)
    assert code == 0
    lines = [line.split("s  ", 1)[1] for line in told.splitlines()]
    assert [line for line in lines if line.startswith(("fra-e1", "lon-e1"))] == [
        "fra-e1: waiting",
        "lon-e1: waiting",
        "fra-e1: trying",
        "fra-e1: confirmed",
        "lon-e1: trying",
        "lon-e1: confirmed",
    ]


def test_what_an_edge_reverted_before_is_no_matter(
    run: Run, controller: FakeController
) -> None:
    old = RoutingStatus(wanted="older", running="before", state=RoutingState.REVERTED)
    snapshot = with_status(
        SETTLED, "fra-e1", lambda status: replace(status, generation=6, routing=old)
    )
    assert waited(run, controller, snapshot, SETTLED)[0] == 0


def test_an_old_confirmation_is_none(run: Run, controller: FakeController) -> None:
    old = RoutingStatus(wanted="before", running="before")
    snapshot = with_status(
        SETTLED, "fra-e1", lambda status: replace(status, generation=6, routing=old)
    )
    code, told = waited(run, controller, snapshot)
    assert code == 5
    assert "edges stand still for 0.1 s\n" in told
    assert "  fra-e1: waiting" in told


def test_an_edge_of_another_version_renders_otherwise_and_is_believed(
    run: Run, controller: FakeController
) -> None:
    newer = RoutingStatus(wanted="as version 2 does", running="as version 2 does")
    done = with_status(SETTLED, "fra-e1", lambda status: replace(status, routing=newer))
    at_a_loss = replace(newer, wanted="")
    lost = with_status(SETTLED, "fra-e1", lambda status: replace(status, routing=at_a_loss))
    assert waited(run, controller, lost, done)[0] == 0
    assert waited(run, controller, lost)[0] == 5


def test_an_edge_that_reverted_ends_the_wait(run: Run, controller: FakeController) -> None:
    reverted = with_routing(
        SETTLED, "fra-e1", RoutingState.REVERTED, "peer.transit1.ipv4 is not up"
    )
    code, told = waited(run, controller, reverted)
    assert code == 5
    assert "error: fra-e1: reverted: peer.transit1.ipv4 is not up. What ran before" in told


def test_waiting_ends_when_nothing_can_come(run: Run, controller: FakeController) -> None:
    trying = with_routing(SETTLED, "fra-e1", RoutingState.FROZEN)
    frozen = with_interventions(trying, Interventions(freeze=Freeze(since_ms=0)))
    code, told = waited(run, controller, frozen)
    assert (code, "pltfrms network unfreeze" in told) == (5, True)
    code, told = waited(run, controller, with_lost(SETTLED, "fra-e1"))
    assert (code, "fra-e1: unknown: out of contact" in told) == (5, True)


# ---- offline -------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("platform.yaml", "web.yaml"):
        (tmp_path / name).write_text((EXAMPLE / name).read_text())
    return tmp_path


def edited(directory: Path, old: str, new: str) -> None:
    file = directory / "platform.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_files_are_compared_without_anybody(
    run: Run, controller: FakeController, directory: Path
) -> None:
    assert run("plan", directory, "--against", EXAMPLE).code == 0
    edited(directory, "asn: 64602", "asn: 64603")
    result = run("plan", directory, "--against", EXAMPLE)
    assert result.code == 3
    assert "~ update platform: peers" in result.out
    assert "session reset" in result.out
    preview = json.loads(run("plan", directory, "--against", EXAMPLE, "--json").out)
    assert {each["session"].partition("@")[0] for each in preview["routing"]} == {"transit2"}
    assert controller.asked == []


def test_a_platform_that_loses_its_peers_is_refused_by_name(
    run: Run, controller: FakeController, directory: Path
) -> None:
    text = (directory / "platform.yaml").read_text()
    (directory / "platform.yaml").write_text(text[: text.index("\npeers:")] + "\n")
    result = run("plan", directory, "--against", EXAMPLE)
    assert result.code == 4
    assert "last_announcer: 198.51.100.0/24" in result.out
    assert "--yes-i-mean last_announcer" in result.out
    assert controller.asked == []


def test_one_file_against_another(run: Run, controller: FakeController) -> None:
    old = EXAMPLE / "platform.yaml"
    result = run("plan", EXAMPLE / "web.yaml", "--against", old)
    assert (result.code, "+ create service/web" in result.out) == (3, True)
    result = run("plan", old, "--against", EXAMPLE / "web.yaml")
    assert (result.code, "has no platform to compare with" in result.err) == (2, True)
    assert controller.asked == []
