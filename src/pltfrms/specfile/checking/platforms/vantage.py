"""What makes no sense in who asks services as their clients do."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from pltfrms.model.network.topology import Platform
from pltfrms.specfile.findings import Finding, check_name, nearest

INTERVALS_MS: Final = (500, 300_000)
"""More often it is a load, and more rarely no evidence."""
_MOST: Final = 1000


def check_vantage(platform: Platform) -> Iterator[Finding]:
    """Yield what is wrong with vantage points and what they are to ask."""
    wanted = platform.vantage
    low, high = INTERVALS_MS
    if not low <= wanted.every_ms <= high:
        yield Finding(("vantage", "interval"), "is outside 500 ms..5 m")
    if not 1 <= wanted.most <= _MOST:
        yield Finding(("vantage", "per_round"), f"is not within 1..{_MOST}")
    datacenters = {each.name for each in platform.datacenters}
    for index, name in enumerate(wanted.datacenters):
        if name not in datacenters:
            where, what = ("vantage", "datacenters", index), f"there is no datacenter {name!r}"
            yield Finding(where, what, nearest(name, datacenters), absent=name)
    for index, name in enumerate(wanted.services):
        yield from check_name(("vantage", "services", index), name)
    yield from _check_outside(platform)


def _check_outside(platform: Platform) -> Iterator[Finding]:
    wanted, datacenters = platform.vantage, {each.name for each in platform.datacenters}
    taken = datacenters | {each.name for each in platform.machines}
    counts = Counter(wanted.outside)
    for index, name in enumerate(wanted.outside):
        where = ("vantage", "outside", index)
        yield from check_name(where, name)
        if name in taken:
            what = f"{name} is a machine or datacenter of ours"
            yield Finding(where, what, "name what is outside otherwise")
        if counts[name] > 1:
            yield Finding(where, f"{name} stands there twice")
