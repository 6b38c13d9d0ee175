"""Which worker runs which file of tests."""

from itertools import combinations

from tests.scheduling import is_heavy, lab_of, place_of

LIVE, MACHINES = "tests/live/test_", "tests/machines/test_"
SECONDS = {
    f"{LIVE}b_director.py": 110,
    f"{LIVE}b_network.py": 234,
    f"{LIVE}b_static.py": 96,
    f"{LIVE}g_members.py": 118,
    f"{LIVE}i_names.py": 496,
    f"{LIVE}j_mass.py": 136,
    f"{LIVE}k_foresight.py": 58,
    f"{LIVE}l_scaling.py": 111,
    f"{LIVE}m_containers.py": 39,
    f"{LIVE}n_roles.py": 156,
    f"{MACHINES}lab.py": 338,
    f"{MACHINES}package.py": 383,
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
    assert len(heavy) == 3
    for (began, ended), (other_began, other_ended) in combinations(
        [ran[file] for file in heavy], 2
    ):
        assert ended <= other_began or other_ended <= began
    assert max(ended for _, ended in ran.values()) < sum(SECONDS.values()) * 0.55
