"""Where on Earth a datacenter is: as its platform says, else where its city is. Pure."""

import unicodedata
from collections.abc import Mapping
from typing import Final

from pltfrms.model.network.location import Location
from pltfrms.model.network.topology import Datacenter

_CITIES: Final[Mapping[str, Location]] = {
    "amsterdam": Location(lat=52.37, lon=4.90),
    "ashburn": Location(lat=39.04, lon=-77.49),
    "athens": Location(lat=37.98, lon=23.73),
    "atlanta": Location(lat=33.75, lon=-84.39),
    "auckland": Location(lat=-36.85, lon=174.76),
    "barcelona": Location(lat=41.39, lon=2.17),
    "berlin": Location(lat=52.52, lon=13.40),
    "bogota": Location(lat=4.71, lon=-74.07),
    "brussels": Location(lat=50.85, lon=4.35),
    "bucharest": Location(lat=44.43, lon=26.10),
    "budapest": Location(lat=47.50, lon=19.04),
    "buenos aires": Location(lat=-34.60, lon=-58.38),
    "cape town": Location(lat=-33.92, lon=18.42),
    "chennai": Location(lat=13.08, lon=80.27),
    "chicago": Location(lat=41.88, lon=-87.63),
    "copenhagen": Location(lat=55.68, lon=12.57),
    "dallas": Location(lat=32.78, lon=-96.80),
    "denver": Location(lat=39.74, lon=-104.99),
    "dubai": Location(lat=25.20, lon=55.27),
    "dublin": Location(lat=53.35, lon=-6.26),
    "dusseldorf": Location(lat=51.23, lon=6.78),
    "frankfurt": Location(lat=50.11, lon=8.68),
    "geneva": Location(lat=46.20, lon=6.14),
    "hamburg": Location(lat=53.55, lon=9.99),
    "helsinki": Location(lat=60.17, lon=24.94),
    "hong kong": Location(lat=22.32, lon=114.17),
    "istanbul": Location(lat=41.01, lon=28.98),
    "jakarta": Location(lat=-6.21, lon=106.85),
    "johannesburg": Location(lat=-26.20, lon=28.05),
    "kyiv": Location(lat=50.45, lon=30.52),
    "lagos": Location(lat=6.52, lon=3.38),
    "lisbon": Location(lat=38.72, lon=-9.14),
    "london": Location(lat=51.51, lon=-0.13),
    "los angeles": Location(lat=34.05, lon=-118.24),
    "luxembourg": Location(lat=49.61, lon=6.13),
    "madrid": Location(lat=40.42, lon=-3.70),
    "manchester": Location(lat=53.48, lon=-2.24),
    "marseille": Location(lat=43.30, lon=5.37),
    "melbourne": Location(lat=-37.81, lon=144.96),
    "mexico city": Location(lat=19.43, lon=-99.13),
    "miami": Location(lat=25.76, lon=-80.19),
    "milan": Location(lat=45.46, lon=9.19),
    "montreal": Location(lat=45.50, lon=-73.57),
    "mumbai": Location(lat=19.08, lon=72.88),
    "munich": Location(lat=48.14, lon=11.58),
    "nairobi": Location(lat=-1.29, lon=36.82),
    "new york": Location(lat=40.71, lon=-74.01),
    "osaka": Location(lat=34.69, lon=135.50),
    "oslo": Location(lat=59.91, lon=10.75),
    "paris": Location(lat=48.86, lon=2.35),
    "prague": Location(lat=50.08, lon=14.44),
    "riga": Location(lat=56.95, lon=24.11),
    "rome": Location(lat=41.90, lon=12.50),
    "rotterdam": Location(lat=51.92, lon=4.48),
    "san jose": Location(lat=37.34, lon=-121.89),
    "santiago": Location(lat=-33.45, lon=-70.67),
    "sao paulo": Location(lat=-23.55, lon=-46.63),
    "seattle": Location(lat=47.61, lon=-122.33),
    "seoul": Location(lat=37.57, lon=126.98),
    "singapore": Location(lat=1.35, lon=103.82),
    "sofia": Location(lat=42.70, lon=23.32),
    "stockholm": Location(lat=59.33, lon=18.07),
    "sydney": Location(lat=-33.87, lon=151.21),
    "taipei": Location(lat=25.03, lon=121.57),
    "tallinn": Location(lat=59.44, lon=24.75),
    "tokyo": Location(lat=35.68, lon=139.69),
    "toronto": Location(lat=43.65, lon=-79.38),
    "vancouver": Location(lat=49.28, lon=-123.12),
    "vienna": Location(lat=48.21, lon=16.37),
    "vilnius": Location(lat=54.69, lon=25.28),
    "warsaw": Location(lat=52.23, lon=21.01),
    "zagreb": Location(lat=45.81, lon=15.98),
    "zurich": Location(lat=47.38, lon=8.54),
}
"""Cities with many datacenters, to a hundredth of a degree."""


def location_of(datacenter: Datacenter) -> Location | None:
    """Return where it is; None: it does not say, and its city is not known here."""
    if datacenter.location:
        return datacenter.location
    plain = unicodedata.normalize("NFKD", datacenter.city).encode("ascii", "ignore").decode()
    return _CITIES.get(plain.strip().lower())
