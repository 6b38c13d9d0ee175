"""What speaks with the internet keeps the address from which it does."""

from dataclasses import replace
from ipaddress import ip_network

import pytest

from pltfrms.errors import UsageError
from pltfrms.model.messages.api import Change
from pltfrms.model.network.topology import Aggregate, Platform
from pltfrms.model.running.state import Snapshot
from pltfrms.model.services.outgoing import Egress, EgressMode
from pltfrms.model.services.service import ServiceSpec
from pltfrms.planner.changes.change import apply_change
from tests.planner.world import settle
from tests.strategies import make_platform, make_snapshot, make_spec

PLAIN = make_platform({"fra": 2, "ams": 2}, others=False)
FOUR = Aggregate(prefix=ip_network("192.0.2.0/24"), unicast="fra", per_node=4)
OTHER = Aggregate(prefix=ip_network("203.0.113.0/24"), unicast="fra")
SIX = Aggregate(prefix=ip_network("2001:db8:a::/48"), unicast="fra")


def having(*unicast: Aggregate, datacenters: tuple[str, ...] = ("fra", "ams")) -> Platform:
    platform = replace(PLAIN, aggregates=(*PLAIN.aggregates, *unicast))
    left = tuple(each for each in platform.machines if each.datacenter in datacenters)
    return replace(platform, machines=left)


def asks(mode: EgressMode | None, **changes: object) -> ServiceSpec:
    spec = replace(make_spec(), egress=Egress(mode=mode))
    return replace(spec, **changes)  # type: ignore[arg-type]


def running(platform: Platform, mode: EgressMode | None = None) -> Snapshot:
    start = make_snapshot(platform)
    return settle(apply_change(start, Change(services=(asks(mode),))).snapshot)


RENUMBERS = [
    (replace(FOUR, per_node=8), SIX),
    (OTHER, FOUR, SIX),
    (replace(FOUR, prefix=ip_network("192.0.0.0/22")), SIX),
    (FOUR, replace(SIX, prefix=ip_network("2001:db8:b::/48"))),
    (FOUR,),
    (),
]


@pytest.mark.parametrize("after", RENUMBERS)
@pytest.mark.parametrize("mode", [None, EgressMode.OWN])
def test_what_renumbers_a_running_instance_is_refused_with_the_way_that_works(
    after: tuple[Aggregate, ...], mode: EgressMode | None
) -> None:
    before = running(having(FOUR, SIX), mode)
    change = Change(platform=having(*after))
    with pytest.raises(UsageError, match="first apply the services of fra with `egress: none`"):
        apply_change(before, change)
    for way in (asks(EgressMode.NONE), asks(mode, datacenters=("ams",))):
        silent = settle(apply_change(before, Change(services=(way,))).snapshot)
        assert apply_change(silent, change).platform == change.platform


@pytest.mark.parametrize(
    ("was", "will"),
    [
        ((), (FOUR, SIX)),
        ((FOUR,), (FOUR, SIX)),
        ((FOUR, SIX), (FOUR, SIX, OTHER)),
        ((FOUR, OTHER), (FOUR,)),
    ],
)
def test_what_renumbers_nobody_is_no_matter(
    was: tuple[Aggregate, ...], will: tuple[Aggregate, ...]
) -> None:
    platform = having(*will)
    assert apply_change(running(having(*was)), Change(platform=platform)).platform == platform


def test_a_datacenter_may_go_with_its_prefixes() -> None:
    left = having(datacenters=("ams",))
    assert apply_change(running(having(FOUR, SIX)), Change(platform=left)).platform == left


def test_own_ipv4_addresses_come_to_instances_that_can_have_them() -> None:
    before = running(having(SIX), EgressMode.OWN)
    crowded = replace(
        before,
        allocations={
            name: replace(each, slot=each.slot + 100)
            for name, each in before.allocations.items()
        },
    )
    change = Change(platform=having(FOUR, SIX))
    assert apply_change(before, change).platform == change.platform
    with pytest.raises(UsageError, match="first apply service web with `egress: datacenter`"):
        apply_change(crowded, change)
    plain = apply_change(crowded, Change(services=(asks(EgressMode.DATACENTER),))).snapshot
    after = apply_change(plain, change).snapshot
    own = settle(apply_change(after, Change(services=(asks(EgressMode.OWN),))).snapshot)
    fra = [each.slot for each in own.allocations.values() if each.datacenter == "fra"]
    assert fra
    assert max(fra) < FOUR.per_node
    assert own.services["web"].version == 2


def test_no_new_border_of_an_aggregate_falls_on_the_address_of_a_service() -> None:
    spec = replace(make_spec(), addresses=(ip_network("198.51.100.128").network_address,))
    before = apply_change(make_snapshot(PLAIN), Change(services=(spec,))).snapshot
    part = Aggregate(prefix=ip_network("198.51.100.128/25"))
    change = Change(platform=having(part))
    with pytest.raises(UsageError, match=r"198\.51\.100\.128 is the network address"):
        apply_change(before, change)


def test_a_plan_says_from_where_a_new_service_asks_nobody() -> None:
    def detail(platform: Platform, spec: ServiceSpec) -> str:
        (line,) = apply_change(make_snapshot(platform), Change(services=(spec,))).lines
        return line.detail.partition("; ")[2]

    nobody, plain = "asks nobody in the internet", asks(None)
    assert detail(PLAIN, plain) == f"{nobody} (no unicast prefix)"
    assert detail(having(FOUR), plain) == f"{nobody} from ams (no unicast prefix)"
    assert detail(having(FOUR), asks(None, datacenters=("fra",))) == ""
    assert detail(PLAIN, asks(EgressMode.NONE)) == "", "it was meant"
