"""peer, edge, network: what is shown, and what is asked of the controllers."""

import json
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from pltfrms.cli.network import intervening
from pltfrms.cli.network import network as network_module
from pltfrms.cli.shared.complete import drainable
from pltfrms.errors import ConflictError
from pltfrms.model.messages.api import InterventionChange, InterventionReply, Verb
from pltfrms.model.messages.guards import Effect, Guard, RoutingChange, Verdict
from pltfrms.model.network.interventions import Blackhole, Drain, Freeze, Interventions, Release
from pltfrms.model.network.traffic import Override
from pltfrms.model.running.plan import Note, Reason
from pltfrms.model.running.state import RoutingState
from tests.cli.conftest import Run
from tests.cli.routing_world import (
    SETTLED,
    with_interventions,
    with_routing,
    with_silent,
)
from tests.cli.world import NOW_MS, PLATFORM, FakeController, with_lost

ATTACKED = ip_network("198.51.100.7/32")
GONE = RoutingChange(session="transit1@fra-e1", what="-198.51.100.0/24", effect=Effect.MOVES)


@pytest.fixture(autouse=True)
def _at_rest(monkeypatch: pytest.MonkeyPatch, controller: FakeController) -> None:
    controller.snapshots = [SETTLED]
    monkeypatch.setattr(intervening, "POLL_SECONDS", 0)
    modules = (
        *("network.peer", "network.edge", "network.network", "network.intervening"),
        *("platform.status", "platform.brake", "machine.machines"),
    )
    for module in modules:
        monkeypatch.setattr(f"pltfrms.cli.{module}.unix_ms", lambda: NOW_MS)


def drain(*, since_ms: int = NOW_MS, wait_ms: int = 0, **place: Any) -> Interventions:
    return Interventions(drains=(Drain(since_ms=since_ms, wait_ms=wait_ms, **place),))


DEAD = ("fra-n1", "fra-n2")


# ---- looking -------------------------------------------------------------------------------


def test_peers_are_listed_with_sessions_and_prefixes(run: Run) -> None:
    lines = run("peer", "list").out.splitlines()
    assert lines[1].split() == [
        *("transit1", "transit", "AS64601", "6/6", "up", "5400", "6", "18", "-"),
    ]
    rows = json.loads(run("peer", "list", "--json").out)
    assert [row["name"] for row in rows] == ["transit1", "transit2", "ixp1"]


def test_what_an_edge_out_of_contact_said_is_unknown(
    run: Run, controller: FakeController
) -> None:
    controller.snapshots = [with_lost(SETTLED, "fra-e1")]
    (row,) = [
        r for r in json.loads(run("peer", "list", "--json").out) if r["name"] == "transit1"
    ]
    assert (row["sessions_up"], row["sessions"], row["unknown"]) == (4, 6, 2)
    assert "(2 unknown)" in run("peer", "list").out
    edges = json.loads(run("edge", "list", "--json").out)
    assert [e["routing"] for e in edges if e["name"] == "fra-e1"] == ["unknown"]


def test_a_peer_is_shown_with_reasons_and_overrides(
    run: Run, controller: FakeController
) -> None:
    traffic = (
        Override(peer="transit1", prepend=2, until_ms=NOW_MS + 86_400_000, why="full"),
        Override(peer="transit1", edge="fra-e2", announce=False),
    )
    controller.snapshots = [replace(SETTLED, platform=replace(PLATFORM, traffic=traffic))]
    shown = run("peer", "show", "transit1").out
    assert "the prefix is reserved and must not be on the internet" in shown
    assert "prepend x2 to transit1: ends in 24 h (2023-11-15 22:13 UTC) (full)" in shown
    detail = json.loads(run("peer", "show", "transit1", "--json").out)
    assert detail["rejects"][0]["reason"] == "bogon"
    states = {(a["session"], a["state"], a["changes"]) for a in detail["announcements"]}
    assert states == {
        ("transit1@fra-e1", "announced", "prepend x2"),
        ("transit1@fra-e2", "not announced", "prepend x2"),
        ("transit1@ams-e2", "announced", "prepend x2"),
    }
    unknown = run("peer", "show", "transit9")
    assert (unknown.code, "transit1, transit2, ixp1" in unknown.err) == (2, True)


def test_edges_say_where_they_are(run: Run, controller: FakeController) -> None:
    reverted = with_routing(SETTLED, "fra-e1", RoutingState.REVERTED, "no controller answered")
    controller.snapshots = [with_interventions(reverted, drain(edge="fra-e1"))]
    line = next(each for each in run("edge", "list").out.splitlines() if "fra-e1" in each)
    assert line.split()[3:7] == ["reverted", "2/2", "up", "withdrawn"]
    shown = run("edge", "show", "fra-e1").out
    assert "policy running before" in shown
    assert "the session is drained" in shown
    detail = json.loads(run("edge", "show", "fra-e1", "--json").out)
    assert {a["state"] for a in detail["announcements"]} == {"withdrawn"}
    assert run("edge", "show", "fra-n1").code == 2


def test_network_show_says_everything_that_is_not_as_usual(
    run: Run, controller: FakeController
) -> None:
    assert "nothing is frozen" in run("network", "show").out
    done = Interventions(
        freeze=Freeze(since_ms=NOW_MS - 60_000, why="flaps"),
        drains=(Drain(peer="ixp1", since_ms=NOW_MS - 90_000, wait_ms=60_000),),
        blackholes=(Blackhole(prefix=ATTACKED, until_ms=NOW_MS + 60_000),),
        releases=(
            Release(datacenter="fra", nodes=DEAD, until_ms=NOW_MS + 60_000, why="fire"),
            Release(datacenter="lon", until_ms=NOW_MS + 60_000),
        ),
    )
    trying = with_routing(SETTLED, "lon-e1", RoutingState.TRYING)
    platform = replace(PLATFORM, traffic=(Override(med=5, until_ms=NOW_MS - 1000),))
    controller.snapshots = [replace(trying, interventions=done, platform=platform)]
    lines = run("network", "show").out.splitlines()
    assert lines == [
        "frozen for 60 s (flaps)",
        "drains",
        "  ixp1: withdrawn for 30 s",
        "blackholes",
        "  198.51.100.7/32: ends in 60 s (2023-11-14 22:14 UTC); nobody is asked to drop it",
        "brake released",
        "  fra, fra-n1, fra-n2: ends in 60 s (2023-11-14 22:14 UTC) (fire)",
        "  lon, no node: ends in 60 s (2023-11-14 22:14 UTC)",
        "overrides that end soon or have ended",
        "  med 5: ended 1.0 s ago (2023-11-14 22:13 UTC)",
        "edges whose routing is not confirmed",
        "  lon-e1: trying",
        "traffic",
        "  fra-e1--ams-e2: load not known of a capacity of 10 Gbit/s",
        "  ams-e1--lon-e2: load not known of a capacity of 10 Gbit/s",
        "  lon-e1--fra-e2: load not known of a capacity of 10 Gbit/s",
    ]
    document = json.loads(run("network", "show", "--json").out)
    assert (document["frozen"], len(document["unsettled"])) == (True, 1)
    status = run("status").out.splitlines()
    assert status[0].startswith("frozen for 60 s (flaps); nothing changes a route until")
    assert "  drain ixp1: withdrawn for 30 s" in status
    assert any(each.startswith("  brake released, fra, fra-n1, fra-n2") for each in status)


def test_a_blackhole_names_who_is_asked_to_drop_and_who_is_not(
    run: Run, controller: FakeController
) -> None:
    peers = tuple(replace(each, blackhole=each.name == "transit1") for each in PLATFORM.peers)
    done = Interventions(
        drains=(Drain(peer="transit1", edge="fra-e2", since_ms=NOW_MS - 9000, wait_ms=0),),
        blackholes=(Blackhole(prefix=ATTACKED, until_ms=NOW_MS + 60_000),),
    )
    taken = replace(SETTLED, platform=replace(PLATFORM, peers=peers), interventions=done)
    controller.snapshots = [with_lost(taken, "ams-e2")]
    asked = (
        "asked to drop it: transit1@fra-e1; "
        "not transit1@fra-e2 (drained), transit1@ams-e2 (unknown)"
    )
    added = run("network", "blackhole", "add", "198.51.100.7", "--for", "1h")
    assert (added.code, added.out.splitlines()[-1]) == (0, asked)
    for command in (("network", "show"), ("status",)):
        assert asked in run(*command).out
    document = json.loads(run("network", "show", "--json").out)
    assert document["asked"] == {"198.51.100.7/32": asked}
    as_json = run("network", "blackhole", "add", "198.51.100.7", "--for", "1h", "--json")
    assert json.loads(as_json.out)["changed"]


# ---- doing ---------------------------------------------------------------------------------


def test_a_drain_is_asked_for_shown_and_waited_for(
    run: Run, controller: FakeController
) -> None:
    begun = with_interventions(SETTLED, drain(peer="transit1", edge="fra-e1", wait_ms=9000))
    due = with_interventions(SETTLED, drain(peer="transit1", edge="fra-e1"))
    unseen = replace(SETTLED, revision=6)
    controller.snapshots = [unseen, begun, begun, due, with_silent(due, "transit1")]
    controller.reply = InterventionReply(
        revision=7, changed=True, interventions=Interventions(), routing=(GONE,)
    )
    result = run("peer", "drain", "transit1@fra-e1", "--wait", "9s", "--why", "line works")
    assert result.code == 0
    (asked,) = controller.intervened
    assert asked == InterventionChange(
        verb=Verb.DRAIN,
        peer="transit1",
        edge="fra-e1",
        wait_ms=9000,
        why="line works",
        by=asked.by,
    )
    assert "@" in asked.by
    assert result.out.splitlines() == [
        "Routing",
        "  transit1@fra-e1  -198.51.100.0/24  moves traffic",
        "drain transit1@fra-e1: done, revision 7",
    ]
    told = [line.split("s  ", 1)[1] for line in result.err.splitlines()]
    assert told == [
        "transit1@fra-e1: peers are told to prefer other paths; withdraws within 10 s",
        "transit1@fra-e1: withdrawing; 2 sessions carry routes",
        "nothing is announced or accepted any more; the sessions stay up",
    ]


def test_a_drain_of_an_edge_that_says_nothing_is_not_done(
    run: Run, controller: FakeController
) -> None:
    late = drain(edge="fra-e1", since_ms=NOW_MS - 61_000)
    controller.snapshots = [with_interventions(with_lost(SETTLED, "fra-e1"), late)]
    result = run("edge", "drain", "fra-e1")
    assert result.code == 5
    assert "transit1@fra-e1 ipv4: unknown" in result.err


def test_a_drain_that_somebody_ends_is_a_conflict(run: Run) -> None:
    result = run("peer", "drain", "transit1", "--edge", "fra-e1")
    assert (result.code, "somebody ended the drain" in result.err) == (4, True)


def test_interrupting_leaves_the_drain_going(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller.snapshots = [
        with_interventions(SETTLED, drain(edge="lon-e1", interface="x-ixp1"))
    ]

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pltfrms.cli.network.intervening.time.sleep", interrupt)
    result = run("edge", "drain", "lon-e1", "--port", "x-ixp1")
    assert result.code == 130
    assert "pltfrms edge undrain lon-e1 --port x-ixp1" in result.err


def test_a_drain_while_frozen_says_so_and_does_not_wait(
    run: Run, controller: FakeController
) -> None:
    frozen = Interventions(freeze=Freeze(since_ms=0))
    controller.reply = replace(controller.reply, interventions=frozen)
    result = run("peer", "drain", "transit1")
    assert (result.code, "the network is frozen" in result.err) == (0, True)
    assert "snapshot" not in controller.asked


VERDICT = Verdict(guard=Guard.LAST_ANNOUNCER, about="198.51.100.0/24", sentence="2 now, 0 then")


@pytest.mark.parametrize(
    ("changed", "verdicts", "flags", "code"),
    [
        (True, (), (), 3),
        (False, (), (), 0),
        (True, (VERDICT,), (), 4),
        (True, (VERDICT,), ("--yes-i-mean", "last_announcer"), 3),
    ],
)
def test_a_dry_run_shows_and_its_exit_code_says(
    run: Run,
    controller: FakeController,
    changed: bool,  # noqa: FBT001 - a parameter of the table
    verdicts: tuple[Verdict, ...],
    flags: tuple[str, ...],
    code: int,
) -> None:
    controller.reply = replace(controller.reply, changed=changed, verdicts=verdicts)
    result = run("peer", "drain", "transit1", "--dry-run", *flags)
    assert result.code == code
    assert controller.intervened[0].dry_run
    refused = "refused as it stands; if you mean it, say --yes-i-mean last_announcer"
    assert (refused in result.out) == (code == 4)
    assert len(controller.intervened[0].despite) == len(flags) / 2


@pytest.mark.parametrize("where", ["@fra-e1", "transit1@", ""])
def test_places_that_are_none_are_refused(run: Run, where: str) -> None:
    assert run("peer", "drain", where).code == 2


def test_every_other_verb(run: Run, controller: FakeController) -> None:
    commands = (
        ("peer", "undrain", "transit1@fra-e1"),
        ("edge", "undrain", "lon-e1", "--port", "x-ixp1"),
        ("network", "freeze", "--why", "flaps"),
        ("network", "unfreeze"),
        ("network", "blackhole", "add", "198.51.100.7", "--for", "1h", "--why", "attack"),
        ("network", "blackhole", "remove", "198.51.100.7/32"),
        ("brake", "release", "fra", "--for", "1h", "--why", "fire"),
        ("brake", "hold", "fra"),
    )
    for command in commands:
        assert run(*command, "--json").code == 0
    asked = [replace(each, by="") for each in controller.intervened]
    until_ms = NOW_MS + 3_600_000
    assert asked == [
        InterventionChange(verb=Verb.UNDRAIN, peer="transit1", edge="fra-e1"),
        InterventionChange(verb=Verb.UNDRAIN, edge="lon-e1", interface="x-ixp1"),
        InterventionChange(verb=Verb.FREEZE, why="flaps"),
        InterventionChange(verb=Verb.UNFREEZE),
        InterventionChange(
            verb=Verb.BLACKHOLE, prefix="198.51.100.7/32", until_ms=until_ms, why="attack"
        ),
        InterventionChange(verb=Verb.UNBLACKHOLE, prefix="198.51.100.7/32"),
        InterventionChange(verb=Verb.RELEASE, datacenter="fra", until_ms=until_ms, why="fire"),
        InterventionChange(verb=Verb.HOLD, datacenter="fra"),
    ]
    assert run("network", "blackhole", "add", "web", "--for", "1h").code == 2
    assert run("network", "blackhole", "add", "198.51.100.7").code == 2


def test_what_is_so_already_is_no_error(run: Run, controller: FakeController) -> None:
    controller.reply = replace(controller.reply, changed=False)
    result = run("network", "unfreeze")
    assert (result.code, result.out) == (0, "unfreeze: nothing to do, it is so already\n")


def test_a_guard_that_refuses_is_a_conflict(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_change: InterventionChange) -> InterventionReply:
        raise ConflictError("guards forbid it")

    monkeypatch.setattr(controller, "intervene", refuse)
    assert run("peer", "drain", "transit1").code == 4


# ---- this machine alone --------------------------------------------------------------------


@pytest.fixture
def frozen_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "run" / "frozen"
    monkeypatch.setattr(network_module, "FROZEN_HERE", path)
    return path


def test_freezing_here_needs_nobody(
    run: Run, controller: FakeController, frozen_here: Path
) -> None:
    assert run("network", "freeze", "--here", "--why", "flaps", "--dry-run").code == 0
    assert not frozen_here.exists()
    assert run("network", "freeze", "--here", "--why", "flaps").code == 0
    assert frozen_here.read_text().startswith("flaps; by ")
    assert run("network", "unfreeze", "--here").code == 0
    assert not frozen_here.exists()
    assert run("network", "unfreeze", "--here", "--json").code == 0
    assert controller.asked == []


def test_freezing_where_one_may_not_says_so(run: Run, frozen_here: Path) -> None:
    frozen_here.parent.write_text("a file, no directory")
    result = run("network", "freeze", "--here")
    assert (result.code, "run it as root" in result.err) == (5, True)


def test_what_can_be_drained_is_completed() -> None:
    names = drainable(PLATFORM)
    assert names[:3] == ["transit1", "transit2", "ixp1"]
    assert "ixp1@lon-e1" in names
    assert len(names) == len(set(names))


# ---- datacenters and nodes -----------------------------------------------------------------


def test_a_datacenter_drain_waits_for_all_its_sessions(
    run: Run, controller: FakeController
) -> None:
    due = with_interventions(SETTLED, drain(datacenter="fra"))
    quiet = due
    for peer in ("transit1", "ixp1"):
        quiet = with_silent(quiet, peer)
    controller.snapshots = [due, quiet]
    result = run("datacenter", "drain", "fra", "--why", "power", "--wait", "0s")
    assert result.code == 0, result.err
    (asked,) = controller.intervened
    assert (asked.verb, asked.datacenter, asked.why) == (Verb.DRAIN, "fra", "power")
    assert (asked.since_ms, asked.until_ms, asked.wait_ms) == (0, 0, 0)
    assert "drain datacenter fra: done, revision 7" in result.out
    assert "datacenter/fra: withdrawing; " in result.err
    assert "nothing is announced or accepted any more" in result.err


def test_a_planned_drain_is_not_waited_for(run: Run, controller: FakeController) -> None:
    begin = "2030-01-31T22:00:00+00:00"
    result = run("datacenter", "drain", "fra", "--at", begin, "--for", "4h")
    assert (result.code, result.err) == (0, "")
    (asked,) = controller.intervened
    assert (asked.since_ms, asked.until_ms) == (1_896_127_200_000, 1_896_141_600_000)
    assert "snapshot" not in controller.asked


def test_a_drain_for_no_time_is_not_one_without_an_end(
    run: Run, controller: FakeController
) -> None:
    begin = "2030-01-31T22:00:00+00:00"
    run("datacenter", "drain", "fra", "--at", begin, "--for", "0s")
    (asked,) = controller.intervened
    assert asked.until_ms == asked.since_ms  # which controllers refuse


@pytest.mark.parametrize("moment", ["22:00", "2030-01-31T22:00", "tomorrow"])
def test_times_need_a_day_and_a_zone(run: Run, moment: str) -> None:
    result = run("datacenter", "drain", "fra", "--at", moment)
    assert (result.code, "such as 2030-01-31T22:00Z" in result.err) == (2, True)


def test_an_end_counts_from_now(run: Run, controller: FakeController) -> None:
    run("peer", "drain", "transit1", "--for", "1h", "--detach")
    (asked,) = controller.intervened
    assert (asked.since_ms, asked.until_ms) == (0, NOW_MS + 3_600_000)


def test_a_node_drain_waits_until_nothing_runs_there(
    run: Run, controller: FakeController
) -> None:
    begun = with_interventions(SETTLED, drain(node="fra-n1"))
    moved = {name: a for name, a in SETTLED.allocations.items() if a.node != "fra-n1"}
    stopping = replace(begun, allocations=moved)
    status = replace(SETTLED.statuses["fra-n1"], instances=())
    empty = replace(stopping, statuses={**SETTLED.statuses, "fra-n1": status})
    controller.snapshots = [begun, stopping, empty]
    result = run("node", "drain", "fra-n1", "--why", "disk")
    assert result.code == 0, result.err
    assert controller.intervened[0].node == "fra-n1"
    told = [line.split("s  ", 1)[1] for line in result.err.splitlines()]
    assert told == [
        "fra-n1: 1 instances left",
        "nothing runs there any more, and nothing will be placed there",
    ]


def test_a_node_that_does_not_get_empty_says_why(
    run: Run, controller: FakeController, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervening, "PATIENCE_SECONDS", -1000.0)
    controller.snapshots = [with_interventions(SETTLED, drain(node="fra-n1"))]
    controller.notes = (
        Note(about="web.fra.1", reason=Reason.NO_CAPACITY, detail="fra-n2 is full"),
        Note(about="web.fra.2", reason=Reason.NO_CAPACITY),
    )
    result = run("node", "drain", "fra-n1")
    assert result.code == 5
    assert "1 instances are still on fra-n1, and serve there; the drain goes on" in result.err
    assert "web.fra.1: no node has enough room for it (fra-n2 is full)" in result.err
    assert "web.fra.2" not in result.err


def test_drains_are_listed_and_shown(run: Run, controller: FakeController) -> None:
    hour_ms = 3_600_000
    drains = (
        Drain(datacenter="fra", since_ms=NOW_MS - 90_000, wait_ms=60_000),
        Drain(datacenter="ams", since_ms=NOW_MS + hour_ms, wait_ms=0, by="ada"),
        Drain(node="lon-n1", since_ms=NOW_MS - 5000, wait_ms=0, until_ms=NOW_MS + hour_ms),
        Drain(node="lon-n2", since_ms=0, wait_ms=0, until_ms=NOW_MS - 1000),
    )
    controller.snapshots = [with_interventions(SETTLED, Interventions(drains=drains))]
    datacenters = json.loads(run("datacenter", "list", "--json").out)
    assert {d["name"]: d["drain"] for d in datacenters} == {
        "fra": "withdrawn",
        "ams": "planned",
        "lon": "-",
    }
    assert run("datacenter", "list").out.splitlines()[1].split()[-1] == "withdrawn"
    nodes = json.loads(run("node", "list", "--datacenter", "lon", "--json").out)
    assert [n["drain"] for n in nodes] == ["drained", "-", "-"]
    for command in (("network", "show"), ("status",)):
        out = run(*command).out
        assert "datacenter/fra: withdrawn for 30 s" in out
        assert "datacenter/ams: begins in 60 min (2023-11-14 23:13 UTC) (by ada)" in out
        assert "node/lon-n1: replicas move away since 5.0 s; ends in 60 min" in out
        assert "node/lon-n2: over; ended 1.0 s ago" in out


def test_drains_of_datacenters_and_nodes_are_ended(
    run: Run, controller: FakeController
) -> None:
    assert run("datacenter", "undrain", "fra").code == 0
    assert run("node", "undrain", "fra-n1").code == 0
    asked = [(c.verb, c.datacenter, c.node) for c in controller.intervened]
    assert asked == [(Verb.UNDRAIN, "fra", ""), (Verb.UNDRAIN, "", "fra-n1")]


def test_status_names_an_aggregate_that_is_hardly_heard(
    run: Run, controller: FakeController
) -> None:
    assert "vantage_floor" not in run("status").out
    quiet = SETTLED
    for peer in ("transit1", "transit2", "ixp1"):
        quiet = with_silent(quiet, peer)
    controller.snapshots = [quiet]
    out = run("status").out
    total = sum(len(peer.sessions) for peer in PLATFORM.peers)
    assert f"198.51.100.0/24: announced on 0 of {total} sessions; vantage_floor is 2" in out
    audit = json.loads(run("network", "audit", "--json").out)
    grades = {(r["about"], r["grade"]) for r in audit if r["topic"] == "visibility"}
    assert ("198.51.100.0/24", "warning") in grades
    controller.snapshots = [replace(quiet, services={})]
    assert "vantage_floor" not in run("status").out, "nothing needs it yet"
