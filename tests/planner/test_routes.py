"""The routes of a node's table 100."""

from collections import Counter
from dataclasses import replace
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.machine import PROTO_ACTIVE, SERVICE_TABLE, Nexthop
from pltfrms.model.plan import Target
from pltfrms.planner.instances import INSTANCE_LINK_LOCAL
from pltfrms.planner.routes import service_routes
from tests.strategies import make_allocation, make_platform, make_service, make_spec

WEB = make_service(make_spec(max_per_node=30))
IDS = [f"web.fra.{replica}-1" for replica in range(1, 31)]
TARGET = Target(
    machine="fra-n1",
    generation=1,
    platform=make_platform({"fra": 1}),
    services=(WEB,),
    allocations=tuple(
        make_allocation(name, "fra-n1", slot=slot) for slot, name in enumerate(IDS, start=1)
    ),
)


def test_two_ready_instances_share_one_route_per_family() -> None:
    routes = service_routes(TARGET, {IDS[0], IDS[1]}, set())
    assert [str(route.prefix) for route in routes] == ["198.51.100.1/32", "2001:db8:100::1/128"]
    for route in routes:
        assert (route.table, route.proto, route.metric) == (SERVICE_TABLE, PROTO_ACTIVE, 20)
        assert route.nexthops == (
            Nexthop(device="i1", via=INSTANCE_LINK_LOCAL, weight=10),
            Nexthop(device="i2", via=INSTANCE_LINK_LOCAL, weight=10),
        )


def test_an_attached_instance_is_reachable_by_its_own_addresses() -> None:
    routes = service_routes(TARGET, set(), {IDS[2]})
    assert [(str(route.prefix), route.metric) for route in routes] == [
        ("10.1.1.3/32", 1),
        ("fd00:0:1:1001:1:1:0:3/128", 1),
    ]


def test_an_allocation_of_an_unknown_service_has_no_routes() -> None:
    assert service_routes(replace(TARGET, services=()), set(IDS), set(IDS)) == ()


@given(st.sets(st.sampled_from(IDS)), st.sets(st.sampled_from(IDS)), st.integers(1, 64))
def test_exactly_the_ready_instances_get_traffic_and_the_metric_is_their_weight(
    ready: set[str], attached: set[str], weight: int
) -> None:
    service = replace(WEB, spec=replace(WEB.spec, weight=weight))
    routes = service_routes(replace(TARGET, services=(service,)), ready, attached)
    announced = [route for route in routes if route.prefix in service.prefixes]
    assert len(announced) == (2 if ready else 0)
    for route in announced:
        assert {hop.device for hop in route.nexthops} == {
            f"i{IDS.index(name) + 1}" for name in ready
        }
        assert route.metric == min(256, weight * len(ready))
    assert Counter(route.metric for route in routes if route not in announced) == Counter(
        {1: 2 * len(attached)} if attached else {}
    )
    assert len({route.prefix for route in routes}) == len(routes)
    assert ip_network("198.51.100.0/24") not in {route.prefix for route in routes}
