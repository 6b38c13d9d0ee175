"""Addresses for life: each is one replica's alone, and no machine's or instance's."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.addresses import contains
from pltfrms.model.running.balancer import as_balanced
from pltfrms.model.services.members import (
    Membership,
    member_of,
    member_pools,
    members_of,
    next_numbers,
)
from pltfrms.model.services.names import names_of
from tests.strategies import make_platform, make_service, make_spec

PLATFORM = make_platform({"fra": 3, "ams": 2})
DB = make_service(make_spec("db"), 7)
COUNTS = st.dictionaries(st.sampled_from(["fra", "ams"]), st.integers(0, 6))


def test_an_address_says_which_replica_of_which_service_it_is() -> None:
    one, other = members_of(PLATFORM, 7, Membership(counts=(("ams", 2),), numbers4=(3, 9)))
    assert (str(one.address4), str(one.address6)) == ("10.2.0.3", "fd00:0:1:1002:0:7:0:1")
    assert (str(other.address4), str(other.address6)) == ("10.2.0.9", "fd00:0:1:1002:0:7:0:2")
    assert other.label == "ams-2"


def test_without_ipv4_or_a_number_there_is_the_other_address_alone() -> None:
    bare = replace(PLATFORM, infrastructure4=None)
    for platform, numbers in ((bare, (1, 2)), (PLATFORM, (1,))):
        member = member_of(platform, 7, numbers, ("fra", 2))
        assert member.address4 is None
        assert [each.version for each in member.prefixes] == [6]


def test_no_machine_and_no_instance_has_an_address_of_theirs() -> None:
    pools = tuple(member_pools(PLATFORM))
    for machine in PLATFORM.machines:
        for address in (PLATFORM.loopback4(machine), PLATFORM.loopback6(machine)):
            assert not any(address in pool for pool in pools if address)
        for pool in (PLATFORM.pool4(machine), PLATFORM.pool6(machine)):
            assert not any(
                contains(each, pool) or contains(pool, each) for each in pools if pool
            )


def test_they_have_names_below_that_of_the_service() -> None:
    balanced = as_balanced(DB, Membership(counts=(("fra", 1),), numbers4=(1,)))
    found = [
        (each.name, [str(address) for address in each.addresses])
        for each in names_of(PLATFORM, [balanced])
    ]
    assert found == [
        ("db.test.internal", ["2001:db8:100::7", "198.51.100.7"]),
        ("fra-1.db.test.internal", ["fd00:0:1:1001:0:7:0:1", "10.1.0.1"]),
    ]


@given(st.lists(COUNTS, min_size=1, max_size=6), st.integers(1, 12))
def test_no_two_replicas_have_one_address_and_each_keeps_its_own(
    wanted: list[dict[str, int]], highest: int
) -> None:
    """Services come one after the other, and the last one grows and shrinks."""
    numbers: list[tuple[int, ...]] = []
    for counts in wanted:
        others = [number for each in numbers for number in each]
        numbers.append(next_numbers((), counts, others, highest))
    others = [number for each in numbers[:-1] for number in each]
    later = next_numbers(numbers[-1], {"fra": 6}, others, highest)
    assert later[: len(numbers[-1])] == numbers[-1]
    assert next_numbers(later, {"fra": 1}, others, highest) == later
    every = [
        address
        for service, some in enumerate([*numbers[:-1], later], start=1)
        for counts in (tuple({"fra": 6, "ams": 6}.items()),)
        for each in members_of(PLATFORM, service, Membership(counts=counts, numbers4=some))
        for address in (each.address4, each.address6)
        if address is not None
    ]
    assert len(every) == len(set(every))
