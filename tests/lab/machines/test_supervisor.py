import signal

import pytest

from pltfrms.lab.machines.supervisor import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Supervisor,
)
from pltfrms.lab.parts import Unit, UnitGrip, UnitState


class World:
    """A supervisor of one unit, with its effects noted."""

    def __init__(self, needs: str = "") -> None:
        self.files: set[str] = set()
        self.signals: list[tuple[int, int]] = []
        self.started = 0
        self.now = 0.0
        self.supervisor = Supervisor(
            [Unit(name="bird", command=("bird",), needs=needs)],
            start=self._start,
            kill=lambda pid, number: self.signals.append((pid, number)),
            exists=lambda path: path in self.files,
        )

    def _start(self, _unit: Unit) -> int:
        self.started += 1
        return 100 + self.started

    def tick(self, seconds: float = 0.0) -> UnitState:
        self.now += seconds
        self.supervisor.tick(self.now)
        return self.supervisor.states()["bird"]

    def end(self) -> None:
        self.supervisor.reaped(100 + self.started, self.now)


def test_a_unit_that_ends_is_restarted_after_growing_pauses() -> None:
    world, pauses = World(), []
    for _ in range(6):
        world.tick()
        world.end()
        pause = world.supervisor.due_in(world.now) or 0.0
        pauses.append(pause)
        assert world.tick(pause * 0.9) is UnitState.RESTARTING
        assert world.tick(pause * 0.11) is UnitState.RUNNING
    assert pauses[0] == FIRST_PAUSE_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


def test_a_unit_that_ran_long_is_restarted_soon_again() -> None:
    world = World()
    for _ in range(6):
        world.tick(LONGEST_PAUSE_SECONDS)
        world.end()
    world.tick(LONGEST_PAUSE_SECONDS)
    world.now += 60
    world.end()
    assert world.supervisor.due_in(world.now) == pytest.approx(FIRST_PAUSE_SECONDS)


def test_a_unit_waits_for_the_file_it_needs() -> None:
    world = World(needs="/bird.conf")
    assert world.tick() is UnitState.WAITING
    world.files.add("/bird.conf")
    assert world.tick(world.supervisor.due_in(world.now) or 0) is UnitState.RUNNING


def test_a_held_unit_is_killed_and_stays_down_until_freed() -> None:
    world = World()
    world.tick()
    world.supervisor.grip("bird", UnitGrip.HELD)
    assert world.signals == [(101, signal.SIGKILL)]
    world.end()
    assert world.tick(60) is UnitState.KILLED
    assert world.supervisor.due_in(world.now) is None
    world.supervisor.grip("bird", UnitGrip.FREE)
    assert world.tick() is UnitState.RUNNING


def test_a_hung_unit_is_stopped_and_woken() -> None:
    world = World()
    world.tick()
    world.supervisor.grip("bird", UnitGrip.HUNG)
    assert world.tick() is UnitState.HUNG
    world.supervisor.grip_again()
    world.supervisor.grip("bird", UnitGrip.FREE)
    stop, cont = (101, signal.SIGSTOP), (101, signal.SIGCONT)
    assert world.signals == [stop, stop, cont]


def test_a_hung_unit_that_is_restarted_hangs_again() -> None:
    world = World()
    world.supervisor.grip("bird", UnitGrip.HUNG)
    world.tick()
    assert world.signals == [(101, signal.SIGSTOP)]


def test_the_end_of_an_orphan_changes_nothing() -> None:
    world = World()
    world.tick()
    world.supervisor.reaped(9, world.now)
    assert world.tick() is UnitState.RUNNING


def test_units_that_are_not_wanted_any_more_end_and_new_ones_begin() -> None:
    world = World()
    world.tick()
    agent, bird = (Unit(name=name, command=(name,)) for name in ("agent", "bird"))
    world.supervisor.refit([bird, agent])
    assert world.signals == [], "what stays is left alone"
    world.supervisor.tick(world.now)
    assert world.supervisor.states() == dict.fromkeys(("bird", "agent"), UnitState.RUNNING)
    world.supervisor.refit([agent])
    assert world.signals == [(101, signal.SIGKILL)]
    world.supervisor.reaped(101, world.now)
    assert world.supervisor.states() == {"agent": UnitState.RUNNING}
