"""What is done to a running lab, on stand-ins for its machines and wires."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import Mock

import pytest

from pltfrms.errors import UnavailableError
from pltfrms.lab.capsule import operations
from pltfrms.lab.capsule.operations import LabOperations
from pltfrms.lab.parts import MachineParts, Refit, WiredMachine
from tests.lab.labs import PARTS, WIRING


@dataclass
class _Machines:
    """Two that have power; `broken` are those that cannot be changed or booted."""

    pids: dict[str, int] = field(default_factory=lambda: {"fra-n1": 1, "fra-n2": 2})
    off: frozenset[str] = frozenset()
    done: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    def refit(self, name: str, _refit: Refit) -> None:
        if name in self.broken:
            raise UnavailableError("gobgpd does not start")
        self.done.append(f"{name} is changed")

    def power_on(self, names: Iterable[str]) -> None:
        self.pids |= dict.fromkeys(names, 9)

    def power_off(self, name: str) -> None:
        self.done.append(f"{name} is switched off")
        del self.pids[name]

    def boot(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self.broken:
                raise UnavailableError(f"{name} does not boot")
            self.done.append(f"{name} is booted")

    def dying(self, _names: Iterable[str]) -> bool:
        return False

    def __getattr__(self, _name: str) -> Any:
        return Mock()

    def take_done(self) -> list[str]:
        done, self.done = self.done, []
        return done


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> _Machines:
    made = _Machines()
    monkeypatch.setattr(operations, "Machines", lambda *_: made)
    monkeypatch.setattr(operations, "WireRoom", Mock())
    monkeypatch.setattr(operations, "choose_shaper", Mock())
    return made


_CHANGED = [replace(each, files=(("/etc/x", "y"),)) for each in PARTS.machines[:2]]
LARGER = replace(
    PARTS,
    wiring=replace(WIRING, machines=(*WIRING.machines, WiredMachine(name="new", role="node"))),
    machines=(*_CHANGED, *PARTS.machines[2:], MachineParts(name="new")),
)


def test_a_machine_that_cannot_be_changed_keeps_no_other_from_it(machines: _Machines) -> None:
    lab = LabOperations(PARTS, Mock())
    machines.broken = {"fra-n1"}
    with pytest.raises(UnavailableError, match="fra-n1: gobgpd does not start"):
        asyncio.run(lab.rewire(LARGER))
    assert machines.take_done() == ["fra-n2 is changed", "new is booted"]


def test_what_failed_is_done_when_it_is_asked_again_and_nothing_else(
    machines: _Machines,
) -> None:
    lab = LabOperations(PARTS, Mock())
    machines.broken = {"fra-n1"}
    for _ in range(2):
        with pytest.raises(UnavailableError, match="fra-n1"):
            asyncio.run(lab.rewire(LARGER))
    assert machines.take_done() == ["fra-n2 is changed", "new is booted"]
    machines.broken = set()
    asyncio.run(lab.rewire(LARGER))
    assert machines.take_done() == ["fra-n1 is changed"]
    (said,) = asyncio.run(lab.rewire(LARGER))
    assert machines.take_done() == []
    assert said.startswith("no machine and no wire changes")


def test_a_machine_that_did_not_boot_begins_again_and_goes_if_it_is_wanted_no_more(
    machines: _Machines,
) -> None:
    lab = LabOperations(PARTS, Mock())
    machines.broken = {"new"}
    for _ in range(2):
        with pytest.raises(UnavailableError, match="new does not boot"):
            asyncio.run(lab.rewire(LARGER))
    both = ["fra-n1 is changed", "fra-n2 is changed"]
    assert machines.take_done() == [*both, "new is switched off", *both]
    asyncio.run(lab.rewire(PARTS))
    assert machines.take_done() == ["new is switched off"]
    assert "new" not in machines.pids
