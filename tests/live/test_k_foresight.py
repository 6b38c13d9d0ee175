"""What is foreseen of a loss comes so."""

import re

import pytest

from bench.rig import Rig
from bench.whatif import compare, lab_words

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(300)]


def test_what_services_have_to_do_is_measured(healthy: Rig) -> None:
    def measured() -> bool:
        snapshot = healthy.snapshot()
        said = map(snapshot.instance, snapshot.allocations)
        peaks = [each.peak for each in said if each and each.peak]
        known = [each for each in peaks if each.cpu_percent is not None]
        return len(known) == len(snapshot.allocations)

    healthy.wait("of all instances a peak is known", measured, 60)
    assert re.search(r"web +[0-9.]+ cores \(measured in [0-9]+ h\)", healthy.cli("redundancy"))


def test_a_datacenter_and_a_node_of_another_are_lost_as_it_was_foreseen(healthy: Rig) -> None:
    row = compare(healthy, lab_words(), f"datacenter/fra,node/{healthy.node_of('ams')}")
    assert row.replicas_moved == 1
    assert row.clients_moved == 1
    assert row.is_true, row
