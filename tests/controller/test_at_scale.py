"""What changes cost a real store, a controller and simulated agents: counted, not timed."""

import asyncio

import pytest

from bench.controller import Bench, Row
from bench.controller_site import Site, absent, leader, run, running
from pltfrms.model.running.state import Phase, Snapshot
from tests.namespaces import in_machine

MACHINES, REPLICAS_PER_NODE, SECONDS = 18, 4, 1.0
FETCHING_MAX = 8
"""Machines that fetch after one service of one datacenter changed, however many there are."""
COMMITS_AT_REST_MAX = 3
COMMITS_PER_STATUS_MAX = 2
STATUSES_PER_SECOND = 10
HANG_SECONDS = 15
"""More than twice as long as a machine may be silent here, who then is called lost."""
HEARTBEAT_MS = 2000
TOLD_SECONDS = 60


async def _measured() -> None:
    run("ip", "link", "set", "lo", "up")
    with running(MACHINES, 1, watched=False) as site:
        bench = Bench(site, SECONDS, REPLICAS_PER_NODE)
        bench.run()
    rows = {row.step: row for row in bench.rows}
    assert rows["place all"].fetching_machines == MACHINES - 3  # controllers are told nothing
    assert 0 <= rows["at rest"].commits <= COMMITS_AT_REST_MAX, rows["at rest"]
    assert 0 < rows["one service changed"].fetching_machines <= FETCHING_MAX
    assert rows["a node lost"].note.startswith("replaced after ")
    assert [row for row in bench.rows if row.false_losses] == []
    _statuses_cost_little(rows[f"{STATUSES_PER_SECOND} status changes/s"])


def _statuses_cost_little(row: Row) -> None:
    changes = STATUSES_PER_SECOND * row.seconds
    assert 1 <= row.commits <= COMMITS_PER_STATUS_MAX * changes + COMMITS_AT_REST_MAX, row
    assert row.fetching_machines == 0, row


@pytest.mark.root
@pytest.mark.timeout(300)
def test_the_bench_of_controllers_runs_to_its_end_and_changes_cost_what_they_change() -> None:
    in_machine(_measured)


async def _hung() -> None:
    run("ip", "link", "set", "lo", "up")
    with running(MACHINES, 3, watched=False, heartbeat_ms=HEARTBEAT_MS) as site:
        bench = Bench(site, SECONDS, REPLICAS_PER_NODE)
        bench.run(())
        site.wait(_untold, TOLD_SECONDS)
        before, (_, last) = site.snapshot(), site.false_losses(0)
        with site.leader_hangs() as name:
            await asyncio.sleep(HANG_SECONDS)
            assert leader(site) not in {name, ""}
            site.wait(absent, TOLD_SECONDS)
            after = site.snapshot()
            assert after.allocations == before.allocations
            assert _told(after) == _told(before)
            bench.take(("service",))
        assert site.false_losses(last)[0] == 0


def _told(seen: Snapshot) -> dict[str, Phase]:
    """Return how each instance is, as its node has told."""
    return {each.allocation: each.phase for s in seen.statuses.values() for each in s.instances}


def _untold(site: Site) -> str:
    seen = site.snapshot()
    ready = {name for name, phase in _told(seen).items() if phase is Phase.READY}
    missing = seen.allocations.keys() - ready
    return f"{len(missing)} instances are not told to be ready" * bool(missing)


@pytest.mark.root
@pytest.mark.timeout(300)
def test_a_leader_of_the_store_that_hangs_costs_no_machine_and_no_decision() -> None:
    in_machine(_hung)
