"""What Prometheus may know of the network: sessions, routes, announcements, interventions.

A machine out of contact says nothing: its series end, rather than show what was once.
"""

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from pltfrms.model.interventions import Drain, DrainPhase
from pltfrms.model.state import Contact, MachineStatus, RoutingState, Snapshot
from pltfrms.planner.expiry import ending_overrides


def network_metrics(snapshot: Snapshot, now_ms: int) -> Iterator[Metric]:
    """Yield the metrics of a snapshot at a Unix time."""
    statuses = [
        status
        for name, status in sorted(snapshot.statuses.items())
        if snapshot.contact(name) is Contact.PRESENT
    ]
    yield from _sessions(statuses)
    yield _rejects(statuses)
    yield _aggregates(statuses)
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


def _aggregates(statuses: list[MachineStatus]) -> Metric:
    family = _family(
        "aggregate_announced",
        "Whether an edge announces an aggregate, and why (not).",
        *("machine", "prefix", "reason"),
    )
    for status in statuses:
        for each in status.aggregates:
            labels = [status.machine, each.prefix, each.reason.value]
            family.add_metric(labels, each.announced)
    return family


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
    drains = _family("drains", "Drains by phase.", "phase")
    phases = Counter(_phase(drain, now_ms) for drain in done.drains)
    for phase in (DrainPhase.SHUTDOWN, DrainPhase.WITHDRAWN):
        drains.add_metric([phase.value], phases[phase])
    yield drains
    blackholes = _family("blackholes", "Blackholes that have not ended.")
    blackholes.add_metric([], sum(now_ms < each.until_ms for each in done.blackholes))
    yield blackholes
    overrides = _family(
        "overrides_ending", "Overrides of traffic that end within 7 days, or have.", "state"
    )
    ending = ending_overrides(snapshot.platform, now_ms)
    soon = sum(each.holds(now_ms) for each in ending)
    overrides.add_metric(["soon"], soon)
    overrides.add_metric(["over"], len(ending) - soon)
    yield overrides


def _phase(drain: Drain, now_ms: int) -> DrainPhase:
    due = now_ms - drain.since_ms >= drain.wait_ms
    return DrainPhase.WITHDRAWN if due else DrainPhase.SHUTDOWN


def _family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"pltfrms_{name}", text, labels=labels)
