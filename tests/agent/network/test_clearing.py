"""What `agent clear` takes away, and what it leaves."""

from pathlib import Path

from pltfrms.agent.network.clearing import device_lines, routing_lines
from pltfrms.specfile import load_platform

EXAMPLES = Path(__file__).parents[3] / "examples"
THREE = load_platform(EXAMPLES / "three-datacenters/platform.yaml")
SERVERS = load_platform(EXAMPLES / "three-servers/platform.yaml")


def test_a_machine_keeps_the_addresses_of_its_ports_and_no_others() -> None:
    lines = list(device_lines(SERVERS, "fra1"))
    addresses = [line for line in lines if line.startswith("address")]
    assert addresses
    assert {line.split()[-1] for line in addresses} == {"lo"}
    assert not any("203.0.113.10" in line for line in lines)


def test_tunnels_go_and_rules_of_nodes() -> None:
    lines = list(device_lines(SERVERS, "fra1"))
    assert [line for line in lines if line.startswith("link")] == [
        "link del bb-ams1",
        "link del bb-lon1",
    ]
    assert "rule del pref 100 lookup 100" in list(routing_lines(SERVERS, "fra1"))
    assert not [line for line in routing_lines(THREE, "fra-e1") if "rule" in line]


def test_routes_of_the_operating_system_stay() -> None:
    flushed = [line for line in routing_lines(THREE, "fra-e1") if "flush" in line]
    assert {line.split()[-1] for line in flushed} == {"12", "181", "182", "183", "184"}
