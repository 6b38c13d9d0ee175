"""Interfaces named after machines: as ever where the name fits, else short and unique."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.interfaces import short_interface
from pltfrms.model.network.lab import lab_interface
from pltfrms.model.network.links import Link


def _towards(far_end: str) -> str:
    return Link(a="edge", b=far_end).interface_at("edge")


@given(st.from_regex(r"[a-z][a-z0-9-]{0,11}", fullmatch=True))
def test_a_name_that_fits_is_as_it_always_was(name: str) -> None:
    assert _towards(name) == f"bb-{name}"
    assert lab_interface(name) == f"to-{name}"


@given(st.from_regex(r"[a-zA-Z0-9.-]{13,40}", fullmatch=True))
def test_a_longer_one_still_fits_and_is_the_same_each_time(name: str) -> None:
    short = _towards(name)
    assert len(short) <= 15
    assert short.startswith("bb-")
    assert short == short_interface(f"bb-{name}")


@pytest.mark.parametrize(
    "far", ["edge{}.fra1.example.net", "Rtr-Frankfurt-{}", "a{}.b.c.d.e.f.g"]
)
def test_the_far_ends_of_one_edge_have_interfaces_of_their_own(far: str) -> None:
    names = [far.format(number) for number in range(1, 250)]
    assert len({_towards(name) for name in names}) == len(names)
