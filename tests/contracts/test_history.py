"""No acknowledged write is lost, and no stale writer wins, whatever happens to a member."""

from pathlib import Path

import pytest

from tests.contracts.history import record
from tests.namespaces import in_machine


@pytest.mark.root
def test_writes_by_the_api_are_linearizable_while_members_are_killed_paused_and_cut_off() -> (
    None
):
    async def scenario() -> None:
        directory = Path("/mnt")  # of this machine alone; the users of members may pass it
        history = await record(directory, rounds=3)
        assert history.counts["acknowledged"] >= 20
        assert history.counts["read"] >= 20
        assert history.longest_gap_seconds < 10
        assert history.wrong() == []

    in_machine(scenario)
