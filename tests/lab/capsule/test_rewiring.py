"""What changes when a lab is to have other machines and wires."""

from dataclasses import replace

import pytest

from pltfrms.lab.capsule.rewiring import Rewiring, as_far_as_done, decide_rewiring
from pltfrms.lab.parts import (
    LabParts,
    MachineParts,
    Port,
    PortKey,
    Refit,
    WiredMachine,
    Wiring,
)
from tests.lab.labs import CABLE, FABRIC, PARTS, WIRING


def with_segment(name: str, *ports: Port, called: str = "") -> Wiring:
    """Return the wiring with other ports of one segment, and perhaps another name of it."""
    return replace(
        WIRING,
        segments=tuple(
            replace(each, ports=ports, name=called or name) if each.name == name else each
            for each in WIRING.segments
        ),
    )


def test_the_same_changes_nothing() -> None:
    nothing = decide_rewiring(PARTS, PARTS)
    assert nothing == Rewiring(gone=(), new=(), pulled=frozenset(), plugged=(), refits={})
    assert nothing.sentence == "no machine and no wire changes"


RENAMED = LabParts(
    wiring=replace(
        with_segment(
            CABLE,
            Port("fra-n1", "x-exit"),
            Port("exit", "to-fra-n1"),
            called="link/fra-n1--exit",
        ),
        machines=(*WIRING.machines[:2], WiredMachine(name="exit", role="transit")),
    ),
    machines=(
        replace(
            PARTS.machines[0],
            network=("link set fab-a up", "link set x-exit up"),
        ),
        PARTS.machines[1],
        MachineParts(name="exit"),
    ),
)


def test_a_machine_that_is_renamed_goes_and_comes_and_others_are_plugged_anew() -> None:
    todo = decide_rewiring(PARTS, RENAMED)
    assert (todo.gone, todo.new) == (("out",), ("exit",))
    assert todo.pulled == {("fra-n1", "x-out")}
    assert [port.key for _, port in todo.plugged] == [("fra-n1", "x-exit")]
    assert todo.refits == {
        "fra-n1": Refit(
            units=PARTS.machines[0].units, ports=("x-exit",), network=("link set x-exit up",)
        )
    }
    assert "out is gone, exit is new" in todo.sentence


@pytest.mark.parametrize(
    ("failed", "new", "plugged"),
    [((), (), []), (("exit",), ("exit",), []), (("fra-n1",), (), [("fra-n1", "x-exit")])],
)
def test_what_failed_is_left_to_do(
    failed: tuple[str, ...], new: tuple[str, ...], plugged: list[PortKey]
) -> None:
    whole = decide_rewiring(PARTS, RENAMED)
    left = decide_rewiring(as_far_as_done(PARTS, RENAMED, failed), RENAMED)
    assert (left.gone, left.new, left.pulled) == ((), new, frozenset())
    assert [port.key for _, port in left.plugged] == plugged
    assert left.refits == {name: whole.refits[name] for name in failed if name in whole.refits}


def test_a_segment_of_another_name_keeps_its_cables_and_one_of_another_size_does_not() -> None:
    same = with_segment(FABRIC, *WIRING.segments[0].ports, called="fabric/fre/a")
    assert decide_rewiring(PARTS, replace(PARTS, wiring=same)).sentence.startswith("no machine")
    larger = replace(
        WIRING, segments=(replace(WIRING.segments[0], mtu=9000), WIRING.segments[1])
    )
    todo = decide_rewiring(PARTS, replace(PARTS, wiring=larger))
    assert todo.pulled == {("fra-n1", "fab-a"), ("fra-n2", "fab-a")}
    assert todo.refits["fra-n2"].network == PARTS.machines[1].network, "its address is gone too"


def test_changed_files_are_taken_by_the_daemon_that_runs() -> None:
    old = replace(
        PARTS.machines[2], files=(("/a", "1"), ("/b", "1")), reload=("birdc", "configure")
    )
    new = replace(old, files=(("/a", "1"), ("/b", "2")), sysctls=(("net/x", "1"),))
    before, after = (replace(PARTS, machines=(*PARTS.machines[:2], one)) for one in (old, new))
    assert decide_rewiring(before, after).refits == {
        "out": Refit(
            units=(),
            files=(("/b", "2"),),
            sysctls=(("net/x", "1"),),
            commands=(("birdc", "configure"),),
        )
    }
