"""Whoever announces needs a way back to everybody."""

from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.network.topology import Aggregate, Guards, Platform
from pltfrms.model.running.state import OutsideTable
from pltfrms.planner.routing.way_back import has_way_back, lacking, table_floor
from tests.strategies import make_platform

LABORATORY = make_platform({"fra": 1})
PUBLIC = replace(
    LABORATORY,
    aggregates=(
        Aggregate(prefix=ip_network("45.20.0.0/22")),
        Aggregate(prefix=ip_network("2a00:1::/32")),
    ),
)
FOUR, SIX = (each.prefix for each in PUBLIC.aggregates)


def table(version: int, routes: int, *, default: bool = False) -> OutsideTable:
    return OutsideTable(version=version, default=default, routes=routes)


def said(platform: Platform, announced: set[object], *tables: OutsideTable) -> list[str]:
    return list(lacking(platform, [p for p in (FOUR, SIX) if p in announced], tables))


def test_a_table_of_an_exchange_or_of_customers_is_no_way_back() -> None:
    both = (table(4, 250_000), table(6, 60_000))
    sentences = said(PUBLIC, {FOUR, SIX}, *both)
    assert len(sentences) == 2
    assert sentences[0].startswith("IPv4 is announced, and the edge has neither a default ")
    assert "250000 routes; table_floor is 500000" in sentences[0]
    assert said(PUBLIC, {SIX}, *both) == sentences[1:], "what nobody announces needs none"


def test_a_default_route_or_a_full_table_is_enough() -> None:
    assert not said(PUBLIC, {FOUR, SIX}, table(4, 0, default=True), table(6, 210_000))
    assert not said(PUBLIC, {FOUR, SIX}, table(4, 1_050_000), table(6, 0, default=True))


def test_what_is_not_known_is_not_called_lacking() -> None:
    assert not said(PUBLIC, {FOUR, SIX})


def test_the_internet_of_a_laboratory_is_small_and_may_still_be_gone() -> None:
    assert [table_floor(LABORATORY, version) for version in (4, 6)] == [1, 1]
    assert has_way_back(LABORATORY, table(4, 1))
    assert not has_way_back(LABORATORY, table(4, 0))


def test_the_operator_knows_better_how_large_a_table_is() -> None:
    own = replace(PUBLIC, guards=Guards(table_floor4=900_000, table_floor6=0))
    assert not has_way_back(own, table(4, 899_999))
    assert has_way_back(own, table(6, 0)), "0 is for none"


@given(routes=st.integers(0, 2_000_000), version=st.sampled_from([4, 6]))
def test_more_routes_never_take_a_way_back(routes: int, version: int) -> None:
    if has_way_back(PUBLIC, table(version, routes)):
        assert has_way_back(PUBLIC, table(version, routes + 1))
    assert has_way_back(PUBLIC, table(version, routes, default=True))


@pytest.mark.parametrize("version", [4, 6])
def test_one_public_aggregate_is_enough_for_the_real_internet(version: int) -> None:
    mixed = replace(LABORATORY, aggregates=(*LABORATORY.aggregates, *PUBLIC.aggregates))
    assert table_floor(mixed, version) == table_floor(PUBLIC, version)
