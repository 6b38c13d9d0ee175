"""What ports and backbone links carry, and services do, as a person wants to see it. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pltfrms.model.network.interventions import Interventions
from pltfrms.model.running.redundancy import Redundancy
from pltfrms.model.running.state import Snapshot
from pltfrms.planner.changes.ways import Intent, Way, links, measured, ports, rate_words


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRow:
    """A port, or a link as seen from the edge that is named first."""

    name: str
    """`transit1@fra-e1`; `fra-e2/x-ixp1` if several sessions share it; `fra-e1--ams-e2`."""
    edge: str
    interface: str
    received_bps: int | None
    sent_bps: int | None
    """None: not known."""
    capacity_mbps: int
    """0: not said."""


def load_rows(snapshot: Snapshot) -> tuple[LoadRow, ...]:
    """Return the ports in spec order, then the links; only where something is known."""
    intent = Intent(platform=snapshot.platform, interventions=Interventions(), at_ms=0)
    seen = measured(snapshot)
    ends = links(intent, seen)
    near = {way.name: way for way in reversed(ends.values())}
    ways = (*ports(intent, seen).values(), *reversed(near.values()))
    return tuple(_row(way) for way in ways if way.load or way.capacity_mbps)


def _row(way: Way) -> LoadRow:
    edge, interface = way.where
    return LoadRow(
        name=way.name,
        edge=edge,
        interface=interface,
        received_bps=way.load.received_bps if way.load else None,
        sent_bps=way.load.sent_bps if way.load else None,
        capacity_mbps=way.capacity_mbps,
    )


def load_words(row: LoadRow | None) -> str:
    """Return `1.2 Gbit/s in, 6.2 Gbit/s out of 10 Gbit/s (62 %)`, or what of it is known."""
    if row is None:
        return "-"
    load = "load not known"
    if row.received_bps is not None and row.sent_bps is not None:
        load = f"{rate_words(row.received_bps)} in, {rate_words(row.sent_bps)} out"
    if not row.capacity_mbps:
        return load
    capacity_bps = row.capacity_mbps * 10**6
    share = ""
    if row.received_bps is not None and row.sent_bps is not None:
        share = f" ({100 * max(row.received_bps, row.sent_bps) // capacity_bps} %)"
    of = "of" if share else "of a capacity of"
    return f"{load} {of} {rate_words(capacity_bps)}{share}"


def service_loads(found: Redundancy | None) -> Mapping[str, Sequence[str]]:
    """Return what each service has to do, in words, also where that is not known."""
    words: defaultdict[str, list[str]] = defaultdict(list)
    for each in found.loads if found else ():
        words[each.service].append(each.words)
    return words
