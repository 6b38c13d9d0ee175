"""What Prometheus hears of the network."""

from dataclasses import replace

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from pltfrms.api.network_metrics import network_metrics
from pltfrms.model.network.interventions import (
    Blackhole,
    Drain,
    Freeze,
    Interventions,
    Release,
)
from pltfrms.model.network.traffic import Override
from pltfrms.model.running.plan import Reason
from pltfrms.model.running.state import (
    AggregateStatus,
    Contact,
    LinkStatus,
    MachineStatus,
    OutsideTable,
    RoutingState,
    RoutingStatus,
    SessionStatus,
    Snapshot,
)
from tests.controller.test_network import make_peer
from tests.strategies import make_platform, make_snapshot

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000
PLATFORM = make_platform({"fra": 1, "ams": 1})


def lines(snapshot: Snapshot) -> set[str]:
    class Fixed(Collector):
        def collect(self) -> list[Metric]:
            return list(network_metrics(snapshot, NOW_MS))

    registry = CollectorRegistry()
    registry.register(Fixed())
    return set(generate_latest(registry).decode().splitlines())


def edge(name: str) -> MachineStatus:
    session = SessionStatus(
        name="peer.transit1.ipv4",
        up=True,
        imported=900,
        exported=1,
        filtered=3,
        rejects={"bogon": 3},
    )
    return MachineStatus(
        machine=name,
        clock_ahead_seconds=86_400,
        sessions=(session, SessionStatus(name="edge.ams-e1", up=False)),
        aggregates=(
            AggregateStatus(
                prefix="198.51.100.0/24", announced=True, reason=Reason.LOCAL_SERVICE
            ),
        ),
        routing=RoutingStatus(state=RoutingState.TRYING),
        links={"fra-e1--ams-e1": LinkStatus(up=True, rtt_us=1200)},
        outside=(
            OutsideTable(version=4, default=False, routes=0),
            OutsideTable(version=6, default=True, routes=0),
        ),
    )


def test_sessions_announcements_and_routing() -> None:
    snapshot = make_snapshot(PLATFORM)
    snapshot = replace(snapshot, statuses={"fra-e1": edge("fra-e1")})
    transit = 'machine="fra-e1",session="peer.transit1.ipv4"'
    assert lines(snapshot) >= {
        f"pltfrms_session_up{{{transit}}} 1.0",
        'pltfrms_session_up{machine="fra-e1",session="edge.ams-e1"} 0.0',
        'pltfrms_clock_ahead_seconds{machine="fra-e1"} 86400.0',
        f'pltfrms_session_routes{{direction="imported",{transit}}} 900.0',
        f'pltfrms_session_routes{{direction="exported",{transit}}} 1.0',
        f'pltfrms_session_routes{{direction="filtered",{transit}}} 3.0',
        (
            'pltfrms_session_rejects{machine="fra-e1",reason="bogon",session="peer.transit1.ipv4"}'
            " 3.0"
        ),
        'pltfrms_aggregate_announced{machine="fra-e1",prefix="198.51.100.0/24"} 1.0',
        (
            'pltfrms_aggregate_announced_info{machine="fra-e1",prefix="198.51.100.0/24",'
            'reason="local-service"} 1.0'
        ),
        'pltfrms_link_up{link="fra-e1--ams-e1",machine="fra-e1"} 1.0',
        'pltfrms_link_rtt_seconds{link="fra-e1--ams-e1",machine="fra-e1"} 0.0012',
        'pltfrms_routing_state{machine="fra-e1",state="trying"} 1.0',
        'pltfrms_routing_state{machine="fra-e1",state="confirmed"} 0.0',
        "pltfrms_frozen 0.0",
        'pltfrms_way_back{family="ipv4",machine="fra-e1"} 0.0',
        'pltfrms_way_back{family="ipv6",machine="fra-e1"} 1.0',
        'pltfrms_outside_routes{family="ipv4",machine="fra-e1"} 0.0',
    }


def test_on_how_many_sessions_an_aggregate_is_heard() -> None:
    peer = make_peer("transit1", 112, ("fra-e1", "ams-e1"), 64601)
    snapshot = make_snapshot(replace(PLATFORM, peers=(peer,)))
    four, six = 'prefix="198.51.100.0/24"', 'prefix="2001:db8:100::/48"'
    assert lines(replace(snapshot, statuses={"fra-e1": edge("fra-e1")})) >= {
        f"pltfrms_aggregate_announced_sessions{{{four}}} 1.0",
        f"pltfrms_aggregate_announced_datacenters{{{four}}} 1.0",
        f"pltfrms_aggregate_unknown_sessions{{{four}}} 1.0",
        f"pltfrms_aggregate_announced_sessions{{{six}}} 0.0",
        f"pltfrms_aggregate_unknown_sessions{{{six}}} 2.0",
    }


def test_a_machine_out_of_contact_says_nothing() -> None:
    snapshot = make_snapshot(PLATFORM, contacts={"fra-e1": Contact.LOST})
    snapshot = replace(snapshot, statuses={"fra-e1": edge("fra-e1")})
    assert not any("fra-e1" in line for line in lines(snapshot))


def test_interventions_and_overrides() -> None:
    done = Interventions(
        freeze=Freeze(since_ms=0),
        drains=(
            Drain(peer="a", since_ms=NOW_MS - 1000, wait_ms=60_000),
            Drain(peer="b", since_ms=NOW_MS - 60_000, wait_ms=60_000),
            Drain(datacenter="fra", since_ms=NOW_MS + 1, wait_ms=60_000),
            Drain(node="fra-n1", since_ms=NOW_MS, wait_ms=0),
            Drain(node="ams-n1", since_ms=NOW_MS - 2, wait_ms=0, until_ms=NOW_MS),
        ),
        blackholes=tuple(
            Blackhole(prefix=PLATFORM.aggregates[0].prefix, until_ms=NOW_MS + ms)
            for ms in (-1, 1)
        ),
        releases=(
            Release(datacenter="fra", until_ms=NOW_MS + 1),
            Release(datacenter="ams", until_ms=NOW_MS),
        ),
    )
    traffic = tuple(
        Override(prepend=1, until_ms=NOW_MS + ms if ms else 0)
        for ms in (0, -DAY_MS, DAY_MS, 2 * DAY_MS, 8 * DAY_MS)
    )
    snapshot = make_snapshot(replace(PLATFORM, traffic=traffic))
    assert lines(replace(snapshot, interventions=done)) >= {
        "pltfrms_frozen 1.0",
        'pltfrms_drains{phase="shutdown"} 1.0',
        'pltfrms_drains{phase="withdrawn"} 1.0',
        'pltfrms_drains{phase="none"} 1.0',
        "pltfrms_drained_nodes 1.0",
        "pltfrms_blackholes 1.0",
        "pltfrms_brakes_released 1.0",
        'pltfrms_overrides_ending{state="soon"} 2.0',
        'pltfrms_overrides_ending{state="over"} 1.0',
    }
