"""What Prometheus may know of the network: sessions, routes, announcements, interventions.

A machine out of contact says nothing: its series end, rather than show what was once.
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from pltfrms.model.network.interventions import DrainPhase
from pltfrms.model.network.topology import Platform
from pltfrms.model.running.state import Contact, MachineStatus, RoutingState, Snapshot
from pltfrms.planner.routing.expiry import ending_overrides
from pltfrms.planner.routing.visibility import present_statuses, visibility
from pltfrms.planner.routing.way_back import has_way_back


def network_metrics(snapshot: Snapshot, now_ms: int) -> Iterator[Metric]:
    """Yield the metrics of a snapshot at a Unix time."""
    statuses = [
        status
        for name, status in sorted(snapshot.statuses.items())
        if snapshot.contact(name) is Contact.PRESENT
    ]
    yield from _sessions(statuses)
    yield _rejects(statuses)
    yield from _aggregates(statuses)
    yield from _links(statuses)
    yield _clocks(statuses)
    yield from _ways_back(snapshot.platform, statuses)
    yield from _visibility(snapshot, now_ms)
    yield _routing(statuses)
    yield from _interventions(snapshot, now_ms)


def _sessions(statuses: list[MachineStatus]) -> Iterator[Metric]:
    up = _family("session_up", "Whether a BGP session is up.", "machine", "session")
    routes = _family(
        "session_routes",
        "Routes accepted, announced and refused on a BGP session.",
        *("machine", "session", "direction"),
    )
    for status in statuses:
        for session in status.sessions:
            up.add_metric([status.machine, session.name], session.up)
            for direction, count in (
                ("imported", session.imported),
                ("exported", session.exported),
                ("filtered", session.filtered),
            ):
                routes.add_metric([status.machine, session.name, direction], count)
    yield up
    yield routes


def _links(statuses: list[MachineStatus]) -> Iterator[Metric]:
    up = _family("link_up", "Whether the other end of a link answers.", "machine", "link")
    rtt = _family("link_rtt_seconds", "Round trip time of a link.", "machine", "link")
    for status in statuses:
        for name, link in sorted(status.links.items()):
            up.add_metric([status.machine, name], link.up)
            if link.rtt_us:
                rtt.add_metric([status.machine, name], link.rtt_us / 1e6)
    yield from (up, rtt)


def _clocks(statuses: list[MachineStatus]) -> Metric:
    family = _family(
        "clock_ahead_seconds",
        "How far a machine's clock is ahead of a controller's; 0 within 2 seconds.",
        "machine",
    )
    for status in statuses:
        family.add_metric([status.machine], status.clock_ahead_seconds)
    return family


def _rejects(statuses: list[MachineStatus]) -> Metric:
    family = _family(
        "session_rejects",
        "Routes refused on a session with the outside, by reason.",
        *("machine", "session", "reason"),
    )
    for status in statuses:
        for session in status.sessions:
            for reason, count in sorted(session.rejects.items()):
                family.add_metric([status.machine, session.name, reason], count)
    return family


def _aggregates(statuses: list[MachineStatus]) -> Iterator[Metric]:
    """Yield the value and the reason apart: with another reason it is still the same series."""
    announced = _family(
        "aggregate_announced", "Whether an edge announces an aggregate.", "machine", "prefix"
    )
    reasons = _family(
        "aggregate_announced_info",
        "Why an edge announces an aggregate, or does not; always 1.",
        *("machine", "prefix", "reason"),
    )
    for status in statuses:
        for each in status.aggregates:
            announced.add_metric([status.machine, each.prefix], each.announced)
            reasons.add_metric([status.machine, each.prefix, each.reason.value], 1)
    yield from (announced, reasons)


def _ways_back(platform: Platform, statuses: list[MachineStatus]) -> Iterator[Metric]:
    ways = _family(
        "way_back",
        "Whether an edge has a default route or a full table; 0 is an alarm.",
        *("machine", "family"),
    )
    routes = _family(
        "outside_routes",
        "Routes to the outside that an edge has in use, without a default route.",
        *("machine", "family"),
    )
    for status in statuses:
        for table in status.outside:
            labels = [status.machine, f"ipv{table.version}"]
            ways.add_metric(labels, has_way_back(platform, table))
            routes.add_metric(labels, table.routes)
    yield from (ways, routes)


def _visibility(snapshot: Snapshot, now_ms: int) -> Iterator[Metric]:
    sessions = _family(
        "aggregate_announced_sessions",
        "Sessions with the outside on which an aggregate is announced, as far as is known.",
        "prefix",
    )
    datacenters = _family(
        "aggregate_announced_datacenters", "Datacenters with such a session.", "prefix"
    )
    unknown = _family(
        "aggregate_unknown_sessions", "Sessions of which it is not known.", "prefix"
    )
    statuses = present_statuses(snapshot)
    for each in visibility(snapshot.platform, snapshot.interventions, statuses, now_ms):
        sessions.add_metric([str(each.prefix)], each.sessions)
        datacenters.add_metric([str(each.prefix)], len(each.datacenters))
        unknown.add_metric([str(each.prefix)], each.unknown)
    yield from (sessions, datacenters, unknown)


def _routing(statuses: list[MachineStatus]) -> Metric:
    family = _family(
        "routing_state",
        "1 at the state that a machine's routing configuration is in.",
        *("machine", "state"),
    )
    for status in statuses:
        for state in RoutingState:
            family.add_metric([status.machine, state.value], state is status.routing.state)
    return family


def _interventions(snapshot: Snapshot, now_ms: int) -> Iterator[Metric]:
    done = snapshot.interventions
    frozen = _family("frozen", "Whether an operator has frozen the network.")
    frozen.add_metric([], done.freeze is not None)
    yield frozen
    drains = _family("drains", "Drains by phase; those to come or over are in `none`.", "phase")
    phases = Counter(drain.phase(now_ms) for drain in done.drains if not drain.node)
    for phase in DrainPhase:
        drains.add_metric([phase.value], phases[phase])
    yield drains
    nodes = _family("drained_nodes", "Nodes that are drained.")
    nodes.add_metric([], len(done.drained_nodes(now_ms)))
    yield nodes
    blackholes = _family("blackholes", "Blackholes that have not ended.")
    blackholes.add_metric([], sum(now_ms < each.until_ms for each in done.blackholes))
    yield blackholes
    released = _family("brakes_released", "Datacenters whose mass change brake is released.")
    released.add_metric([], len(done.released(now_ms)))
    yield released
    overrides = _family(
        "overrides_ending", "Overrides of traffic that end within 7 days, or have.", "state"
    )
    ending = ending_overrides(snapshot.platform, now_ms)
    soon = sum(each.holds(now_ms) for each in ending)
    overrides.add_metric(["soon"], soon)
    overrides.add_metric(["over"], len(ending) - soon)
    yield overrides


def _family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"pltfrms_{name}", text, labels=labels)
