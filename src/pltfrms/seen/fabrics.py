"""Which fabrics carry packets, by the sessions that BFD watches in them. Pure.

A fabric is bad only where its machines hear edges over another one: else it may be that the
edges are dead, of which nothing in a fabric tells.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from pltfrms.model.messages.picture import FabricElement, Seen
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.state import MachineStatus
from pltfrms.seen.missing import edge_and_fabric

_WITNESSES_MIN = _EDGES_MIN = 2
"""Of one alone its own port may be what has failed."""
_NAMED = 3

_Heard = Mapping[str, Mapping[str, frozenset[str]]]
"""By fabric of a datacenter and by machine, the edges that it hears over it."""


def fabric_elements(
    platform: Platform,
    statuses: Mapping[str, MachineStatus],
    present: Mapping[str, MachineStatus],
    silent: Mapping[str, str],
) -> Iterator[FabricElement]:
    """Yield the fabrics of all datacenters; `present` are the statuses of who is in contact.

    Of a `silent` datacenter, by name with why, nothing is known.
    """
    now, last = _heard(platform, present), _heard(platform, statuses)
    for site in platform.datacenters:
        for fabric in site.fabrics:
            state, why = _state(fabric, now.get(site.name, {}))
            if site.name in silent:
                state, why = Seen.UNKNOWN, silent[site.name]
            before, _ = _state(fabric, last.get(site.name, {}))
            known = before if before is not Seen.UNKNOWN else None
            yield FabricElement(
                id=f"{site.name}/{fabric}",
                state=state,
                why=why,
                last=known if state is Seen.UNKNOWN else None,
                datacenter=site.name,
            )


def _heard(platform: Platform, statuses: Mapping[str, MachineStatus]) -> Mapping[str, _Heard]:
    """Return by datacenter what its machines say of its fabrics."""
    found: defaultdict[str, defaultdict[str, dict[str, frozenset[str]]]]
    found = defaultdict(lambda: defaultdict(dict))
    for machine in platform.managed:
        status = statuses.get(machine.name)
        for session in status.sessions if status else ():
            told = edge_and_fabric(session)
            if told:
                edge, fabric = told
                site = found[machine.datacenter]
                before = site[fabric].get(machine.name, frozenset())
                site[fabric][machine.name] = before | {edge} if session.up else before
    return found


def _state(fabric: str, site: _Heard) -> tuple[Seen, str]:
    """Return how a fabric is by what all machines of its datacenter say, and why."""
    mine = site.get(fabric, {})
    if not mine:
        return Seen.UNKNOWN, "no machine says what it hears over it"
    hearing = {name for heard in site.values() for name, edges in heard.items() if edges}
    deaf = sorted(name for name, edges in mine.items() if not edges and name in hearing)
    if any(mine.values()):
        more = f" and {len(deaf) - _NAMED} more" if len(deaf) > _NAMED else ""
        named = f"{', '.join(deaf[:_NAMED])}{more}"
        return Seen.GOOD, f"no edge is heard over it by {named}" if deaf else ""
    if not deaf:
        return Seen.UNKNOWN, "no edge is heard over it, nor over another fabric"
    if len(deaf) < _WITNESSES_MIN:
        return Seen.UNKNOWN, f"no edge is heard over it, over others by {deaf[0]} alone"
    others = frozenset[str]().union(
        *(heard.get(each, ()) for heard in site.values() for each in deaf)
    )
    if len(others) < _EDGES_MIN:
        return Seen.UNKNOWN, f"no edge is heard over it, over others {', '.join(others)} alone"
    return Seen.BAD, f"none of {len(mine)} machines hears an edge over it; over others they do"
