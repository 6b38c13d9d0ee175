"""The rules by which any routes become the wanted ones."""

from ipaddress import IPv6Address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from pltfrms.drivers.kernel.tables.routes import compare, describe, normal
from pltfrms.model.running.machine import Nexthop, Route

DEVICES = ("i1", "i2", "i3")
hops = st.builds(
    Nexthop,
    device=st.sampled_from(DEVICES),
    via=st.just(IPv6Address("fe80::2")),
    weight=st.integers(1, 3),
)
route = st.builds(
    Route,
    prefix=st.sampled_from(
        tuple(map(ip_network, ("192.0.2.1/32", "192.0.2.2/32", "2001:db8::1/128")))
    ),
    table=st.just(100),
    proto=st.integers(181, 183),
    metric=st.integers(0, 2),
    nexthops=st.lists(hops, max_size=2, unique_by=lambda hop: hop.device).map(tuple),
)
routes = st.lists(route, unique_by=lambda r: key(normal(r)))


def key(some: Route) -> tuple[str, int]:
    return (str(some.prefix), some.metric)


@given(routes, routes, st.sets(st.sampled_from(DEVICES)))
def test_the_kernel_gets_the_wanted_routes_and_never_a_hole(
    have: list[Route], wanted: list[Route], broken: set[str]
) -> None:
    def why(device: str) -> str:
        return "down" if device in broken else ""

    changes = compare(have, wanted, why)
    kernel = {key(normal(some)): normal(some) for some in have}
    covered = {prefix for prefix, _ in kernel}
    for some in changes.put:
        kernel[key(some)] = some
    after_put = {prefix for prefix, _ in kernel}
    assert covered <= after_put
    for some in changes.delete:
        assert kernel.pop(key(some)) == some
    again = compare(kernel.values(), wanted, why)
    assert again.put == again.delete == ()
    assert all(hop.device not in broken for some in kernel.values() for hop in some.nexthops)
    whole = [some for some in wanted if not broken & {hop.device for hop in some.nexthops}]
    assert {normal(some) for some in whole} <= set(kernel.values())


def test_what_directors_follow_goes_first_and_comes_last() -> None:
    prefixes = ("10.1.1.1/32", "198.51.100.1/32", "2001:db8:100::1/128", "fd00:77::1/128")
    every = [
        Route(prefix=ip_network(prefix), table=100, proto=181, metric=10) for prefix in prefixes
    ]
    gone, come = compare(every, (), lambda _: ""), compare((), every, lambda _: "")
    assert str(gone.delete[0].prefix) == str(come.put[-1].prefix) == "fd00:77::1/128"


def test_a_route_reads_like_ip_route() -> None:
    some = Route(prefix=ip_network("192.0.2.0/24"), table=101, proto=181, metric=1)
    assert describe(some) == "unreachable 192.0.2.0/24 table 101 proto 181 metric 1"
