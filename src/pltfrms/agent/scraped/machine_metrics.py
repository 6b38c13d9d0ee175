"""What Prometheus may know of one machine, by its agent. Pure.

Controllers tell of the platform, and of machines in contact; this is told also while no
controller answers. Which machine it is the labels of the target say. The names differ from
those of controllers: nothing is there twice.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pltfrms.agent.scraped.exposition import Family, FamilyKind
from pltfrms.drivers.kernel.counters import ByteCounts
from pltfrms.model.running.balancer import BalancerMode, BalancerView
from pltfrms.model.running.state import MachineStatus, Phase, RoutingState, SessionStatus
from pltfrms.model.running.vantage import ClientVerdict, VantageTally
from pltfrms.planner.vantage.tallying import AskedResult
from pltfrms.planner.vantage.verdicts import verdict_of

_DIRECTIONS: Final = ("received", "sent")
_SESSION: Final = ("session",)
_LINK: Final = ("link",)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentUsage:
    """What the agent itself takes of its machine."""

    cpu_seconds: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VantageFigures:
    """The machine as a vantage point."""

    tallies: tuple[VantageTally, ...] = ()
    results: Mapping[AskedResult, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFigures:
    """All that is told."""

    status: MachineStatus
    began_ms: int
    away_seconds: float
    """Since a controller answered, or the agent began."""
    frozen: bool
    events: int
    """That no controller has heard of."""
    usage: AgentUsage
    traffic: Mapping[str, ByteCounts]
    """By interface."""
    vantage: VantageFigures
    balancer: BalancerView | None = None
    """Without tables; without totals the kernel tells nothing. None: it forwards nothing."""
    certificate_ends_ms: int | None = None
    """None: it has none, or none that can be read."""


def machine_metrics(seen: MachineFigures) -> Iterator[Family]:
    """Yield what is told of a machine; what is not known has no samples."""
    status = seen.status
    yield from _agent(seen)
    yield from _sessions(status.sessions)
    yield _states("agent_routing", "1 at the state of the routing.", status.routing.state)
    yield from _instances(status)
    yield from _traffic(seen.traffic)
    yield from _links(status)
    yield from _outside(status)
    yield from _balancer(seen.balancer)
    yield from _vantage(seen.vantage)


def _agent(seen: MachineFigures) -> Iterator[Family]:
    version = ((seen.status.version,), 1)
    yield _family("agent_info", "Release of the agent; always 1.", ("version",), version)
    ends = seen.certificate_ends_ms
    usage = seen.usage
    for name, text, value in (
        (
            "agent_start_time_seconds",
            "When the agent began, as Unix time.",
            seen.began_ms / 1e3,
        ),
        (
            "agent_away_seconds",
            "For how long no controller has answered the agent.",
            seen.away_seconds,
        ),
        (
            "agent_frozen",
            "Whether no route of the machine changes, because somebody said so.",
            seen.frozen,
        ),
        (
            "agent_target_generation",
            "Generation of the target that the machine follows.",
            seen.status.generation,
        ),
        ("agent_problems", "What the agent could not do.", len(seen.status.problems)),
        ("agent_events", "Events that no controller has heard of yet.", seen.events),
        ("agent_memory_bytes", "Memory that the agent takes.", usage.memory_bytes),
        (
            "agent_clock_ahead_seconds",
            "How far the clock is ahead of a controller's; 0 within 2 seconds.",
            seen.status.clock_ahead_seconds,
        ),
        (
            "agent_certificate_not_after_timestamp_seconds",
            "When the certificate of the machine ends.",
            None if ends is None else ends / 1e3,
        ),
    ):
        yield _family(name, text, (), *([((), float(value))] if value is not None else []))
    yield _count(
        "agent_cpu_seconds", "Processor that the agent took.", (), [((), usage.cpu_seconds)]
    )


def _sessions(sessions: Iterable[SessionStatus]) -> Iterator[Family]:
    sessions = tuple(sessions)
    up = [((each.name,), float(each.up)) for each in sessions]
    yield _family("agent_session_up", "Whether a BGP session is up.", _SESSION, *up)
    routes = [
        ((each.name, direction), float(count))
        for each in sessions
        if each.counted
        for direction, count in (
            ("imported", each.imported),
            ("exported", each.exported),
            ("filtered", each.filtered),
        )
    ]
    yield _family(
        "agent_session_routes",
        "Routes accepted, announced and refused on a BGP session.",
        ("session", "direction"),
        *routes,
    )


def _instances(status: MachineStatus) -> Iterator[Family]:
    phases = Counter({each.value: 0 for each in Phase})
    phases.update(each.phase.value for each in status.instances)
    restarts, failing = Counter[str](), Counter[str]()
    for each in status.instances:
        service = each.allocation.partition(".")[0]
        restarts[service] += each.restarts
        failing[service] += each.phase is Phase.UNHEALTHY
    yield _family("agent_instances", "Instances by phase.", ("phase",), *_counted(phases))
    yield _family(
        "agent_instance_restarts",
        "How often the instances that are here now were started again.",
        ("service",),
        *_counted(restarts),
    )
    yield _family(
        "agent_probes_failing",
        "Instances whose probes fail.",
        ("service",),
        *_counted(failing),
    )


def _traffic(traffic: Mapping[str, ByteCounts]) -> Iterator[Family]:
    labels = ("interface", "direction")
    bytes_, lost = [], []
    for name, counts in sorted(traffic.items()):
        for direction, size, gone in zip(
            _DIRECTIONS,
            (counts.received, counts.sent),
            (counts.received_lost, counts.sent_lost),
            strict=True,
        ):
            bytes_.append(((name, direction), float(size)))
            lost.append(((name, direction), float(gone)))
    yield _count("agent_interface_bytes", "Bytes on a port or backbone link.", labels, bytes_)
    yield _count(
        "agent_interface_lost_packets", "Packets dropped there, or with errors.", labels, lost
    )


def _links(status: MachineStatus) -> Iterator[Family]:
    links = sorted(status.links.items())
    up = [((name,), float(link.up)) for name, link in links]
    yield _family("agent_link_up", "Whether the other end of a link answers.", _LINK, *up)
    rtt = [((name,), link.rtt_us / 1e6) for name, link in links if link.rtt_us]
    yield _family("agent_link_rtt_seconds", "Round trip time of a link.", _LINK, *rtt)
    told = [(name, link.loss_percent) for name, link in links if link.loss_percent is not None]
    loss = [((name,), percent / 100) for name, percent in told]
    yield _family("agent_link_loss_ratio", "Echoes of a link that were lost.", _LINK, *loss)


def _outside(status: MachineStatus) -> Iterator[Family]:
    announced = [((each.prefix,), float(each.announced)) for each in status.aggregates]
    yield _family(
        "agent_aggregate_announced",
        "Whether the edge announces an aggregate.",
        ("prefix",),
        *announced,
    )
    tables = [((f"ipv{each.version}",), each) for each in status.outside]
    yield _family(
        "agent_default_route",
        "Whether the edge has a default route.",
        ("family",),
        *((labels, float(table.default)) for labels, table in tables),
    )
    yield _family(
        "agent_outside_routes",
        "Other routes to the outside that the edge has in use.",
        ("family",),
        *((labels, float(table.routes)) for labels, table in tables),
    )


def _balancer(balancer: BalancerView | None) -> Iterator[Family]:
    modes = [((each.value,), float(each is balancer.mode)) for each in BalancerMode if balancer]
    yield _family("agent_balancer", "1 at what spreads the load.", ("mode",), *modes)
    totals = balancer.totals if balancer else {}
    age = [((), balancer.heartbeat_age_ms / 1e3)] if balancer and totals else []
    yield _family(
        "agent_director_beat_age_seconds",
        "For how long the director has not been told to go on; at 15 the kernel takes over.",
        (),
        *age,
    )
    yield _count(
        "agent_director_packets",
        "Packets that the director saw, by what came of them.",
        ("result",),
        [((name,), float(count)) for name, count in sorted(totals.items())],
    )


def _vantage(vantage: VantageFigures) -> Iterator[Family]:
    found = Counter({each.value: 0 for each in ClientVerdict})
    found.update(verdict_of(each.recent).value for each in vantage.tallies)
    yield _family(
        "agent_vantage_questions",
        "Questions that the machine asks services, by what came of the last ones.",
        ("served",),
        *_counted(found),
    )
    results = [((each.value,), float(vantage.results.get(each, 0))) for each in AskedResult]
    yield _count(
        "agent_vantage_attempts",
        "Questions that the machine asked services, by result.",
        ("result",),
        results,
    )


_Sample = tuple[tuple[str, ...], float]


def _states(name: str, text: str, state: RoutingState) -> Family:
    samples = (((each.value,), float(each is state)) for each in RoutingState)
    return _family(name, text, ("state",), *samples)


def _counted(counts: Counter[str]) -> Iterator[_Sample]:
    for name, count in sorted(counts.items()):
        yield (name,), float(count)


def _family(name: str, text: str, labels: tuple[str, ...], *samples: _Sample) -> Family:
    return Family(name=name, text=text, labels=labels, samples=samples)


def _count(name: str, text: str, labels: tuple[str, ...], samples: Iterable[_Sample]) -> Family:
    kind = FamilyKind.COUNTER
    return Family(name=name, text=text, labels=labels, samples=tuple(samples), kind=kind)
