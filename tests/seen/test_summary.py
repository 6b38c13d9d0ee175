"""From a snapshot to what a person sees."""

from dataclasses import replace

from pltfrms.cli.shared.rows import machine_cells
from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.network.interventions import Drain, Freeze, Interventions
from pltfrms.model.network.traffic import Override
from pltfrms.model.running.plan import Note, Reason
from pltfrms.model.running.state import (
    Contact,
    InstanceStatus,
    MachineStatus,
    MachineView,
    Phase,
    RoutingState,
    RoutingStatus,
    SessionStatus,
    Snapshot,
)
from pltfrms.planner.placement.explain import explain_service
from pltfrms.seen.announced import aggregate_sentence
from pltfrms.seen.summary import missing_replicas, replica_rows, service_row, summarize
from tests.cli.world import HEALTHY, NOW_MS, WEB, known_last, with_lost, with_phase


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


def test_a_node_of_which_nothing_is_decided_says_why() -> None:
    node = next(iter(HEALTHY.allocations.values())).node
    why = "no heartbeat for 8 s; edge fra-e1 still has a session with it"
    silent = MachineView(contact=Contact.UNKNOWN, since_seconds=3.0, why=why)
    snapshot = replace(HEALTHY, machines={**HEALTHY.machines, node: silent})
    rows = replica_rows(snapshot, snapshot.services["web"])
    assert {(row.state, row.detail) for row in rows if row.node == node} == {("unknown", why)}


def test_what_a_lost_node_last_said_is_unknown_not_ready() -> None:
    summary = summarize(view(with_lost(HEALTHY, "fra-n1")), NOW_MS)
    assert not summary.fine
    assert "17/18 machines in contact" in summary.verdict
    assert "web 5/6 ready (1 unknown)" in summary.verdict


def test_a_lost_edge_announces_nothing_that_we_know_of() -> None:
    fra = summarize(view(with_lost(HEALTHY, "fra-e1")), NOW_MS).datacenters[0]
    assert fra.aggregates[0].announced_by == ("fra-e2",)
    row = fra.aggregates[0]
    assert [(word.edge, word.state) for word in row.edges] == [
        ("fra-e1", "unknown"),
        ("fra-e2", "announced"),
    ]


def test_each_reason_stands_beside_the_edge_that_it_is_about() -> None:
    quiet = HEALTHY.statuses["fra-e2"]
    aggregates = tuple(
        replace(each, announced=False, reason=Reason.ISOLATED) for each in quiet.aggregates
    )
    statuses = {**HEALTHY.statuses, "fra-e2": replace(quiet, aggregates=aggregates)}
    snapshot = replace(HEALTHY, statuses=statuses)

    def sentence(snapshot: Snapshot) -> str:
        rows = summarize(view(snapshot), NOW_MS).datacenters[0].aggregates
        return aggregate_sentence(rows[0])

    local, isolated = Reason.LOCAL_SERVICE.sentence, Reason.ISOLATED.sentence
    prefix = "198.51.100.0/24"
    assert sentence(HEALTHY) == f"{prefix} announced by every edge: {local}"
    assert sentence(snapshot) == (
        f"{prefix} announced by fra-e1: {local}; not announced by fra-e2: {isolated}"
    )
    assert sentence(with_lost(snapshot, "fra-e1")) == (
        f"{prefix} unknown of fra-e1: it is out of contact; it said last: announced; "
        f"not announced by fra-e2: {isolated}"
    )
    lost = with_lost(with_lost(HEALTHY, "fra-e1"), "fra-e2")
    assert "unknown of every edge: it is out of contact; it said last: announced" in (
        sentence(lost)
    )


def test_without_the_store_everything_is_what_was_known_last_with_its_age() -> None:
    snapshot = with_lost(HEALTHY, "fra-n1")
    summary = summarize(known_last(snapshot, 23.0), NOW_MS)
    assert not summary.fine
    assert summary.verdict == (
        "example: known last, 23 s ago: 3 datacenters, 17/18 machines in contact, "
        "34/36 sessions up (2 unknown), web 5/6 ready (1 unknown)"
    )
    for row in summary.datacenters:
        for aggregate in row.aggregates:
            assert len(aggregate.announced_by) == 2
    cells = {row.name: machine_cells(row) for row in summary.machines}
    assert cells["fra-e1"][1:4] == ("was present", "23 s ago", "2/2 up (last known)")
    assert cells["fra-n1"][1] == "was lost"
    assert not summary.network


def test_a_contact_that_is_not_judged_yet_is_neither_lost_nor_never_heard_of() -> None:
    summary = summarize(view(replace(HEALTHY, machines={})), NOW_MS)
    assert "0/18 machines in contact (18 not known)" in summary.verdict
    cells = machine_cells(summary.machines[0])
    assert cells[1:4] == ("unknown", "-", "2/2 up (last known)")


# ---- rollouts ------------------------------------------------------------------------------


def rolled(phase: Phase | None, detail: str = "", restarts: int = 0) -> Snapshot:
    """Return a platform on which version 2 of `web` was begun in each datacenter."""
    newer = replace(WEB, version=2, changed_ms=NOW_MS - 60_000)
    snapshot = replace(HEALTHY, services={"web": newer})
    for dc in ("fra", "ams", "lon"):
        old = HEALTHY.allocations[f"web.{dc}.1-1"]
        new = replace(old, id=f"web.{dc}.1-2", number=2, version=2, node=f"{dc}-n3", slot=7)
        said = snapshot.statuses[new.node]
        if phase:
            instance = InstanceStatus(
                allocation=new.id, phase=phase, restarts=restarts, detail=detail
            )
            said = replace(said, instances=(instance,))
        snapshot = replace(
            snapshot,
            allocations={**snapshot.allocations, new.id: new},
            statuses={**snapshot.statuses, new.node: said},
        )
    return snapshot


def failing(datacenter: str) -> str:
    where = f"web.{datacenter}.1-2 on {datacenter}-n3"
    return f"{where}, restarted 4 times: exit code 1: no such file"


def test_a_rollout_that_fails_while_all_replicas_serve_is_in_the_verdict_and_says_why() -> None:
    summary = summarize(view(rolled(Phase.BACKOFF, "exit code 1: no such file", 4)), NOW_MS)
    assert not summary.fine
    assert "web 6/6 ready, rollout of web version 2 fails (0/6)" in summary.verdict
    assert summary.rollouts == (
        "; ".join(
            [
                "web: version 2 is being rolled out for 60 s: 0/6 replicas run it",
                f"it fails: {failing('ams')}",
                failing("fra"),
                failing("lon"),
            ]
        ),
    )
    starting_anew = summarize(view(rolled(Phase.STARTING, "started", 4)), NOW_MS)
    assert "fails" in starting_anew.verdict


def test_a_rollout_under_way_is_told_and_is_fine() -> None:
    for phase, done in ((None, 0), (Phase.STARTING, 0), (Phase.READY, 3)):
        summary = summarize(view(rolled(phase)), NOW_MS)
        assert summary.fine
        assert f"rollout of web version 2 ({done}/6)" in summary.verdict
        assert summary.rollouts == (
            f"web: version 2 is being rolled out for 60 s: {done}/6 replicas run it",
        )


def test_without_a_rollout_nothing_is_said_of_one() -> None:
    assert summarize(view(HEALTHY), NOW_MS).rollouts == ()
    assert "rollout" not in summarize(view(HEALTHY), NOW_MS).verdict


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
    assert summary.notes == ("web.fra.2: no node has enough room for it (needs 2 cores)",)


def test_a_machine_in_contact_whose_controller_is_not_is_a_problem() -> None:
    healthy = replace(view(HEALTHY), controllers=("ams-c1", "fra-c1", "lon-c1"))
    assert summarize(healthy, NOW_MS).problems == ()
    silent = summarize(replace(healthy, controllers=("ams-c1", "lon-c1")), NOW_MS)
    assert silent.problems == (
        "fra-c1: its controller does not run, or does not reach the store",
    )
    assert not silent.fine


def with_failure(snapshot: Snapshot, name: str, failure: str, restarts: int) -> Snapshot:
    node = snapshot.allocations[name].node
    status = snapshot.statuses[node]
    instances = tuple(
        replace(each, failure=failure, restarts=restarts, detail="first probe succeeded")
        if each.allocation == name
        else each
        for each in status.instances
    )
    statuses = {**snapshot.statuses, node: replace(status, instances=instances)}
    return replace(snapshot, statuses=statuses)


def test_a_service_that_crashes_is_named_also_while_it_is_ready_for_a_moment() -> None:
    how = "exited with status 3, and said last: no config"
    once = with_failure(HEALTHY, "web.fra.1-1", how, 7)
    summary = summarize(view(once), NOW_MS)
    assert summary.problems == (f"web: web.fra.1-1 on fra-n1 (restarted 7 times): {how}",)
    assert not summary.fine
    twice = with_failure(once, "web.ams.2-1", "killed by signal 9", 2)
    (line,) = summarize(view(twice), NOW_MS).problems
    assert line.startswith("web: 2 instances fail, such as web.fra.1-1 on fra-n1")
    assert summarize(view(with_lost(once, "fra-n1")), NOW_MS).problems == ()
    row = next(r for r in replica_rows(once, WEB) if r.allocation == "web.fra.1-1")
    assert row.detail == f"first probe succeeded; failed before: {how}"
    assert any(f"it failed before: {how}" in each for each in explain_service(once, "web"))


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


def test_what_a_lost_node_said_last_of_its_instances_is_called_so() -> None:
    summary = summarize(view(with_lost(HEALTHY, "fra-n1")), NOW_MS)
    cells = {row.name: machine_cells(row) for row in summary.machines}
    assert "34/36 sessions up (2 unknown)" in summary.verdict
    assert cells["fra-n1"][3:5] == ("2/2 up (last known)", "1/1 ready (last known)")
    assert cells["fra-n2"][3:5] == ("2/2 up", "1/1 ready")
