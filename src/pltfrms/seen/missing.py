"""Who is not heard by its neighbours any more, before its heartbeat is late. Pure.

A session that BFD watches ends within a second of a machine's death; a lease lives for longer.
What neighbours say alone judges nobody: until its heartbeat is late, too, a machine is not
known to live. A datacenter is not known when nothing comes back over any link to it: who is cut
off serves its clients, and cannot say so.
"""

from collections import defaultdict
from collections.abc import Mapping

from pltfrms.model.network.topology import Platform, Role
from pltfrms.model.running.state import Contact, MachineStatus, SessionStatus, Snapshot

_EDGE = "edge."
_WITNESSES_MIN = 2
"""One alone may be the one that is cut off."""


def missing_machines(
    platform: Platform, present: Mapping[str, MachineStatus]
) -> dict[str, str]:
    """Return why machines are rather not there, by name, whether they are in contact or not.

    `present` are the statuses of machines in contact: all of them that had, or should have, a
    session with the machine in a fabric that they share say that there is none.
    """
    said: defaultdict[str, dict[str, bool]] = defaultdict(dict)
    for name, status in present.items():
        for session in status.sessions:
            told = edge_and_fabric(session)
            if told:
                edge, _ = told
                said[edge][name] = said[edge].get(name, False) or session.up
    for site in platform.datacenters:
        telling = [
            (edge.name, frozenset(missed))
            for edge in platform.machines_of(Role.EDGE, site.name)
            if edge.name in present and (missed := present[edge.name].missed) is not None
        ]
        for node in platform.machines_of(Role.NODE, site.name) if telling else ():
            said[node.name] |= {
                edge: node.name not in missed
                for edge, missed in telling
                if edge != node.name  # what a dead one said last would be that it lives
            }
    return {
        name: f"none of {len(witnesses)} machines that should hear it does"
        for name, witnesses in said.items()
        if len(witnesses) >= _WITNESSES_MIN and not any(witnesses.values())
    }


def edge_and_fabric(session: SessionStatus) -> tuple[str, str] | None:
    """Return of which edge a session (`edge.fra-e1.a`) tells, over which fabric; None: of none.

    Those between edges (`edge.fra-e1`) end long after the other end, so they tell of none.
    """
    if not session.name.startswith(_EDGE) or not session.known:
        return None
    edge, _, fabric = session.name.removeprefix(_EDGE).rpartition(".")
    return (edge, fabric) if edge else None


def silent_datacenters(
    snapshot: Snapshot, present: Mapping[str, MachineStatus]
) -> dict[str, str]:
    """Return why nobody hears anything of datacenters, by name.

    However long that lasts, nobody knows whether they serve: none of their machines is bad.
    """
    said: defaultdict[str, list[bool]] = defaultdict(list)
    for machine in snapshot.platform.managed:
        there = snapshot.contact(machine.name) is Contact.PRESENT
        said[machine.datacenter].append(there)
    silent = {
        name: f"none of its {len(machines)} machines is in contact"
        for name, machines in said.items()
        if not any(machines)
    }
    return silent | cut_off(snapshot.platform, present)


def cut_off(platform: Platform, present: Mapping[str, MachineStatus]) -> dict[str, str]:
    """Return why datacenters are not heard from outside, by name.

    All links to one that somebody outside tells of carry nothing, and there are some. Where
    others manage an edge, there may be ways of which we know nothing.
    """
    said: defaultdict[str, list[bool]] = defaultdict(list)
    home = {edge.name: edge.datacenter for edge in platform.machines_of(Role.EDGE)}
    elsewise = {each.datacenter for each in platform.machines if each.external}
    for link in platform.links:
        for near, far in ((link.a, link.b), (link.b, link.a)):
            if home.get(near) == home.get(far) or near not in present:
                continue
            word = present[near].links.get(link.name)
            if word and far in home:
                said[home[far]].append(word.up)
    return {
        datacenter: f"nothing comes back over any link to {datacenter}"
        for datacenter, ups in said.items()
        if not any(ups) and datacenter not in elsewise
    }
