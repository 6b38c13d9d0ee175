"""When a machine may leave."""

from dataclasses import replace

import pytest

from pltfrms.model.network.interventions import Drain, Interventions
from pltfrms.model.running.plan import Target
from pltfrms.model.running.volumes import Volume, VolumeState
from pltfrms.planner.upkeep.leaving import why_not_leave
from tests.cli.world import ALLOCATIONS, NOW_MS, PLATFORM


def target(machine: str, *drains: Drain, many: int = 0) -> Target:
    return Target(
        machine=machine,
        generation=7,
        platform=PLATFORM,
        interventions=Interventions(drains=drains),
        allocations=tuple(ALLOCATIONS.values())[:many],
    )


def drain(*, node: str = "", edge: str = "", datacenter: str = "") -> Drain:
    return Drain(
        node=node, edge=edge, datacenter=datacenter, since_ms=NOW_MS - 60_000, wait_ms=10_000
    )


def holding(state: VolumeState) -> Target:
    volume = Volume(
        id="db.fra.1@1",
        service="db",
        datacenter="fra",
        replica=1,
        generation=1,
        node="fra-n1",
        state=state,
    )
    return replace(target("fra-n1", drain(node="fra-n1")), volumes=(volume,))


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (target("fra-c1"), ["fra-c1 is a controller"]),
        (target("fra-n1"), ["pltfrms node drain fra-n1"]),
        (target("fra-n1", drain(node="fra-n2")), ["pltfrms node drain fra-n1"]),
        (target("fra-n1", drain(node="fra-n1"), many=2), ["2 instances are still to run"]),
        (target("fra-n1", drain(node="fra-n1")), []),
        (holding(VolumeState.HELD), ["fra-n1 has db.fra.1@1"]),
        (holding(VolumeState.GIVEN_UP), ["fra-n1 has db.fra.1@1"]),
        (holding(VolumeState.RELEASED), []),
        (target("fra-e1"), ["pltfrms edge drain fra-e1"]),
        (target("fra-e1", drain(edge="fra-e2")), ["pltfrms edge drain fra-e1"]),
        (target("fra-e1", drain(edge="fra-e1")), []),
        (target("fra-e1", drain(datacenter="fra")), []),
        (target("gone"), []),
    ],
)
def test_it_may_once_nobody_counts_on_it(known: Target, words: list[str]) -> None:
    found = why_not_leave(known, NOW_MS)
    assert len(found) == len(words)
    assert all(word in reason for word, reason in zip(words, found, strict=True))


def test_a_drain_that_has_only_begun_is_none_yet() -> None:
    begun = replace(drain(edge="fra-e1"), since_ms=NOW_MS)
    assert why_not_leave(target("fra-e1", begun), NOW_MS)
