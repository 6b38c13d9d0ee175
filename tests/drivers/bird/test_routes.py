"""The reader of BIRD's routes, on what a real BIRD 2.0.12 answered, and on nonsense."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.drivers.bird.control_socket import BirdConnection, BirdReply
from pltfrms.drivers.bird.routes import parse_routes
from pltfrms.model.messages.glass import RouteView
from pltfrms.model.network.peering import Reject

RECORDED = Path(__file__).parent / "recorded"


def reply(text: str) -> BirdReply:
    """Return a recorded answer as the connection reads it."""

    async def read() -> BirdReply:
        reader = asyncio.StreamReader()
        reader.feed_data(text.encode())
        connection = BirdConnection(reader, None)  # type: ignore[arg-type] # never writes
        return await connection.read()

    return asyncio.run(read())


def routes(name: str, *, filtered: bool = False) -> dict[str, list[RouteView]]:
    lines = reply((RECORDED / f"{name}.txt").read_text()).lines
    found: dict[str, list[RouteView]] = {}
    for route in parse_routes(lines, machine="fra-e1", asn=64500, filtered=filtered):
        found.setdefault(route.prefix, []).append(route)
    return found


def test_a_path_with_everything() -> None:
    assert routes("routes4")["8.8.8.0/24"] == [
        RouteView(
            machine="fra-e1",
            prefix="8.8.8.0/24",
            session="peer.transit1.ipv4",
            best=True,
            via=("10.9.0.2 dev d0",),
            since="23:21:07.001",
            as_path=("65010", "65011"),
            origin="IGP",
            local_preference=100,
            med=20,
            communities=("65010:100", "65535:0"),
            large_communities=("65010:1:2", "64500:1:7", "64500:2:1"),
        )
    ]


def test_several_paths_of_one_prefix_one_of_them_recursive() -> None:
    paths = routes("routes4")["203.0.113.0/24"]
    assert [(path.session, path.best) for path in paths] == [
        ("peer.ixp1.ipv4", True),
        ("edge.ams-e1", False),
        ("peer.transit1.ipv4", False),
    ]
    assert paths[1].via == ("10.9.0.3 dev d0 weight 20", "10.9.0.2 dev d0 weight 10")
    assert (paths[1].since, paths[1].as_path) == ("23:21:07.001", ())
    assert len(paths[0].large_communities) == 12


def test_routes_that_lead_nowhere() -> None:
    found = routes("routes4")
    assert found["198.51.100.0/24"][0].via == ("unreachable",)
    assert found["198.51.100.66/32"][0].via == ("blackhole",)
    assert found["198.51.100.0/24"][0].local_preference is None


def test_ipv6() -> None:
    found = routes("routes6")
    assert found["2001:db8:f::/48"][0].via == (
        "fe80::2 dev d0 weight 3",
        "fe80::3 dev d0 weight 1",
    )
    assert found["2001:db8:9::/48"][0].as_path == ("65010",)


def test_a_refused_route_says_why_and_is_never_the_best() -> None:
    (path,) = routes("filtered4", filtered=True)["192.168.5.0/24"]
    assert (path.filtered, path.best, path.reject) == (True, False, Reject.BOGON)


def test_what_leaves() -> None:
    (path,) = routes("exported4")["198.51.100.0/24"]
    assert path.as_path == ("64500", "64500")
    assert (path.communities, path.large_communities) == (("65010:80",), ())


def test_a_set_in_the_path_is_one_hop() -> None:
    lines = ((1007, "192.0.2.0/24  unicast [x 2026-11-22] * (100)"),)
    path = (1012, "\tBGP.as_path: 1 {2 3} 4")
    (route,) = parse_routes((*lines, path), machine="m", asn=1)
    assert (route.as_path, route.since) == (("1", "{2 3}", "4"), "2026-11-22")


@pytest.mark.parametrize(
    "line", ["nonsense", "300.1.1.1/8 unicast [x 1] *", "   unicast [x 1] *", "\tvia x on d0"]
)
def test_what_is_not_known_is_said(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_routes([(1007, line)], machine="m", asn=1)


WORDS = st.text(alphabet="aB1:/.[]()*!%, {}\t-\n", max_size=60)
LINES = st.one_of(
    st.text(max_size=80),
    WORDS,
    WORDS.map(lambda t: f"1.0.0.0/8 unicast [{t}] * (1)"),
    WORDS.map(lambda t: f"\tvia {t} on d0"),
    WORDS.map(lambda t: f"\tBGP.local_pref: {t}"),
    WORDS.map(lambda t: f"\tBGP.large_community: ({t})"),
)


@given(st.lists(st.tuples(st.sampled_from([0, 1007, 1008, 1012, 9001]), LINES)))
def test_nonsense_is_refused_or_read_and_nothing_else(lines: list[tuple[int, str]]) -> None:
    with contextlib.suppress(ValueError):
        parse_routes(lines, machine="m", asn=1, filtered=True)
