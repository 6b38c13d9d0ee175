"""Can an edge send to everybody outside what is answered in its datacenter? Pure.

Who announces attracts packets, and the answers need a way back. A default route is one,
wherever in the AS it was learned; without any, only a table of the whole internet is.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

from pltfrms.model.addresses import Prefix
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.state import OutsideTable

PLAUSIBLE: Final = {4: 500_000, 6: 100_000}
"""Half of the routes of a full table in 2025: what is smaller leads to a part of the internet
alone, such as the customers of a transit and the members of an exchange."""


def table_floor(platform: Platform, version: int) -> int:
    """Return how many routes an edge needs that has no default route.

    One is enough where all aggregates of the family are reserved for documentation: such a
    platform is a laboratory, and its internet is small.
    """
    guards = platform.guards
    said = guards.table_floor4 if version == 4 else guards.table_floor6  # noqa: PLR2004
    if said is not None:
        return said
    prefixes = [each.prefix for each in platform.aggregates if each.prefix.version == version]
    return 1 if all(prefix.is_private for prefix in prefixes) else PLAUSIBLE[version]


def has_way_back(platform: Platform, table: OutsideTable) -> bool:
    """Return whether what an edge knows of the outside leads to everybody."""
    return table.default or table.routes >= table_floor(platform, table.version)


class WaysBack(StrEnum):
    """How much of the outside an edge can answer in one address family."""

    UNKNOWN = "unknown"
    FULL = "full"
    PART = "part"
    """Too few routes for everybody, and no default route."""
    LOADING = "loading"
    """The same, and more come."""
    NONE = "none"
    """No route to the outside at all."""
    UNHEARD = "unheard"
    """No session with the outside is up: nothing comes that would have to be answered."""


def way_back(platform: Platform, tables: Iterable[OutsideTable], version: int) -> WaysBack:
    """Return how much an edge with these tables can answer; unknown without a table."""
    for table in tables:
        if table.version == version:
            if has_way_back(platform, table):
                return WaysBack.FULL
            return WaysBack.PART if table.routes else WaysBack.NONE
    return WaysBack.UNKNOWN


def lacking(
    platform: Platform, announced: Iterable[Prefix], tables: Iterable[OutsideTable]
) -> Iterator[str]:
    """Yield a sentence for each address family without a way back.

    `announced` is what the edge means to announce, itself or through others of its datacenter.
    """
    families = {prefix.version for prefix in announced}
    for table in tables:
        if table.version in families and not has_way_back(platform, table):
            floor = table_floor(platform, table.version)
            yield (
                f"IPv{table.version} is announced, and the edge has neither a default route nor"
                f" a full table ({table.routes} routes; table_floor is {floor}): clients get no"
                " answers through it"
            )
