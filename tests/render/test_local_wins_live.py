"""One edge goes mad and attracts everything, as in Cloudflare's outage of July 2020."""

import dataclasses
import os
import re
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from pltfrms.model.network.lab import Lab
from tests.render.namespaces import Net, eventually, network
from tests.render.platforms import SMALL
from tests.render.test_bird_live import AGGREGATES, BOTH, family, route, service

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.xdist_group("bird-live"),
]

ALONE = dataclasses.replace(SMALL, peers=())
UNUSED = ("198.51.100.77", "2001:db8:100::77")
"""In the aggregates, but no service."""
LEAKED = tuple(str(ip_network(address)) for address in (*BOTH, *UNUSED))
FLOOD = 300
LIMIT = "import limit 2000000"
SMALL_LIMIT = "import limit 200"


def leak() -> str:
    """Return protocols that originate our services, our aggregates and too much else."""
    many = [f"100.{64 + n // 256}.{n % 256}.0/24" for n in range(FLOOD)]
    return "\n".join(
        f"protocol static 'static.leak{number}' {{ ipv{number}; "
        + "".join(f"route {prefix} unreachable; " for prefix in prefixes)
        + "}"
        for number, prefixes in (
            (4, (LEAKED[0], LEAKED[2], AGGREGATES[0], *many)),
            (6, (LEAKED[1], LEAKED[3], AGGREGATES[1])),
        )
    ).replace(" unreachable", " unreachable { preference = 240; }")


def go_mad(net: Net, edge: str) -> None:
    """Let an edge say all of that with the highest local preference, tagged as announced."""
    file = net.directory / f"{edge}.conf"
    sane = file.read_text()
    file.with_suffix(".sane").write_text(sane)
    filter_ = """export filter {
      bgp_local_pref = 900;
      bgp_large_community.add((OUR_ASN, 1, 1));
      bgp_large_community.add((OUR_ASN, 2, OUR_DATACENTER));
      bgp_large_community.add((OUR_ASN, 12, 1));
      accept;
    };"""
    mad, count = re.subn(r"export where to_edge\(\).*;", filter_, sane)
    assert count == sane.count("to_edge()") - 1, "but where it is defined"
    file.write_text(mad + leak())
    assert "Reconfigur" in net.birdc(edge, "configure")


def recover(net: Net, edge: str) -> None:
    file = net.directory / f"{edge}.conf"
    file.write_text(file.with_suffix(".sane").read_text())
    net.birdc(edge, "configure")


def leaked(net: Net, edge: str) -> int:
    shown = net.birdc(edge, "show route protocol 'edge.ams-e1' table master4 count")
    return int(shown.splitlines()[-1].split()[0])


def over_both_fabrics(net: Net, address: str) -> bool:
    routes = [route(net, edge, address) for edge in ("fra-e1", "fra-e2")]
    return all("fab-a" in each and "fab-b" in each for each in routes)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with network(ALONE, Lab(), tmp_path_factory.mktemp("birds"), {}) as net:
        file = net.directory / "fra-e2.conf"
        assert LIMIT in file.read_text()
        file.write_text(file.read_text().replace(LIMIT, SMALL_LIMIT))
        net.birdc("fra-e2", "configure")
        assert eventually(lambda: not net.sessions_down(), 30), net.sessions_down()
        for address in BOTH:
            service(net, "fra-n1", address)
        for prefix in AGGREGATES:
            end = "table 101 proto 181 metric 1"
            net.ip("fra-e1", f"{family(prefix)} route add unreachable {prefix} {end}")
        assert eventually(lambda: all(over_both_fabrics(net, address) for address in BOTH))
        yield net


def test_local_wins(net: Net) -> None:
    """A service of ours goes to our instances, and the aggregates stay ours, whatever comes."""
    before = {
        (edge, prefix): route(net, edge, prefix)
        for edge in ("fra-e1", "fra-e2")
        for prefix in (*BOTH, *AGGREGATES)
    }
    assert all(before.values())
    go_mad(net, "ams-e1")
    assert eventually(lambda: leaked(net, "fra-e1") > FLOOD)
    assert eventually(
        lambda: (
            "BGP.local_pref: 350"
            in net.birdc("fra-e1", f"show route all protocol 'edge.ams-e1' {BOTH[0]}/32")
        )
    )
    assert eventually(
        lambda: all("bb-ams-e1" in route(net, "fra-e1", each, "104") for each in AGGREGATES)
    ), "it says that it announces"
    assert {key: route(net, *key) for key in before} == before
    assert all("fab-" in before[edge, address] for edge, address in before if address in BOTH)


def test_the_import_limit_keeps_what_is_there_and_the_session(net: Net) -> None:
    assert eventually(lambda: leaked(net, "fra-e1") > FLOOD)
    assert eventually(
        lambda: "[HIT]" in net.birdc("fra-e2", "show protocols all 'edge.ams-e1'")
    )
    assert leaked(net, "fra-e2") <= 200
    assert not net.sessions_down()
    node = ALONE.machine("fra-n1")
    for pool in (ALONE.pool4(node), ALONE.pool6(node)):
        assert "fab-" in route(net, "fra-e2", str(pool))
    recover(net, "ams-e1")
    assert eventually(lambda: leaked(net, "fra-e2") < 10)
    assert eventually(lambda: route(net, "fra-e2", "10.2.1.0/24"))
