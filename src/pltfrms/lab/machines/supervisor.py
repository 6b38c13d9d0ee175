"""Keep the units of one machine running: start, restart with back-off, hold, hang.

Knows no clock and no system call: both are parameters, so tests need no processes.
"""

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pltfrms.lab.parts import Unit, UnitGrip, UnitState

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 2.0
_SETTLED_SECONDS = 10.0
"""A unit that ran this long starts again with the shortest pause."""
_LOOK_SECONDS = 0.05
"""How often we look for the file that a unit waits for."""


@dataclass(slots=True)
class _Slot:
    unit: Unit
    grip: UnitGrip = UnitGrip.FREE
    pid: int = 0
    started_at: float = 0.0
    next_start_at: float = 0.0
    pause_seconds: float = FIRST_PAUSE_SECONDS
    waiting: bool = False


class Supervisor:
    """The units of one machine."""

    def __init__(
        self,
        units: Sequence[Unit],
        *,
        start: Callable[[Unit], int],
        kill: Callable[[int, int], None],
        exists: Callable[[str], bool],
    ) -> None:
        """Use `start` (returns a pid), `kill` (pid, signal) and `exists` (path) for effects."""
        self._slots = {unit.name: _Slot(unit) for unit in units}
        self._start = start
        self._kill = kill
        self._exists = exists

    def tick(self, now: float) -> None:
        """Start every unit that is due at `now` (seconds)."""
        for slot in self._slots.values():
            if slot.pid or slot.grip is UnitGrip.HELD or now < slot.next_start_at:
                continue
            slot.waiting = bool(slot.unit.needs) and not self._exists(slot.unit.needs)
            if slot.waiting:
                slot.next_start_at = now + _LOOK_SECONDS
                continue
            slot.pid = self._start(slot.unit)
            slot.started_at = now
            if slot.grip is UnitGrip.HUNG:
                self._kill(slot.pid, signal.SIGSTOP)

    def reaped(self, pid: int, now: float) -> None:
        """Note that a process has ended; other processes than units are ignored."""
        for slot in self._slots.values():
            if slot.pid != pid:
                continue
            slot.pid = 0
            if now - slot.started_at >= _SETTLED_SECONDS:
                slot.pause_seconds = FIRST_PAUSE_SECONDS
            slot.next_start_at = now + slot.pause_seconds
            slot.pause_seconds = min(2 * slot.pause_seconds, LONGEST_PAUSE_SECONDS)

    def refit(self, units: Sequence[Unit]) -> None:
        """Run these from now on: end the others; a unit that is changed begins anew."""
        for name, slot in list(self._slots.items()):
            if slot.unit not in units:
                if slot.pid:
                    self._kill(slot.pid, signal.SIGKILL)
                del self._slots[name]
        for unit in units:
            self._slots.setdefault(unit.name, _Slot(unit))

    def grip(self, name: str, grip: UnitGrip) -> None:
        """Do to a unit what a fault asks; KeyError if there is no such unit."""
        slot = self._slots[name]
        before, slot.grip = slot.grip, grip
        if slot.pid and grip is not before:
            if grip is UnitGrip.HELD:
                self._kill(slot.pid, signal.SIGKILL)
            else:
                stopped = grip is UnitGrip.HUNG
                self._kill(slot.pid, signal.SIGSTOP if stopped else signal.SIGCONT)
        if before is UnitGrip.HELD:
            slot.next_start_at = 0.0
            slot.pause_seconds = FIRST_PAUSE_SECONDS

    def grip_again(self) -> None:
        """Stop hung units once more, after the whole machine was woken."""
        for slot in self._slots.values():
            if slot.pid and slot.grip is UnitGrip.HUNG:
                self._kill(slot.pid, signal.SIGSTOP)

    def due_in(self, now: float) -> float | None:
        """Return the seconds until `tick` has something to do; None if nothing is due."""
        times = [
            slot.next_start_at
            for slot in self._slots.values()
            if not slot.pid and slot.grip is not UnitGrip.HELD
        ]
        return max(0.0, min(times) - now) if times else None

    def states(self) -> dict[str, UnitState]:
        """Return how each unit is."""
        return {name: _state(slot) for name, slot in self._slots.items()}


def _state(slot: _Slot) -> UnitState:
    if slot.grip is UnitGrip.HELD:
        return UnitState.KILLED
    if slot.pid:
        return UnitState.HUNG if slot.grip is UnitGrip.HUNG else UnitState.RUNNING
    return UnitState.WAITING if slot.waiting else UnitState.RESTARTING
