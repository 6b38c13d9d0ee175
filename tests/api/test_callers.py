"""Who is somebody to a controller."""

from pltfrms.api.bounds.callers import Caller, CallerKind, Callers
from tests.strategies import make_platform

PLATFORM = make_platform({"fra": 3, "ams": 2})
CALLERS = Callers(lambda: PLATFORM)


def behind(address: object) -> Caller:
    return CALLERS.behind((str(address), 1))


def test_all_instances_of_a_service_are_one_and_none_of_them_is_another() -> None:
    nodes = [PLATFORM.machine(name) for name in ("fra-n1", "fra-n2", "ams-n1")]
    for service in (1, 7, 0xFFFF):
        who = {
            behind(PLATFORM.instance6(node, service, slot))
            for node in nodes
            for slot in (1, 900)
        }
        assert who == {Caller(CallerKind.STRANGER, f"instances of service {service}")}


def test_machines_and_others_are_who_they_were() -> None:
    machine = PLATFORM.machine("ams-n1")
    assert behind(PLATFORM.loopback6(machine)) == Caller(CallerKind.MACHINE, "ams-n1")
    assert behind("2001:db8:bad::1") == behind("2001:db8:bad::2")
    assert behind("2001:db8:bad::1") != behind("2001:db8:bad:1::1")
