import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.errors import NotFoundError, UsageError
from pltfrms.lab.capsule.faults import (
    Fault,
    TargetKind,
    check_kind,
    decide_conditions,
    decide_grips,
    decide_hung,
    find_target,
    parse_kind,
)
from pltfrms.lab.network.impairment import MILLION, Impairment, PortCondition, PortShape
from pltfrms.lab.parts import PortKey, UnitGrip
from tests.lab.labs import CABLE, CABLE_DELAY_US, FABRIC, PARTS, WIRING

OWN = Impairment(delay_us=CABLE_DELAY_US)
TARGETS = ("node/fra-n1", "machine/out", "datacenter/fra", CABLE, FABRIC)
KINDS = ("cut", "silent", "loss=5%", "delay=50ms")


def fault(target: str, kind: str) -> Fault:
    return Fault(find_target(PARTS, target), parse_kind(kind))


def conditions(*faults: Fault, off: tuple[str, ...] = ()) -> dict[PortKey, PortCondition]:
    return decide_conditions(WIRING, faults, off)


@pytest.mark.parametrize("text", ["kill", "hang", "cut", "silent", "loss=5%", "loss=0.1%"])
def test_a_kind_reads_as_it_is_written(text: str) -> None:
    assert str(parse_kind(text)) == text


def test_amounts_have_units() -> None:
    assert parse_kind("delay=1.5ms").impairment == Impairment(delay_us=1_500)
    assert parse_kind("delay=2s").impairment == Impairment(delay_us=2_000_000)
    for text in ("delay=50", "loss=5", "loss=0%", "loss=101%", "cut=1", "explode", ""):
        with pytest.raises(UsageError):
            parse_kind(text)


def test_a_target_has_one_name_however_it_is_written() -> None:
    assert find_target(PARTS, "machine/fra-n1").name == "node/fra-n1"
    assert find_target(PARTS, "link/out--fra-n1").name == CABLE
    assert find_target(PARTS, "instance/web/fra/2").allocation == "web.fra.2-"
    assert find_target(PARTS, "daemon/fra-n1/late").units == (("fra-n1", "late"),)


def test_a_wrong_target_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="did you mean node/fra-n1"):
        find_target(PARTS, "node/fra-m1")
    with pytest.raises(NotFoundError, match="begins with one of: node"):
        find_target(PARTS, "zzz")
    with pytest.raises(NotFoundError):
        find_target(PARTS, "instance/web/nowhere/1")


def test_what_cannot_happen_is_refused_with_what_can() -> None:
    with pytest.raises(UsageError, match="it can: cut, silent, loss, delay"):
        check_kind(find_target(PARTS, CABLE), parse_kind("kill"))
    with pytest.raises(UsageError, match="it can: kill, hang"):
        check_kind(find_target(PARTS, "controllers"), parse_kind("cut"))


def test_without_faults_ports_have_just_their_own_delay() -> None:
    own = conditions()
    assert own["fra-n1", "x-out"] == PortCondition(shape=PortShape(outward=OWN, inward=OWN))
    assert own["out", "to-fra-n1"] == own["fra-n1", "fab-a"] == PortCondition()


def test_a_machine_without_power_takes_carrier_from_cables_only() -> None:
    dead = conditions(off=("fra-n1",))
    assert dead["out", "to-fra-n1"].cut
    assert not dead["fra-n2", "fab-a"].cut


def test_a_cut_machine_takes_carrier_from_both_ends_of_its_cables() -> None:
    cut = conditions(fault("node/fra-n1", "cut"))
    assert cut["fra-n1", "x-out"].cut
    assert cut["fra-n1", "fab-a"].cut
    assert cut["out", "to-fra-n1"].cut
    assert not cut["fra-n2", "fab-a"].cut


def test_a_silent_port_is_silent_alone_and_keeps_carrier() -> None:
    silent = conditions(fault("node/fra-n1", "silent"))
    assert silent["fra-n1", "fab-a"].silent
    assert not silent["out", "to-fra-n1"].silent
    assert not any(condition.cut for condition in silent.values())


def test_a_datacenter_keeps_its_inside() -> None:
    cut = conditions(fault("datacenter/fra", "cut"))
    assert cut["fra-n1", "x-out"].cut
    assert cut["out", "to-fra-n1"].cut
    assert not cut["fra-n1", "fab-a"].cut


def test_loss_crosses_a_segment_once_per_direction() -> None:
    lost = conditions(fault(CABLE, "loss=5%"), fault(FABRIC, "loss=5%"))
    five = Impairment(loss_ppm=50_000)
    assert lost["fra-n1", "x-out"].shape == PortShape(
        outward=OWN.plus(five), inward=OWN.plus(five)
    )
    assert lost["out", "to-fra-n1"].shape.plain
    assert lost["fra-n2", "fab-a"].shape == PortShape(outward=five)


@given(st.lists(st.tuples(st.sampled_from(TARGETS), st.sampled_from(KINDS)), max_size=6))
def test_a_port_is_the_sum_of_its_faults_in_any_order(words: list[tuple[str, str]]) -> None:
    faults = [fault(*pair) for pair in words]
    assert conditions(*faults) == conditions(*reversed(faults))
    alone = [conditions(one) for one in faults]
    for key, condition in conditions(*faults).items():
        assert condition.cut == any(one[key].cut for one in alone)
        assert condition.silent == any(one[key].silent for one in alone)


@given(st.integers(0, MILLION), st.integers(0, MILLION))
def test_loss_never_exceeds_everything(one: int, other: int) -> None:
    both = Impairment(loss_ppm=one).plus(Impairment(loss_ppm=other)).loss_ppm
    assert max(one, other) <= both <= MILLION


def test_killed_is_stronger_than_hung() -> None:
    key = ("fra-n1", "late")
    both = [fault("daemon/fra-n1/late", "kill"), fault("daemon/fra-n1/late", "hang")]
    for faults in (both, both[::-1]):
        assert decide_grips(PARTS, faults)[key] is UnitGrip.HELD
    assert decide_grips(PARTS, both[1:])[key] is UnitGrip.HUNG
    assert decide_grips(PARTS, ())[key] is UnitGrip.FREE


def test_hanging_a_datacenter_hangs_its_machines() -> None:
    assert decide_hung([fault("datacenter/fra", "hang")]) == {"fra-n1", "fra-n2"}
    assert decide_hung([fault("daemon/fra-n1/late", "hang")]) == frozenset()
    assert find_target(PARTS, "datacenter/fra").kind is TargetKind.DATACENTER
