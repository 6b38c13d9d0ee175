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
    """Two that have power; the first cannot be changed."""

    pids: dict[str, int] = field(default_factory=lambda: {"fra-n1": 1, "fra-n2": 2})
    off: frozenset[str] = frozenset()
    done: list[str] = field(default_factory=list)

    def refit(self, name: str, _refit: Refit) -> None:
        if name == "fra-n1":
            raise UnavailableError("gobgpd does not start")
        self.done.append(f"{name} is changed")

    def boot(self, names: Iterable[str]) -> None:
        self.done += [f"{name} is booted" for name in names]

    def dying(self, _names: Iterable[str]) -> bool:
        return False

    def __getattr__(self, _name: str) -> Any:
        return Mock()


def test_a_machine_that_cannot_be_changed_keeps_no_other_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machines = _Machines()
    monkeypatch.setattr(operations, "Machines", lambda *_: machines)
    monkeypatch.setattr(operations, "WireRoom", Mock())
    monkeypatch.setattr(operations, "choose_shaper", Mock())
    new = MachineParts(name="new")
    changed = [replace(each, files=(("/etc/x", "y"),)) for each in PARTS.machines[:2]]
    wiring = replace(WIRING, machines=(*WIRING.machines, WiredMachine(name="new", role="node")))
    parts = replace(PARTS, wiring=wiring, machines=(*changed, *PARTS.machines[2:], new))
    lab = LabOperations(PARTS, Mock())
    with pytest.raises(UnavailableError, match="fra-n1: gobgpd does not start"):
        asyncio.run(lab.rewire(parts))
    assert machines.done == ["fra-n2 is changed", "new is booted"]
