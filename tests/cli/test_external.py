"""What an operator sees of an edge that others manage."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.cli.network.edge import _cells
from pltfrms.cli.shared.rows import machine_cells
from pltfrms.lab.client.ready import missing_parts
from pltfrms.model.messages.api import SnapshotView
from pltfrms.model.running.state import (
    MachineStatus,
    RoutingState,
    RoutingStatus,
    SessionStatus,
    Snapshot,
)
from pltfrms.render.external import render_external
from pltfrms.seen.announced import aggregate_sentence
from pltfrms.seen.network import edge_rows, network_detail
from pltfrms.seen.summary import summarize
from pltfrms.specfile import load_platform
from tests.cli.conftest import Run
from tests.cli.world import EXAMPLE, HEALTHY, NOW_MS


def with_external(snapshot: Snapshot, *names: str) -> Snapshot:
    """Return the snapshot as it is if others manage these edges, and never were heard of."""
    platform = replace(
        snapshot.platform,
        machines=tuple(
            replace(one, external=one.name in names) for one in snapshot.platform.machines
        ),
    )
    statuses = {
        name: replace(status, routing=RoutingStatus(state=RoutingState.CONFIRMED))
        for name, status in snapshot.statuses.items()
        if name not in names
    }
    machines = {name: view for name, view in snapshot.machines.items() if name not in names}
    return replace(snapshot, platform=platform, statuses=statuses, machines=machines)


OTHERS = with_external(HEALTHY, "lon-e2")


def test_all_is_fine_without_it() -> None:
    summary = summarize(SnapshotView(controller="fra-c1", snapshot=OTHERS), NOW_MS)
    assert summary.fine
    assert "17 machines in contact, 34/34 sessions up" in summary.verdict
    lon = summary.datacenters[2]
    assert (lon.in_contact, lon.machines) == (5, 5)
    assert "announced by every edge" in aggregate_sentence(lon.aggregates[0])
    (row,) = [one for one in summary.machines if one.name == "lon-e2"]
    assert row.external
    assert machine_cells(row) == ("edge", "external", "-", "-", "-")


def test_edge_list_says_that_others_manage_it() -> None:
    rows = {row.name: row for row in edge_rows(OTHERS, NOW_MS)}
    assert _cells(rows["lon-e2"])[:4] == ("lon-e2", "lon", "-", "external")
    assert network_detail(OTHERS, NOW_MS).unsettled == ()


def test_a_datacenter_without_an_edge_of_ours_announces_nothing() -> None:
    snapshot = with_external(HEALTHY, "lon-e1", "lon-e2")
    summary = summarize(SnapshotView(controller="fra-c1", snapshot=snapshot), NOW_MS)
    assert summary.fine
    said = aggregate_sentence(summary.datacenters[2].aggregates[0])
    assert said == "198.51.100.0/24 not announced: no edge of ours"


def test_a_lab_is_ready_without_it() -> None:
    assert missing_parts(OTHERS) == ""
    stale = MachineStatus(machine="lon-e2", sessions=(SessionStatus(name="s", up=False),))
    before = replace(OTHERS, statuses={**OTHERS.statuses, "lon-e2": stale})
    assert missing_parts(before) == "", "what it said while it was ours does not count"


@pytest.mark.parametrize("whole", [True, False])
def test_render_prints_what_it_needs(run: Run, tmp_path: Path, *, whole: bool) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "spec")
    spec = tmp_path / "spec" / "platform.yaml"
    ours = "edges: [lon-e1, lon-e2]"
    others = "edges: {lon-e1: {}, lon-e2: {}, lon-x9: {external: true}}"
    spec.write_text(spec.read_text().replace(ours, others))
    shown = run("render", spec, *(() if whole else ("--machine", "lon-x9")))
    assert shown.code == 0, shown.err
    assert render_external(load_platform(spec), "lon-x9") in shown.out
    assert ("protocol bgp" in shown.out) is whole
