"""What faults do to units of a machine with systemd, in words."""

from itertools import pairwise

import pytest

from pltfrms.lab.machines.systemd import grip_words, state_of
from pltfrms.lab.parts import UnitGrip, UnitState

FREE, HELD, HUNG = UnitGrip


def verbs(*grips: UnitGrip, name: str = "agent") -> list[str]:
    """Return the verbs of a unit that goes through these, and the signal of a `kill`."""
    found = [words for pair in pairwise((FREE, *grips)) for words in grip_words(name, *pair)]
    return [
        next((word for word in words if word.startswith("--signal=")), words[0])
        for words in found
    ]


@pytest.mark.parametrize(
    ("grips", "asked"),
    [
        ((FREE,), []),
        ((HELD,), ["mask", "--signal=KILL"]),
        ((HELD, FREE), ["mask", "--signal=KILL", "unmask", "reset-failed", "start"]),
        ((HUNG,), ["--signal=STOP"]),
        ((HUNG, FREE), ["--signal=STOP", "--signal=CONT"]),
        ((HUNG, HELD), ["--signal=STOP", "mask", "--signal=KILL"]),
        (
            (HELD, HUNG),
            ["mask", "--signal=KILL", "unmask", "reset-failed", "start", "--signal=STOP"],
        ),
    ],
)
def test_a_grip_is_words_of_systemctl(grips: tuple[UnitGrip, ...], asked: list[str]) -> None:
    assert verbs(*grips) == asked


def test_what_starts_a_unit_and_has_failed_meanwhile_is_started_with_it() -> None:
    *_, start = grip_words("bird", HELD, FREE)
    assert start == ("start", "pltfrms-bird.service", "pltfrms-bird.path")


@pytest.mark.parametrize(
    ("grip", "said", "state"),
    [
        (FREE, "active", UnitState.RUNNING),
        (FREE, "inactive", UnitState.WAITING),
        (FREE, "", UnitState.WAITING),
        (FREE, "activating", UnitState.RESTARTING),
        (FREE, "failed", UnitState.RESTARTING),
        (HELD, "failed", UnitState.KILLED),
        (HUNG, "active", UnitState.HUNG),
        (HUNG, "inactive", UnitState.WAITING),
    ],
)
def test_states_are_told_in_the_words_of_a_lab(
    grip: UnitGrip, said: str, state: UnitState
) -> None:
    assert state_of(grip, said) is state
