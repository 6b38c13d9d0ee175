"""The routes of a node's table 100."""

from collections import Counter
from dataclasses import replace
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.model.running.balancer import as_balanced
from pltfrms.model.running.machine import (
    PROTO_ACTIVE,
    PROTO_BACKUP,
    PROTO_DRAINING,
    PROTO_REACHABLE,
    SERVICE_TABLE,
    Nexthop,
)
from pltfrms.model.running.plan import Target
from pltfrms.model.services.roles import claim_of
from pltfrms.planner.instances.instances import INSTANCE_LINK_LOCAL
from pltfrms.planner.instances.routes import member_routes, service_routes
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


def test_a_fresh_prefix_leads_only_to_instances_that_have_it() -> None:
    fresh = ip_network("198.51.100.77/32")
    web = replace(WEB, version=2, more=(fresh,), fresh=(fresh,), fresh_from=2)
    newer = replace(TARGET.allocations[1], version=2)
    target = replace(TARGET, services=(web,), allocations=(TARGET.allocations[0], newer))
    routes = {r.prefix: r.nexthops for r in service_routes(target, {IDS[0], IDS[1]}, set())}
    assert [each.device for each in routes[fresh]] == ["i2"]
    assert [each.device for each in routes[ip_network("198.51.100.1/32")]] == ["i1", "i2"]
    old = replace(target, allocations=TARGET.allocations[:1])
    assert fresh not in {route.prefix for route in service_routes(old, {IDS[0]}, set())}


def test_a_service_of_one_family_has_routes_of_one() -> None:
    target = replace(TARGET, services=(replace(WEB, prefix4=None),))
    routes = service_routes(target, {IDS[0]}, set())
    assert [str(route.prefix) for route in routes] == ["2001:db8:100::1/128"]


def test_an_attached_instance_is_reachable_by_its_own_addresses() -> None:
    routes = service_routes(TARGET, set(), {IDS[2]})
    assert [(str(route.prefix), route.proto, route.metric) for route in routes] == [
        ("10.1.1.3/32", PROTO_REACHABLE, 10),
        ("fd00:0:1:1001:1:1:0:3/128", PROTO_REACHABLE, 10),
    ]


def test_the_ipv6_address_tells_what_an_instance_is_for_and_nothing_else_changes() -> None:
    attached = {IDS[2]}
    reachable = service_routes(TARGET, set(), attached)
    for words, proto in (
        ({"ready": attached}, PROTO_ACTIVE),
        ({"ready": set(), "draining": attached}, PROTO_DRAINING),
        ({"ready": set(), "standing_by": attached}, PROTO_BACKUP),
        ({"ready": attached, "draining": attached}, PROTO_ACTIVE),
    ):
        found = service_routes(TARGET, attached=attached, **words)
        four, six = (route for route in found if route.prefix not in WEB.prefixes)
        assert (four, six) == (reachable[0], replace(reachable[1], proto=proto))


def test_only_where_nobody_is_ready_the_draining_carry_the_service() -> None:
    both = {IDS[0], IDS[1]}
    for ready, proto, device in (
        ({IDS[1]}, PROTO_ACTIVE, ["i2"]),
        (set[str](), PROTO_DRAINING, ["i1"]),
    ):
        routes = service_routes(TARGET, ready, both, draining={IDS[0]})
        for route in routes:
            if route.prefix in WEB.prefixes:
                assert (route.proto, route.metric) == (proto, 10)
                assert [hop.device for hop in route.nexthops] == device


def test_who_stands_by_carries_the_service_before_who_drains_and_after_who_is_ready() -> None:
    three = set(IDS[:3])
    for ready, standing_by, proto, device in (
        ({IDS[0]}, {IDS[1]}, PROTO_ACTIVE, "i1"),
        (set[str](), {IDS[1]}, PROTO_BACKUP, "i2"),
        (set[str](), set[str](), PROTO_DRAINING, "i3"),
    ):
        draining = {IDS[2]}
        routes = service_routes(TARGET, ready, three, draining, standing_by=standing_by)
        led = [route for route in routes if route.prefix in WEB.prefixes]
        assert {(each.proto, each.nexthops[0].device) for each in led} == {(proto, device)}


def test_an_allocation_of_an_unknown_service_has_no_routes() -> None:
    assert service_routes(replace(TARGET, services=()), set(IDS), set(IDS)) == ()


SOME = st.sets(st.sampled_from(IDS))


@given(SOME, SOME, SOME, st.integers(1, 64))
def test_traffic_goes_to_the_ready_else_the_draining_and_the_metric_is_their_weight(
    ready: set[str], attached: set[str], draining: set[str], weight: int
) -> None:
    service = replace(WEB, spec=replace(WEB.spec, weight=weight))
    routes = service_routes(replace(TARGET, services=(service,)), ready, attached, draining)
    announced = [route for route in routes if route.prefix in service.prefixes]
    serving = ready or draining
    assert len(announced) == (2 if serving else 0)
    for route in announced:
        assert route.proto == (PROTO_ACTIVE if ready else PROTO_DRAINING)
        assert {hop.device for hop in route.nexthops} == {device(name) for name in serving}
        assert route.metric == min(256, weight * len(serving))
    unicast = [route for route in routes if route not in announced]
    protos = Counter((route.prefix.version, route.proto, route.metric) for route in unicast)
    assert protos == Counter(
        (version, proto_of(name, ready, draining) if version == 6 else PROTO_REACHABLE, weight)
        for name in attached
        for version in (4, 6)
    )
    assert len({route.prefix for route in routes}) == len(routes)
    assert ip_network("198.51.100.0/24") not in {route.prefix for route in routes}


def device(name: str) -> str:
    return f"i{IDS.index(name) + 1}"


def proto_of(name: str, ready: set[str], draining: set[str]) -> int:
    if name in ready:
        return PROTO_ACTIVE
    return PROTO_DRAINING if name in draining else PROTO_REACHABLE


def test_without_ipv4_an_instance_is_reached_by_ipv6_alone_and_the_service_by_both() -> None:
    platform = replace(TARGET.platform, infrastructure4=None)
    routes = service_routes(replace(TARGET, platform=platform), {IDS[0]}, {IDS[0]})
    assert [str(route.prefix) for route in routes] == [
        "198.51.100.1/32",
        "2001:db8:100::1/128",
        "fd00:0:1:1001:1:1:0:1/128",
    ]


# ---- members ---------------------------------------------------------------------------------

OWN = ["10.1.0.9/32", "fd00:0:1:1001:0:1:0:1/128"]


def kept(*generations: int) -> Target:
    """Return a target with an allocation of replica 1 for each of these generations."""
    volumes = [f"web.fra.1@{each}" for each in generations]
    some = zip(TARGET.allocations, volumes, strict=False)
    allocations = tuple(replace(each, replica=1, volume=volume) for each, volume in some)
    service = replace(WEB, numbers4=(9,))
    balanced = (as_balanced(service, None),)
    return replace(TARGET, allocations=allocations, services=(service,), balanced=balanced)


def test_a_replica_with_a_volume_has_its_addresses_as_long_as_its_instance_is_there() -> None:
    routes = member_routes(kept(3), {IDS[0]}, {})
    assert [str(route.prefix) for route in routes] == OWN
    for route in routes:
        assert (route.table, route.proto) == (SERVICE_TABLE, PROTO_ACTIVE)
        assert route.metric == claim_of(3, 1, 1)
        assert [each.device for each in route.nexthops] == ["i1"]
    assert member_routes(kept(3), set(), {}) == ()
    assert member_routes(TARGET, set(IDS), {}) == ()


def test_the_older_volume_gives_way_here_and_to_another_node() -> None:
    both = member_routes(kept(3, 4), set(IDS), {})
    assert [[each.device for each in route.nexthops] for route in both] == [["i2"], ["i2"]]
    elsewhere = {OWN[1]: claim_of(4, 1, 2)}
    assert [str(each.prefix) for each in member_routes(kept(3), set(IDS), elsewhere)] == OWN[:1]
    older = {OWN[1]: claim_of(2, 1, 2)}
    assert len(member_routes(kept(3), set(IDS), older)) == 2


def test_of_a_service_that_is_deleted_no_replica_has_an_address() -> None:
    assert member_routes(replace(kept(3), balanced=()), {IDS[0]}, {}) == ()
