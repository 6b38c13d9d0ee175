"""Where datacenters are."""

from dataclasses import replace

import pytest

from pltfrms.model.network.location import Location
from pltfrms.seen.cities import _CITIES, location_of
from tests.cli.world import PLATFORM
from tests.seen.test_picture import WHOLE, of, seen

FRA = PLATFORM.datacenters[0]


@pytest.mark.parametrize("city", ["Frankfurt", " frankfurt ", "FRANKFURT"])
def test_a_known_city_is_where_it_is(city: str) -> None:
    found = location_of(replace(FRA, city=city))
    assert found
    assert (round(found.lat), round(found.lon)) == (50, 9)


@pytest.mark.parametrize("city", ["Zürich", "Düsseldorf", "São Paulo"])
def test_letters_with_marks_are_those_without(city: str) -> None:
    assert location_of(replace(FRA, city=city))


def test_what_is_said_is_more_than_the_city_and_what_is_not_known_is_nowhere() -> None:
    said = Location(lat=-12.5, lon=130.75)
    assert location_of(replace(FRA, city="Frankfurt", location=said)) == said
    assert location_of(replace(FRA, city="Elsewhere")) is None
    assert location_of(replace(FRA, city="")) is None


def test_every_city_is_on_earth() -> None:
    assert all(-90 <= at.lat <= 90 and -180 <= at.lon <= 180 for at in _CITIES.values())
    assert len({(at.lat, at.lon) for at in _CITIES.values()}) == len(_CITIES)


def test_the_picture_has_it() -> None:
    fra = of(seen(WHOLE), "datacenters", "fra")
    assert (fra.lat, fra.lon) == (50.11, 8.68)
