"""Whatever flaps inside, the outside hears of few changes: every UPDATE is looked at."""

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.attacks.flapping_world import FlappingWorld, flapping_world
from tests.attacks.world import AGGREGATES, Heard
from tests.render.namespaces import eventually

SECONDS = int(os.environ.get("PLTFRMS_FLAP_SECONDS", "8"))
"""How long an instance flaps, and then a link. The rule is about 60."""
SLOW_SECONDS = max(18, SECONDS)
"""How long an instance flaps as slowly as hurts most: its aggregate comes and goes with it."""
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.timeout(120 + 4 * SECONDS),
]
MOST_CHANGES = 3
"""In a minute, as one neighbour hears of one aggregate."""


@pytest.fixture(scope="module")
def flapping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlappingWorld]:
    with flapping_world(tmp_path_factory.mktemp("flapping")) as made:
        yield made


def _changes(heard: list[Heard], before: int) -> Counter[tuple[str, str]]:
    """Count, by neighbour and aggregate, what differs from what was said last.

    An UPDATE that says the same again is none: BIRD sends one when the agent, about to
    withdraw, changes the metric of its route for the other datacenters to see.
    """
    last: dict[tuple[str, str], Heard] = {}
    changes: Counter[tuple[str, str]] = Counter()
    for number, one in enumerate(heard):
        about = (one.speaker, one.prefix)
        if one.prefix in AGGREGATES and last.get(about) != one:
            last[about] = one
            changes[about] += number >= before
    return changes


def _withdrawn(world: FlappingWorld) -> bool:
    return any(one.withdrawn and one.prefix in AGGREGATES for one in world.heard())


def test_an_instance_that_flaps_at_1_hz_is_no_news_for_the_outside(
    flapping: FlappingWorld,
) -> None:
    before = len(flapping.heard())
    flapping.flap(flapping.fail, flapping.serve, times=SECONDS, half=0.5)
    assert not any(_changes(flapping.heard(), before).values()), flapping.agent_log()
    assert eventually(flapping.served, 5)


def test_a_link_that_flaps_at_1_hz_and_an_instance_that_flaps_slowly_are_few_changes(
    flapping: FlappingWorld,
) -> None:
    """BGP does not come up in half a second. Slower flapping outlasts the hysteresis."""
    before = len(flapping.heard())
    flapping.flap(flapping.cut, flapping.mend, times=SECONDS, half=0.5)
    assert _withdrawn(flapping), flapping.agent_log()
    assert eventually(flapping.served, 10)
    flapping.flap(flapping.fail, flapping.serve, times=SLOW_SECONDS // 6, half=3.0)
    changes = _changes(flapping.heard(), before)
    minutes = -(-(SECONDS + SLOW_SECONDS) // 60)
    assert 0 < max(changes.values()) <= MOST_CHANGES * minutes, changes
