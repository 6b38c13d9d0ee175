"""What edges tell each other of their aggregates: real BIRDs, one namespace per machine."""

import dataclasses
import os
import time
from collections.abc import Iterator
from functools import partial

import pytest

from pltfrms.model.network.lab import Lab
from tests.render.namespaces import Net, eventually, network
from tests.render.platforms import SMALL
from tests.render.test_bird_live import AGGREGATES, family, route

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.xdist_group("bird-live"),
]

ALONE = dataclasses.replace(SMALL, peers=())


def announce(net: Net, edge: str, prefix: str, end: str = "proto 181 metric 1") -> None:
    net.ip(edge, f"{family(prefix)} route replace unreachable {prefix} table 101 {end}")


def withdraw(net: Net, edge: str, prefix: str) -> None:
    net.ip(edge, f"{family(prefix)} route del {prefix} table 101")


def elsewhere(net: Net, edge: str, prefix: str) -> str:
    return route(net, edge, prefix, "104")


def nowhere(net: Net, edge: str, prefix: str) -> bool:
    return not elsewhere(net, edge, prefix)


def heard_again(net: Net, prefix: str) -> str:
    """As `elsewhere`, letting OSPF look for its ways anew, as agents do all the time."""
    for edge in ("fra-e1", "ams-e1"):
        net.birdc(edge, "reload in 'ospf.underlay'")
    time.sleep(0.5)
    return elsewhere(net, "ams-e1", prefix)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    with network(ALONE, Lab(), tmp_path_factory.mktemp("birds"), {}) as net:
        assert eventually(lambda: not net.sessions_down(), 30), net.sessions_down()
        yield net


@pytest.mark.parametrize("prefix", AGGREGATES)
def test_other_datacenters_hear_of_an_aggregate_and_of_its_end(net: Net, prefix: str) -> None:
    announce(net, "fra-e1", prefix)
    assert eventually(lambda: elsewhere(net, "ams-e1", prefix), 1)
    assert "dev bb-fra-e1" in elsewhere(net, "ams-e1", prefix)
    assert not elsewhere(net, "fra-e2", prefix), "our own datacenter is not elsewhere"
    assert not elsewhere(net, "fra-e1", prefix)
    for edge in ("ams-e1", "fra-e2"):
        assert "unreachable" in route(net, edge, prefix), "it tells, and never forwards"
    withdraw(net, "fra-e1", prefix)
    assert eventually(lambda: not elsewhere(net, "ams-e1", prefix), 1)


@pytest.mark.parametrize("end", ["proto 181 metric 2", "proto 182 metric 1"])
def test_an_announcement_that_no_outsider_hears_or_soon_none_is_not_told(
    net: Net, end: str
) -> None:
    prefix = AGGREGATES[0]
    announce(net, "fra-e1", prefix)
    assert eventually(lambda: elsewhere(net, "ams-e1", prefix), 1)
    announce(net, "fra-e1", prefix, end)
    net.ip("fra-e1", f"route flush {prefix} table 101 proto 181 metric 1")
    assert eventually(lambda: not elsewhere(net, "ams-e1", prefix), 1)
    withdraw(net, "fra-e1", prefix)


def test_two_datacenters_hear_of_each_other_while_both_announce(net: Net) -> None:
    prefix = AGGREGATES[0]
    for edge in ("fra-e1", "fra-e2", "ams-e1"):
        announce(net, edge, prefix)
    for edge in ("fra-e1", "fra-e2", "ams-e1"):
        assert eventually(partial(elsewhere, net, edge, prefix), 1)
    withdraw(net, "fra-e1", prefix)
    time.sleep(0.3)
    assert "via inet6 fe80::1:e:1" in elsewhere(net, "ams-e1", prefix), "the other edge still"
    withdraw(net, "fra-e2", prefix)
    assert eventually(lambda: not elsewhere(net, "ams-e1", prefix), 1)
    withdraw(net, "ams-e1", prefix)


def test_a_cut_backbone_ends_what_was_told(net: Net) -> None:
    for prefix in AGGREGATES:
        announce(net, "fra-e1", prefix)
        assert eventually(partial(elsewhere, net, "ams-e1", prefix), 1)
    net.ip("fra-e1", "link set bb-ams-e1 down")
    for prefix in AGGREGATES:
        assert eventually(partial(nowhere, net, "ams-e1", prefix), 3)
    net.ip("fra-e1", "addr add fe80::1:e:1/64 dev bb-ams-e1")
    net.ip("fra-e1", "link set bb-ams-e1 up")
    for prefix in AGGREGATES:
        assert eventually(partial(heard_again, net, prefix), 10)
