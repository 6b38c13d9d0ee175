"""Whether all instances of a service can have an address of their own."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from pltfrms.model.network.topology import Aggregate
from pltfrms.model.services.outgoing import Egress, EgressMode
from pltfrms.specfile.checking.services.service import placement_findings
from tests.strategies import make_platform, make_spec

MADE = make_platform({"fra": 2}, cpu=200.0)
FEW = Aggregate(prefix=ip_network("192.0.2.0/24"), unicast="fra", per_node=4)
PLATFORM = replace(MADE, aggregates=(*MADE.aggregates, FEW))


@pytest.mark.parametrize("mode", EgressMode)
def test_no_more_replicas_ask_for_an_own_address_than_there_are_and_one_stays_free(
    mode: EgressMode,
) -> None:
    for replicas, fits in ((5, True), (6, mode is not EgressMode.OWN)):
        spec = make_spec(replicas=replicas, max_per_node=3)
        spec = replace(spec, egress=Egress(mode=mode))
        found = [finding.problem().what for finding in placement_findings(spec, PLATFORM)]
        assert (found == []) == fits, found
        assert fits or found[0].endswith("3 each, 6 in all, of which a roll-out needs one")
