"""From a snapshot to what a person sees."""

from dataclasses import replace

from pltfrms.cli.platform.summary import missing_replicas, service_row, summarize
from pltfrms.model.api import SnapshotView
from pltfrms.model.interventions import Drain, Freeze, Interventions
from pltfrms.model.plan import Note, Reason
from pltfrms.model.state import (
    MachineStatus,
    Phase,
    RoutingState,
    RoutingStatus,
    SessionStatus,
    Snapshot,
)
from pltfrms.model.traffic import Override
from tests.cli.world import HEALTHY, NOW_MS, WEB, with_lost, with_phase


def view(snapshot: Snapshot, *notes: Note) -> SnapshotView:
    return SnapshotView(controller="fra-c1", snapshot=snapshot, notes=notes)


def without_allocation(snapshot: Snapshot, name: str) -> Snapshot:
    left = {key: value for key, value in snapshot.allocations.items() if key != name}
    return replace(snapshot, allocations=left)


def test_a_healthy_platform_in_one_sentence() -> None:
    summary = summarize(view(HEALTHY), NOW_MS)
    assert summary.fine
    assert summary.verdict == (
        "example: 3 datacenters, 18 machines in contact, 36/36 sessions up, web 6/6 ready"
    )


def test_what_a_lost_node_last_said_is_unknown_not_ready() -> None:
    summary = summarize(view(with_lost(HEALTHY, "fra-n1")), NOW_MS)
    assert not summary.fine
    assert "17/18 machines in contact" in summary.verdict
    assert "web 5/6 ready (1 unknown)" in summary.verdict


def test_a_lost_edge_announces_nothing_that_we_know_of() -> None:
    fra = summarize(view(with_lost(HEALTHY, "fra-e1")), NOW_MS).datacenters[0]
    assert fra.aggregates[0].announced_by == ("fra-e2",)
    assert "not known" in fra.aggregates[0].reasons


def test_anything_amiss_is_not_fine() -> None:
    down = MachineStatus(machine="lon-n3", sessions=(SessionStatus(name="s", up=False),))
    troubled = MachineStatus(
        machine="lon-n3", sessions=(SessionStatus(name="s", up=True),), problems=("no disk",)
    )
    for status in (down, troubled, MachineStatus(machine="lon-n3")):
        statuses = {**HEALTHY.statuses, "lon-n3": status}
        assert not summarize(view(replace(HEALTHY, statuses=statuses)), NOW_MS).fine
    note = Note(about="web.fra.2", reason=Reason.NO_CAPACITY)
    assert not summarize(view(HEALTHY, note), NOW_MS).fine


def test_problems_and_notes_say_whose_they_are() -> None:
    status = replace(HEALTHY.statuses["fra-n1"], problems=("nft is missing",))
    snapshot = replace(HEALTHY, statuses={**HEALTHY.statuses, "fra-n1": status})
    note = Note(about="web.fra.2", reason=Reason.NO_CAPACITY, detail="needs 2 cores")
    summary = summarize(view(snapshot, note), NOW_MS)
    assert summary.problems == ("fra-n1: nft is missing",)
    assert summary.notes == (
        "web.fra.2: no node has enough free cpu and memory (needs 2 cores)",
    )


def test_a_machine_in_contact_whose_controller_is_not_is_a_problem() -> None:
    healthy = replace(view(HEALTHY), controllers=("ams-c1", "fra-c1", "lon-c1"))
    assert summarize(healthy, NOW_MS).problems == ()
    silent = summarize(replace(healthy, controllers=("ams-c1", "lon-c1")), NOW_MS)
    assert silent.problems == (
        "fra-c1: its controller does not run, or does not reach the store",
    )
    assert not silent.fine


def test_a_machine_without_its_director_is_a_problem() -> None:
    status = replace(HEALTHY.statuses["fra-e1"], balancer="no TCX and no clsact here")
    snapshot = replace(HEALTHY, statuses={**HEALTHY.statuses, "fra-e1": status})
    summary = summarize(view(snapshot), NOW_MS)
    assert not summary.fine
    assert summary.problems == ("fra-e1: the director does not run: no TCX and no clsact here",)


def test_missing_replicas() -> None:
    assert missing_replicas(HEALTHY, ["web"]) == ()
    starting = with_phase(HEALTHY, "web.ams.2-1", Phase.STARTING)
    assert [row.allocation for row in missing_replicas(starting, ["web"])] == ["web.ams.2-1"]
    gone = without_allocation(HEALTHY, "web.lon.1-1")
    assert [row.state for row in missing_replicas(gone, ["web"])] == ["missing"]
    lost = with_lost(HEALTHY, "fra-n2")
    assert [row.state for row in missing_replicas(lost, ["web"])] == ["unknown"]


def test_a_replica_of_an_old_version_is_missing() -> None:
    newer = replace(HEALTHY, services={"web": replace(WEB, version=2)})
    assert len(missing_replicas(newer, ["web"])) == 6


def test_a_replica_being_moved_counts_once() -> None:
    old = HEALTHY.allocations["web.fra.1-1"]
    new = replace(old, id="web.fra.1-2", number=2, node="fra-n3", replaces=old.id)
    moving = replace(HEALTHY, allocations={**HEALTHY.allocations, new.id: new})
    assert service_row(moving, WEB).ready == 6
    assert missing_replicas(moving, ["web"]) == ()


def test_an_old_snapshot_says_so() -> None:
    summary = summarize(replace(view(HEALTHY), stale_seconds=12.0), NOW_MS)
    assert not summary.fine
    assert "the store does not answer for 12 s" in summary.problems[0]


def test_interventions_and_unsettled_edges_are_told() -> None:
    edge = HEALTHY.statuses["fra-e1"]
    reverted = RoutingStatus(state=RoutingState.REVERTED, detail="peer.transit1.ipv4 is not up")
    override = Override(
        peer="transit1", prepend=2, until_ms=NOW_MS + 3_600_000, why="congestion"
    )
    later = Override(peer="transit2", prepend=1, until_ms=NOW_MS + 8 * 86_400_000)
    snapshot = replace(
        HEALTHY,
        platform=replace(HEALTHY.platform, traffic=(override, later)),
        statuses={**HEALTHY.statuses, "fra-e1": replace(edge, routing=reverted)},
        interventions=Interventions(
            freeze=Freeze(since_ms=NOW_MS - 300_000, why="odd withdrawals", by="ada"),
            drains=(Drain(peer="ixp1", since_ms=NOW_MS - 20_000, wait_ms=60_000, why="move"),),
        ),
    )
    summary = summarize(view(snapshot), NOW_MS)
    assert not summary.fine
    assert summary.frozen == "frozen for 5 min (odd withdrawals; by ada)"
    assert summary.network == (
        "drain ixp1: peers are told to prefer other paths; withdraws in 40 s (move)",
        "override prepend x2 to transit1: ends in 60 min (2023-11-14 23:13 UTC) (congestion)",
        "routing of fra-e1: reverted: peer.transit1.ipv4 is not up",
    )
