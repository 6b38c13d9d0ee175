"""What is foreseen of a loss comes so."""

import pytest

from bench.rig import Rig
from bench.whatif import compare, lab_words

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(300)]


def test_a_datacenter_and_a_node_of_another_are_lost_as_it_was_foreseen(healthy: Rig) -> None:
    row = compare(healthy, lab_words(), f"datacenter/fra,node/{healthy.node_of('ams')}")
    assert row.replicas_moved == 1
    assert row.clients_moved == 1
    assert row.is_true, row
