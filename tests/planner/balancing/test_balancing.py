"""What the director of a machine knows, and where it sees packets."""

from dataclasses import replace

import pytest

from pltfrms.model.network.links import Link
from pltfrms.model.running.balancer import Candidate, CandidateState, HookKind
from pltfrms.planner.balancing.balancing import (
    candidate_of,
    hooks_of,
    service_id_of,
    settings_of,
)
from tests.strategies import make_platform

PLATFORM = replace(make_platform({"fra": 2, "ams": 1}), links=(Link(a="fra-e1", b="ams-e1"),))
NODE = PLATFORM.machine("fra-n1")


def test_a_route_says_who_with_which_weight_and_state() -> None:
    web, api = PLATFORM.instance6(NODE, 7, 1), PLATFORM.instance6(NODE, 300, 2)
    assert candidate_of(web, [1010]) == Candidate(address=web, weight=10)
    draining = Candidate(address=api, weight=1, state=CandidateState.DRAINING)
    assert candidate_of(api, [2001]) == draining
    assert candidate_of(api, []) is None
    assert service_id_of(api) == 300


@pytest.mark.parametrize("metric", [0, 10, 1000, 4010, 9001])
def test_a_metric_that_says_nothing_is_no_candidate(metric: int) -> None:
    assert candidate_of(PLATFORM.instance6(NODE, 7, 1), [metric]) is None


def test_while_a_route_changes_the_better_state_counts() -> None:
    address = PLATFORM.instance6(NODE, 7, 1)
    for metrics in ([7, 1010, 2010], [2010, 1010]):
        one = candidate_of(address, metrics)
        assert one is not None
        assert one.state is CandidateState.ACTIVE


def test_an_edge_sees_all_that_comes_in() -> None:
    hooks = hooks_of(PLATFORM, "fra-e1", {})
    outside = {session.interface for _, session in PLATFORM.sessions_of("fra-e1")}
    assert {hook.device for hook in hooks if hook.kind is HookKind.OUTSIDE} == outside
    assert {hook.device for hook in hooks if hook.kind is HookKind.INSIDE} == {
        "bb-ams-e1",
        "fab-a",
        "fab-b",
    }


def test_a_node_sees_what_its_instances_send_and_get() -> None:
    address = PLATFORM.instance6(NODE, 7, 1)
    *fabrics, last = hooks_of(PLATFORM, "fra-n1", {"i1": address})
    assert (last.device, last.kind, last.address) == ("i1", HookKind.INSTANCE, address)
    assert {hook.kind for hook in fabrics} == {HookKind.INSIDE}
    assert [hook.device for hook in fabrics] == ["fab-a", "fab-b"]


def test_every_machine_sends_from_a_network_of_its_own() -> None:
    sources = [settings_of(PLATFORM, machine.name).source for machine in PLATFORM.machines]
    assert len(set(sources)) == len(sources)
    for source in sources:
        assert source.prefixlen == 96
        assert source.subnet_of(PLATFORM.infrastructure6)
        assert not any(
            source.overlaps(PLATFORM.pool6(node))
            for node in PLATFORM.machines
            if node.name.split("-")[1].startswith("n")
        )
