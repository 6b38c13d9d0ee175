"""The next instant at which a configuration changes by itself."""

from dataclasses import replace
from ipaddress import ip_network

from pltfrms.model.network.interventions import Blackhole, Drain, Interventions
from pltfrms.model.network.traffic import Override
from pltfrms.planner.routing.instants import next_instant_ms
from tests.strategies import make_platform

HOUR_MS = 3_600_000
PLATFORM = replace(
    make_platform({"fra": 1}), traffic=(Override(until_ms=500), Override(prepend=1))
)
INTERVENTIONS = Interventions(
    drains=(Drain(peer="transit1", since_ms=100, wait_ms=50, until_ms=250),),
    blackholes=(Blackhole(prefix=ip_network("198.51.100.9/32"), until_ms=300),),
)


def test_every_end_and_every_phase_is_an_instant() -> None:
    now_ms, instants = 0, []
    while now_ms < 2 * HOUR_MS:
        now_ms = next_instant_ms(PLATFORM, INTERVENTIONS, now_ms)
        instants.append(now_ms)
    assert instants == [100, 150, 250, 300, 500, HOUR_MS, 2 * HOUR_MS]
