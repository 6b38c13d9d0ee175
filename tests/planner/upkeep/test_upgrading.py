"""In which order machines are upgraded, and which releases go together."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import pytest

from pltfrms.model.network.topology import Role
from pltfrms.model.running.redundancy import Loss, Redundancy, Survival, Weakness
from pltfrms.model.running.state import Snapshot
from pltfrms.planner.upkeep.upgrading import (
    UpgradeState,
    UpgradeStep,
    releases_apart,
    upgrade_steps,
    version_skews,
)
from tests.cli.world import HEALTHY, PLATFORM, with_lost

SAFE = Redundancy(survival=Survival.SURVIVED)
LIVING = [each.name for each in PLATFORM.machines_of(Role.CONTROLLER)]
NAMES = [each.name for each in PLATFORM.managed]


def running(versions: Mapping[str, str], version: str = "0.1.0") -> Snapshot:
    statuses = {
        name: replace(status, version=versions.get(name, version))
        for name, status in HEALTHY.statuses.items()
    }
    return replace(HEALTHY, statuses=statuses)


def ahead(steps: tuple[UpgradeStep, ...]) -> list[str]:
    return [each.machine for each in steps if each.state is UpgradeState.NEXT]


def test_one_machine_after_the_other_is_next_until_all_run_it() -> None:
    done: dict[str, str] = {}
    order = []
    while found := ahead(upgrade_steps(running(done), SAFE, LIVING, "0.2.0")):
        [machine] = found
        done[machine] = "0.2.0"
        order.append(machine)
    assert sorted(order) == sorted(NAMES)
    machines = [PLATFORM.machine(name) for name in order]
    controllers = [each.has(Role.CONTROLLER) for each in machines]
    assert controllers == sorted(controllers)
    places = [each.datacenter for each in machines if not each.has(Role.CONTROLLER)]
    assert len([1 for one, other in pairwise(places) if one != other]) == 2


@pytest.mark.parametrize("survival", [Survival.NOT_SURVIVED, Survival.NOT_KNOWN])
def test_nobody_is_next_while_a_failure_would_not_be_survived(survival: Survival) -> None:
    why = Weakness(about="store", loss=Loss.CONTROLLER, survival=survival, why="two are left")
    weak = Redundancy(survival=survival, weaknesses=(why,))
    steps = upgrade_steps(running({}), weak, LIVING, "0.2.0")
    assert ahead(steps) == []
    assert "store: two are left" in steps[0].why
    assert ahead(upgrade_steps(running({}), None, LIVING, "0.2.0")) == []


def test_a_peak_holds_nobody_up() -> None:
    short = Weakness(
        about="service/web",
        loss=Loss.NODE,
        what="fra-n1",
        survival=Survival.NOT_SURVIVED,
        why="the 3 replicas left are promised 0.3 of 0.4 cores (measured in 3 h)",
        measured=True,
    )
    weak = Redundancy(survival=Survival.NOT_SURVIVED, weaknesses=(short,))
    assert len(ahead(upgrade_steps(running({}), weak, LIVING, "0.2.0"))) == 1
    doubt = replace(
        short, about="store", survival=Survival.NOT_KNOWN, why="who knows", measured=False
    )
    weak = replace(weak, weaknesses=(short, doubt))
    (first, *_) = upgrade_steps(running({}), weak, LIVING, "0.2.0")
    assert first.why == "whether one more failure is survived: not known: store: who knows"


def test_nobody_is_next_while_a_machine_is_away() -> None:
    steps = upgrade_steps(with_lost(running({}), "ams-n1"), SAFE, LIVING, "0.2.0")
    assert ahead(steps) == []
    assert "not in contact: ams-n1" in steps[0].why


def test_nobody_is_next_while_a_controller_does_not_run_or_that_is_not_known() -> None:
    *others, upgraded = LIVING
    done = {name: "0.2.0" for name in NAMES if name not in others}
    assert ahead(upgrade_steps(running(done), SAFE, LIVING, "0.2.0")) == others[:1]
    for living, why in (
        (others, f"no controller runs on: {upgraded}"),
        (None, "not say which"),
    ):
        steps = upgrade_steps(running(done), SAFE, living, "0.2.0")
        assert ahead(steps) == []
        assert any(why in each.why for each in steps)


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ("0.1.0", "0.1.7", 0),
        ("0.1.0+py3.11", "0.2.0", 1),
        ("0.3.0", "0.1.0", 2),
        ("0.9.1", "1.0.0", 1),
        ("0.9.1", "1.1.0", 2),
        ("0.9.1", "2.0.0", None),
        ("0.1.0", "new", None),
    ],
)
def test_patches_make_no_difference(one: str, other: str, apart: int | None) -> None:
    assert releases_apart(one, other) == apart


def test_releases_that_are_side_by_side_go_together() -> None:
    assert version_skews(running({"fra-n1": "0.2.0"})) == ()


def test_the_older_ones_of_two_that_are_further_apart_are_named() -> None:
    [skew] = version_skews(running({"fra-n1": "0.1.0", "ams-n1": "0.2.0"}, "0.3.1"))
    assert skew.machines == ("fra-n1",)
    assert "2 releases" in skew.why


def test_what_is_not_known_is_said_apart() -> None:
    away, mute = version_skews(with_lost(running({"fra-n1": ""}), "ams-n1"))
    assert (away.machines, mute.machines) == (("ams-n1",), ("fra-n1",))
    assert "the agent, or the controllers, are of an older release" in mute.why
