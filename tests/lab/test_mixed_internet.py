"""Our edges and other people's software, with every guard of a session: what each learns."""

import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from pltfrms.lab.client.client import LabClient, start_capsule
from tests.lab.labs import inside
from tests.lab.mixed import (
    AGGREGATES,
    ATTACKED,
    CLIENTS,
    LAB,
    PLATFORM,
    SERVICE,
    edge_text,
    routing_parts,
)

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("netns")]

EDGES = tuple(machine.name for machine in PLATFORM.machines)
BIRDC = ("birdc", "-s", "/run/pltfrms/bird.ctl")


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(condition())


@pytest.fixture(scope="module")
def lab() -> Iterator[LabClient]:
    lab = start_capsule("test-mixed", "/somewhere", routing_parts(), lambda _text: None)
    try:
        yield lab
    finally:
        lab.down()


def sessions_down(lab: LabClient) -> list[str]:
    return [
        f"{edge}: {line}"
        for edge in EDGES
        for line in inside(lab, edge, *BIRDC, "show protocols").splitlines()
        if line.startswith("peer.") and "Established" not in line
    ]


def bfd_is_up(lab: LabClient, edge: str, far_end: str) -> bool:
    words = inside(lab, edge, *BIRDC, "show bfd sessions").split()
    return far_end in words and words[words.index(far_end) + 2] == "Up"


def route(lab: LabClient, machine: str, prefix: str) -> str:
    return inside(lab, machine, "ip", "-6" if ":" in prefix else "-4", "route", "show", prefix)


def configure(lab: LabClient, *, attacked: bool) -> None:
    for edge in EDGES:
        script = f"cat > /run/pltfrms/bird.conf && {' '.join(BIRDC)} configure"
        argv = lab.exec_argv(edge, ["sh", "-c", script])
        text = edge_text(edge, attacked=attacked)
        subprocess.run(argv, input=text, text=True, check=True, capture_output=True)


def test_every_session_comes_up_with_every_guard(lab: LabClient) -> None:
    assert eventually(lambda: not sessions_down(lab), 15), sessions_down(lab)
    shown = inside(lab, "fra-e1", *BIRDC, "show protocols all 'peer.frr1.ipv4'")
    assert "Role: provider" in shown, "FRR says its role"
    for edge, far_end in (("fra-e1", "203.0.113.2"), ("fra-e2", "2001:db8:f000:4::")):
        assert eventually(lambda: bfd_is_up(lab, edge, far_end)), far_end  # noqa: B023


@pytest.mark.parametrize("machine", ["frr1", "pni1"])
def test_frr_understands_every_line(lab: LabClient, machine: str) -> None:
    logs = inside(lab, machine, "sh", "-c", "cat /var/log/pltfrms/*.log")
    assert "starting" in logs
    assert [line for line in logs.splitlines() if "config line" in line] == []


def test_we_learn_the_routes_of_everybody(lab: LabClient) -> None:
    for stub in LAB.stubs:
        for prefix in stub.prefixes:
            assert eventually(lambda: route(lab, "fra-e1", str(prefix))), (stub.name, prefix)  # noqa: B023


@pytest.mark.parametrize("client", CLIENTS)
def test_everybody_learns_our_aggregates_and_reaches_us(lab: LabClient, client: str) -> None:
    for prefix, address in zip(AGGREGATES, SERVICE, strict=True):
        assert eventually(lambda: route(lab, client, prefix)), prefix  # noqa: B023
        pings = ("ping", "-c", "1", "-W", "1", address)
        assert eventually(lambda: " 0% packet loss" in inside(lab, client, *pings)), address  # noqa: B023


def test_nobody_learns_more_of_us_than_the_aggregates(lab: LabClient) -> None:
    shown = inside(
        lab, "frr1", "vtysh", "-c", "show bgp ipv4 unicast neighbors 203.0.113.3 routes"
    )
    heard = [line.split()[1] for line in shown.splitlines() if line.lstrip().startswith("*")]
    assert sorted(heard) == ["198.18.12.0/24", "198.51.100.0/24"]
    heard_by_server = inside(
        lab, "ixp1", "bgpctl", "show", "rib", "in", "neighbor", "192.0.1.11"
    )
    assert "198.51.100.0/24" in heard_by_server
    assert "10." not in heard_by_server.partition("198.")[2]


def test_a_blackhole_is_honoured_where_it_was_asked_for(lab: LabClient) -> None:
    configure(lab, attacked=True)
    for address in ATTACKED:
        for machine in ("frr1", "reading", "delft"):
            assert eventually(lambda: route(lab, machine, address).startswith("blackhole")), (  # noqa: B023
                machine,
                address,
            )
        for machine in ("berlin", "member1", "pni1"):
            assert not route(lab, machine, address), "it stays where it was asked for"
    configure(lab, attacked=False)
    assert eventually(lambda: not any(route(lab, "frr1", one) for one in ATTACKED))


def test_graceful_shutdown_moves_the_traffic_away(lab: LabClient) -> None:
    def ways() -> str:
        return route(lab, "frr1", AGGREGATES[0])

    assert eventually(lambda: "to-fra-e1" in ways() and "to-ams-e1" in ways())
    move = "ip route replace unreachable {} table 101 proto {}"
    inside(lab, "fra-e1", *move.format(AGGREGATES[0], 182).split())
    assert eventually(lambda: "to-ams-e1" in ways() and "to-fra-e1" not in ways()), ways()
    inside(lab, "fra-e1", *move.format(AGGREGATES[0], 181).split())
    assert eventually(lambda: "to-fra-e1" in ways()), ways()
