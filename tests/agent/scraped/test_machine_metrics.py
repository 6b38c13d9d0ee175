"""What Prometheus hears of a machine from its agent: names, values, and how many."""

import re
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from docs.site.pages import metrics
from pltfrms.agent.scraped.exposition import Family, FamilyKind, exposition
from pltfrms.agent.scraped.machine_metrics import (
    AgentUsage,
    MachineFigures,
    VantageFigures,
    machine_metrics,
)
from pltfrms.drivers.kernel.counters import ByteCounts
from pltfrms.model.network.interventions import Freeze, Interventions
from pltfrms.model.running.balancer import BalancerMode, BalancerView
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import (
    AggregateStatus,
    InstanceStatus,
    LinkStatus,
    MachineStatus,
    OutsideTable,
    Phase,
    RoutingState,
    RoutingStatus,
    SessionStatus,
)
from pltfrms.model.running.vantage import ClientVerdict
from pltfrms.planner.vantage.tallying import AskedResult
from tests.agent.bench import Bench, make_target
from tests.agent.test_vantage import QUESTIONS
from tests.simulation.virtual import run_virtual

USAGE = AgentUsage(cpu_seconds=1.5, memory_bytes=60_000_000)
CONVENTION = re.compile(r"pltfrms_agent_[a-z]+(_[a-z]+)*")
UNITS = ("_seconds", "_bytes", "_milliseconds", "_ms", "_kb", "_percent")


def figures(status: MachineStatus, **said: object) -> MachineFigures:
    empty = MachineFigures(
        status=status,
        began_ms=1_700_000_000_000,
        away_seconds=0.5,
        frozen=False,
        events=0,
        usage=USAGE,
        traffic={},
        vantage=VantageFigures(results={}),
    )
    return replace(empty, **said)  # type: ignore[arg-type]


def balanced(mode: BalancerMode, **said: object) -> BalancerView:
    return replace(BalancerView(machine="m", mode=mode), **said)  # type: ignore[arg-type]


def told(seen: MachineFigures) -> dict[str, float]:
    """Return what is measured, by how Prometheus reads the text."""
    found = {}
    for family in text_string_to_metric_families(exposition(machine_metrics(seen))):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            name = sample.name.removeprefix("pltfrms_agent_")
            found[f"{name}{{{labels}}}" if labels else name] = sample.value
    return found


EDGE = MachineStatus(
    machine="fra-e1",
    version="1.2",
    generation=7,
    problems=("disk: full",),
    sessions=(
        SessionStatus(name="peer.t1.ipv4", up=True, imported=900, exported=1, filtered=3),
        SessionStatus(name="edge.ams-e1", up=False, imported=5, counted=False),
    ),
    aggregates=(
        AggregateStatus(prefix="198.51.100.0/24", announced=True, reason=Reason.LOCAL_SERVICE),
    ),
    routing=RoutingStatus(state=RoutingState.TRYING),
    links={
        "fra-e1--ams-e1": LinkStatus(up=True, rtt_us=1200, loss_percent=3),
        "b": LinkStatus(up=False),
    },
    outside=(OutsideTable(version=4, default=False, routes=900),),
)


def test_an_edge_tells_of_sessions_links_routes_and_itself() -> None:
    seen = figures(
        EDGE,
        frozen=True,
        events=3,
        traffic={"bb0": ByteCounts(received=10, sent=20, received_lost=1, sent_lost=2)},
        balancer=balanced(BalancerMode.DIRECTOR, heartbeat_age_ms=250, totals={"stale": 4}),
        certificate_ends_ms=1_800_000_000_000,
    )
    found = told(seen)
    assert (
        found.items()
        >= {
            "info{version=1.2}": 1,
            "start_time_seconds": 1_700_000_000,
            "away_seconds": 0.5,
            "frozen": 1,
            "events": 3,
            "problems": 1,
            "target_generation": 7,
            "cpu_seconds_total": 1.5,
            "memory_bytes": 60_000_000,
            "certificate_not_after_timestamp_seconds": 1_800_000_000,
            "session_up{session=peer.t1.ipv4}": 1,
            "session_up{session=edge.ams-e1}": 0,
            "session_routes{direction=imported,session=peer.t1.ipv4}": 900,
            "routing{state=trying}": 1,
            "routing{state=confirmed}": 0,
            "aggregate_announced{prefix=198.51.100.0/24}": 1,
            "link_up{link=b}": 0,
            "link_rtt_seconds{link=fra-e1--ams-e1}": 0.0012,
            "link_loss_ratio{link=fra-e1--ams-e1}": 0.03,
            "default_route{family=ipv4}": 0,
            "outside_routes{family=ipv4}": 900,
            "interface_bytes_total{direction=sent,interface=bb0}": 20,
            "interface_lost_packets_total{direction=received,interface=bb0}": 1,
            "balancer{mode=director}": 1,
            "director_beat_age_seconds": 0.25,
            "director_packets_total{result=stale}": 4,
        }.items()
    )
    # Not known is not 0.
    assert "session_routes{direction=imported,session=edge.ams-e1}" not in found
    assert "link_rtt_seconds{link=b}" not in found
    assert "link_loss_ratio{link=b}" not in found


def test_a_node_tells_of_its_instances_in_every_phase() -> None:
    def instance(name: str, phase: Phase, restarts: int = 0) -> InstanceStatus:
        return InstanceStatus(allocation=name, phase=phase, restarts=restarts)

    status = MachineStatus(
        machine="fra-n1",
        instances=(
            instance("web.fra.1-1", Phase.READY, 2),
            instance("web.fra.2-1", Phase.UNHEALTHY, 1),
            instance("api.fra.1-3", Phase.READY),
        ),
    )
    found = told(figures(status))
    assert {found[f"instances{{phase={each.value}}}"] for each in Phase} == {0, 1, 2}
    assert found["instance_restarts{service=web}"] == 3
    assert found["probes_failing{service=web}"] == 1
    assert found["probes_failing{service=api}"] == 0


def test_every_value_of_an_enumeration_is_always_there() -> None:
    found = told(figures(MachineStatus(machine="m"), balancer=balanced(BalancerMode.KERNEL)))
    for name, label, kind in (
        ("routing", "state", RoutingState),
        ("instances", "phase", Phase),
        ("balancer", "mode", BalancerMode),
        ("vantage_questions", "served", ClientVerdict),
        ("vantage_attempts_total", "result", AskedResult),
    ):
        values = {each for each in found if each.startswith(f"{name}{{")}
        assert values == {f"{name}{{{label}={each.value}}}" for each in kind}
    assert "director_beat_age_seconds" not in found
    assert "certificate_not_after_timestamp_seconds" not in found


@pytest.mark.parametrize(
    ("sessions", "links", "services", "series"),
    [(0, 0, 0, 34), (4, 0, 100, 250), (80, 8, 0, 410)],
)
def test_how_many_series_a_machine_has(
    sessions: int, links: int, services: int, series: int
) -> None:
    """34, and four of a session, seven of a link with its port, two of a service that runs."""
    status = MachineStatus(
        machine="m",
        sessions=tuple(SessionStatus(name=f"s{n}", up=True) for n in range(sessions)),
        links={f"l{n}": LinkStatus(up=True, rtt_us=1, loss_percent=0) for n in range(links)},
        instances=tuple(
            InstanceStatus(allocation=f"s{n % 100}.fra.{n}-1", phase=Phase.READY)
            for n in range(2 * services)
        ),
    )
    traffic = {f"p{n}": ByteCounts(received=1, sent=1) for n in range(links)}
    balancer = balanced(BalancerMode.DIRECTOR, totals={"stale": 1})
    seen = figures(status, traffic=traffic, balancer=balancer, certificate_ends_ms=1)
    assert len(told(seen)) == series


def test_names_are_as_prometheus_wants_them_and_explained() -> None:
    families, explained = list(machine_metrics(figures(EDGE))), metrics()
    assert len({each.full_name for each in families}) == len(families)
    for each in families:
        assert CONVENTION.fullmatch(each.full_name)
        assert not each.full_name.endswith(UNITS[2:])
        assert each.full_name.endswith("_total") == (each.kind is FamilyKind.COUNTER)
        assert "machine" not in each.labels, "the target says that"
        assert explained[f"pltfrms_{each.name}"] == each.text


def test_what_would_break_a_line_is_escaped() -> None:
    nasty = 'a"b\\c\nd'
    family = Family(name="x", text="An x.", labels=("l",), samples=(((nasty,), 2.0),))
    (read,) = text_string_to_metric_families(exposition([family]))
    assert read.samples[0].labels == {"l": nasty}


def test_an_agent_says_it_of_itself_and_for_how_long_it_is_away() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        bench.controllers.questions = QUESTIONS
        bench.byte_counts = {
            "bb-ams-e1": ByteCounts(received=7, sent=8),
            "veth7": ByteCounts(received=7, sent=8),
        }
        async with bench.life(30):
            agent = bench.agent
            assert agent
            found = told(agent.figures(USAGE))
            assert found["away_seconds"] < 2
            assert found["vantage_questions{served=served}"] == 2
            assert found["vantage_attempts_total{result=answered}"] > 40
            assert found["interface_bytes_total{direction=sent,interface=bb-ams-e1}"] == 8
            assert not any("veth7" in each for each in found)
            assert found["frozen"] == 0
            bench.controllers.alive = False
            await bench.passes(60)
            assert 55 < told(agent.figures(USAGE))["away_seconds"] < 62
            bench.frozen = True
            assert told(agent.figures(USAGE))["frozen"] == 1

    run_virtual(story())


def test_a_freeze_by_the_controllers_is_one_here() -> None:
    async def story() -> None:
        bench = Bench()
        frozen = Interventions(freeze=Freeze(since_ms=0))
        bench.controllers.latest = replace(make_target(3), interventions=frozen)
        async with bench.life(30):
            assert bench.agent
            found = told(bench.agent.figures(USAGE))
            assert (found["frozen"], found["target_generation"]) == (1, 3)

    run_virtual(story())
