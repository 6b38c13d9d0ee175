"""Where on Earth something is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A place on Earth, in degrees to the north and to the east."""

    lat: float
    lon: float
