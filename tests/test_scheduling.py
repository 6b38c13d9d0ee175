"""Which worker runs which file of tests."""

from itertools import combinations

from tests.scheduling import is_heavy, lab_of, place_of

LIVE, MACHINES = "tests/live/test_", "tests/machines/test_"
SECONDS = {
    f"{LIVE}b_director.py": 99,
    f"{LIVE}b_network.py": 242,
    f"{LIVE}b_static.py": 68,
    f"{LIVE}g_members.py": 197,
    f"{LIVE}h_rollouts.py": 270,
    f"{LIVE}i_names.py": 430,
    f"{LIVE}j_mass.py": 124,
    f"{LIVE}k_foresight.py": 74,
    f"{LIVE}l_scaling.py": 98,
    f"{LIVE}m_containers.py": 66,
    f"{LIVE}n_roles.py": 38,
    f"{MACHINES}lab.py": 330,
    f"{MACHINES}package.py": 370,
}
"""What each took where two ran at once."""


def by_two(files: list[str]) -> dict[str, tuple[float, float]]:
    """Return from when to when each file runs: who is free takes the next lab, all of it."""
    units: dict[str, list[str]] = {}
    for file in files:
        units.setdefault(lab_of(file), []).append(file)
    ran, free_at = dict[str, tuple[float, float]](), [0.0, 0.0]
    for unit in units.values():
        worker = free_at.index(min(free_at))
        for file in unit:
            ran[file] = (free_at[worker], free_at[worker] + SECONDS[file])
            free_at[worker] = ran[file][1]
    return ran


def test_what_is_heavy_does_not_meet_what_is_heavy() -> None:
    allowed = dict.fromkeys(map(lab_of, SECONDS), 0.0)
    for file, seconds in SECONDS.items():
        allowed[lab_of(file)] += seconds
    ran = by_two(sorted(SECONDS, key=lambda file: place_of(file, allowed)))
    heavy = [file for file in SECONDS if is_heavy(file)]
    assert len(heavy) == 4
    for (began, ended), (other_began, other_ended) in combinations(
        [ran[file] for file in heavy], 2
    ):
        assert ended <= other_began or other_ended <= began
    assert max(ended for _, ended in ran.values()) < sum(SECONDS.values()) * 0.55
