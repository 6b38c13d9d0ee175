"""Whatever is lost, late or begins anew: no run begins twice, no two live, none is lost."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planner.jobs.nodes import Small, make_job


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 400))
def test_no_run_begins_twice_no_two_live_at_once_and_each_comes_to_an_end(
    seed: int, length: int
) -> None:
    world = Small(seed, make_job())
    for _ in range(length):
        world.act()
    world.heal()
    numbers = sorted(int(run.rpartition("@")[2]) for run in world.ever)
    assert numbers == list(range(1, len(numbers) + 1))
    assert world.stored.jobs["backup"].last_run == len(numbers)


def test_in_a_long_life_much_is_run_and_much_goes_wrong() -> None:
    """What the other test looks at does happen, or it would look at nothing."""
    worlds = [Small(seed, make_job()) for seed in range(4)]
    for world in worlds:
        for _ in range(3000):
            world.act()
        world.heal()
    reasons = {run.reason.value for world in worlds for run in world.stored.runs.values()}
    assert sum(len(world.began) for world in worlds) > 20
    assert {"ended-well", "ended-badly", "interrupted", "too-long", "never-began"} <= reasons
