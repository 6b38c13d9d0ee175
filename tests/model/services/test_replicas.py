"""How many replicas each datacenter is to have: by its name, everywhere, or spread over all."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.errors import UsageError
from pltfrms.model.network.topology import Platform
from pltfrms.model.services.replicas import (
    replicas_of,
    replicas_text,
    room_of,
    scaled,
    sizes_of,
)
from pltfrms.model.services.service import ServiceSpec
from tests.strategies import MIB, make_platform, make_spec

THREE = make_platform({"fra": 3, "ams": 3, "lon": 3})


def total(
    number: int, *, most: int = 10, cpu: float = 0.2, only: tuple[str, ...] = ()
) -> ServiceSpec:
    spec = make_spec(cpu=cpu, max_per_node=most)
    return replace(spec, per_datacenter=0, total=number, datacenters=only)


def test_what_is_said_of_a_datacenter_counts_there_and_the_rest_everywhere_else() -> None:
    everywhere = replace(make_spec(replicas=2), datacenters=("ams", "fra", "gone"))
    assert replicas_of(THREE, everywhere) == {"fra": 2, "ams": 2}
    named = replace(make_spec(replicas=0), counts=(("ams", 2), ("fra", 4), ("gone", 1)))
    assert replicas_of(THREE, named) == {"fra": 4, "ams": 2}
    both = replace(make_spec(replicas=1), counts=(("ams", 2),))
    assert replicas_of(THREE, both) == {"fra": 1, "ams": 2, "lon": 1}


def test_a_total_is_spread_evenly_and_smaller_ids_have_one_more() -> None:
    assert replicas_of(THREE, total(7)) == {"fra": 3, "ams": 2, "lon": 2}
    assert replicas_of(THREE, total(2)) == {"fra": 1, "ams": 1, "lon": 0}
    assert replicas_of(THREE, total(5, only=("lon", "ams"))) == {"ams": 3, "lon": 2}


def test_a_small_datacenter_has_no_more_than_its_nodes_have_room_for() -> None:
    platform = make_platform({"fra": 4, "ams": 1, "pop": 0}, cpu=1.0)
    assert replicas_of(platform, total(7, most=2)) == {"fra": 5, "ams": 2}
    by_cpu = replicas_of(platform, total(6, cpu=0.5))
    assert by_cpu == {"fra": 4, "ams": 2}, "two halves fit on one core"
    heavy = replace(total(4), run=replace(total(4).run, memory_bytes=5000 * MIB))
    assert replicas_of(platform, heavy) == {"fra": 3, "ams": 1}


def test_what_fits_nowhere_is_wanted_all_the_same() -> None:
    platform = make_platform({"fra": 2, "ams": 1})
    assert replicas_of(platform, total(6, most=1)) == {"fra": 4, "ams": 2}


def test_it_reads_well() -> None:
    named = make_spec()
    said = replicas_text(named, {"fra": 2, "ams": 2})
    assert said == "2 replicas wanted in each of fra, ams"
    said = replicas_text(named, {"fra": 4, "ams": 2, "lon": 0})
    assert said == "6 replicas wanted, 4 in fra, 2 in ams"
    said = replicas_text(total(2), {"fra": 1, "ams": 1, "lon": 0})
    assert said == "2 replicas wanted, 1 in fra, 1 in ams"
    assert replicas_text(named, {}) == "0 replicas wanted, in no datacenter"


PLATFORMS = st.dictionaries(
    st.sampled_from(["ams", "fra", "lon", "par", "vie"]), st.integers(0, 5), min_size=1
).map(lambda nodes: make_platform(nodes, cpu=1.0))


@given(PLATFORMS, st.integers(1, 60), st.integers(1, 6), st.sampled_from([0.1, 0.3, 0.5]))
def test_shares_of_a_total_are_even_within_the_room_there_is(
    platform: Platform, number: int, most: int, cpu: float
) -> None:
    spec = total(number, most=most, cpu=cpu)
    sizes = sizes_of(platform)
    shares = replicas_of(platform, spec)
    assert set(shares) == set(sizes)
    if not shares:
        return
    assert sum(shares.values()) == number
    rooms = {name: room_of(platform, spec, sizes[name]) for name in shares}
    if number >= sum(rooms.values()):
        assert all(shares[name] >= rooms[name] for name in shares)
        return
    assert all(shares[name] <= rooms[name] for name in shares)
    ids = {each.name: each.id for each in platform.datacenters}
    for low in shares:
        for high in shares:
            if shares[low] < rooms[low]:
                ahead = shares[high] - shares[low]
                assert ahead < 1 or (ahead == 1 and ids[high] < ids[low])


@given(PLATFORMS, st.integers(1, 60))
def test_shares_do_not_depend_on_the_order_in_which_things_are_written(
    platform: Platform, number: int
) -> None:
    turned = replace(
        platform,
        datacenters=platform.datacenters[::-1],
        machines=platform.machines[::-1],
    )
    assert replicas_of(turned, total(number)) == replicas_of(platform, total(number))


def test_a_scaled_spec_says_the_number_where_it_is_to_be_and_nothing_else_changes() -> None:
    everywhere = replace(make_spec(replicas=2), datacenters=("ams", "fra"))
    named = replace(make_spec(replicas=0), counts=(("ams", 2), ("fra", 4)))
    both = replace(make_spec(replicas=1), counts=(("ams", 2),))
    for spec in (everywhere, named, both):
        before = replicas_of(THREE, spec)
        assert replicas_of(THREE, scaled(THREE, spec, 3)) == dict.fromkeys(before, 3)
        one = scaled(THREE, spec, 3, ("fra",))
        assert replicas_of(THREE, one) == {**before, "fra": 3}
        for after in (one, scaled(THREE, spec, 3)):
            assert not (after.counts and after.datacenters), "no file may say both"
            assert (
                replace(
                    after,
                    counts=spec.counts,
                    datacenters=spec.datacenters,
                    per_datacenter=spec.per_datacenter,
                )
                == spec
            )
    assert scaled(THREE, everywhere, 2) == everywhere
    assert scaled(THREE, total(7), 9) == total(9)


def test_what_cannot_be_scaled_is_said() -> None:
    with pytest.raises(UsageError, match="does not run in lon; it runs in: fra, ams"):
        scaled(THREE, replace(make_spec(), datacenters=("ams", "fra")), 3, ("fra", "lon"))
    with pytest.raises(UsageError, match="a total that is spread"):
        scaled(THREE, total(7), 3, ("fra",))
