"""The machines of a lab, as the daemon handles them: power, units, signals."""

import os
import signal
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from pltfrms.codec import encode
from pltfrms.lab.parts import LabParts, Refit, UnitGrip, UnitState
from pltfrms.lab.processes.channel import Channel, GoneError


@dataclass(slots=True)
class _Powered:
    pid: int
    channel: Channel
    grips: dict[str, UnitGrip] = field(default_factory=dict)
    hung: bool = False


class Machines:
    """All machines; those that are not powered have no process at all."""

    def __init__(self, parts: LabParts, root: Channel) -> None:
        """`root` is the channel to the capsule's root process, which forks machines."""
        self._parts = parts
        self._root = root
        self._powered: dict[str, _Powered] = {}
        self._dying: dict[int, str] = {}

    @property
    def pids(self) -> dict[str, int]:
        """Process 1 of every powered machine, as the capsule counts."""
        return {name: machine.pid for name, machine in self._powered.items()}

    @property
    def off(self) -> frozenset[str]:
        """The machines without power."""
        names = (machine.name for machine in self._parts.wiring.machines)
        return frozenset(names) - self._powered.keys()

    def power_on(self, names: Iterable[str]) -> None:
        """Give machines power: afterwards their namespaces exist and can be wired.

        Raises:
            UnavailableError: a machine did not come up; `lab.log` says why.
        """
        names = tuple(names)
        for name in names:
            ours, theirs = Channel.pair()
            question = {"do": "machine", "name": name}
            pid = self._root.ask(question, [theirs.fileno()])["pid"]
            theirs.close()
            ours.other = f"process 1 of {name} (pid {pid} in the lab)"
            self._powered[name] = _Powered(pid, ours)
            ours.put({"do": "status"})
        for name in names:
            self._powered[name].channel.answer()

    def boot(self, names: Iterable[str]) -> None:
        """Let powered and wired machines set up their network and start their units.

        Raises:
            UnavailableError: a machine says why it cannot.
        """
        names = tuple(names)
        for name in names:
            self._powered[name].channel.put({"do": "boot"})
        for name in names:
            self._powered[name].channel.answer()

    def rewire(self, parts: LabParts) -> None:
        """Take other parts: of machines that are given power from now on."""
        self._parts = parts

    def refit(self, name: str, refit: Refit) -> None:
        """Change a machine that has power.

        Raises:
            UnavailableError: it says why it cannot.
        """
        self._powered[name].channel.ask({"do": "refit", "refit": encode(refit).decode()})

    def power_off(self, name: str) -> None:
        """Take a machine's power: every process in it ends at once."""
        machine = self._powered.pop(name, None)
        if machine is not None:
            self._dying[machine.pid] = name
            with suppress(ProcessLookupError):
                os.kill(machine.pid, signal.SIGKILL)
            machine.channel.close()

    def ended(self, pid: int) -> str:
        """Note that a process has ended; return the machine whose first process it was.

        Empty if it was no machine's. Call it for every end that the root reports.
        """
        if pid in self._dying:
            return self._dying.pop(pid)
        for name, machine in self._powered.items():
            if machine.pid == pid:
                machine.channel.close()
                del self._powered[name]
                return name
        return ""

    def dying(self, names: Iterable[str]) -> bool:
        """Whether one of these machines lost power and still has processes."""
        return not set(names).isdisjoint(self._dying.values())

    def settle(self, grips: Mapping[tuple[str, str], UnitGrip], hung: Collection[str]) -> None:
        """Make units and machines as faults say."""
        for name, machine in self._powered.items():
            wanted = {unit: grip for (owner, unit), grip in grips.items() if owner == name}
            with suppress(GoneError):  # the root will report its end
                _settle(machine, wanted, hung=name in hung)

    def signal(self, name: str, pids: Iterable[int], number: int) -> None:
        """Send a signal to processes of a machine, by the pids that the machine counts."""
        question = {"do": "signal", "pids": list(pids), "signal": number}
        self._powered[name].channel.ask(question)

    def unit_states(self) -> dict[str, dict[str, UnitState]]:
        """Return how the units of every powered machine are."""
        states: dict[str, dict[str, UnitState]] = {}
        for machine in self._powered.values():
            with suppress(GoneError):  # `answer` will say it once more
                machine.channel.put({"do": "status"})
        for name, machine in self._powered.items():
            with suppress(GoneError):
                said = machine.channel.answer()["units"]
                states[name] = {unit: UnitState(state) for unit, state in said.items()}
        return states


def _settle(machine: _Powered, grips: dict[str, UnitGrip], *, hung: bool) -> None:
    for unit, grip in grips.items():
        if machine.grips.get(unit, UnitGrip.FREE) is not grip:
            machine.channel.ask({"do": "grip", "unit": unit, "grip": grip})
    machine.grips = grips
    if machine.hung != hung:
        machine.channel.ask({"do": "stop everything" if hung else "wake everything"})
        machine.hung = hung
