"""The hash by which flows find their rows."""

from collections import Counter
from ipaddress import ip_address

import pytest

from pltfrms.model.running.balancer import ROWS
from pltfrms.planner.balancing.flow_hash import flow_hash, flow_row

CLIENT4, CLIENT6 = ip_address("203.0.113.9"), ip_address("2001:db8:c::9")


@pytest.mark.parametrize(
    ("client", "ports", "protocol", "seed", "expected"),
    [
        (CLIENT4.packed, "00000000", 1, 7, 0x8AE5A1AD),
        (CLIENT4.packed, "9c400050", 6, 7, 0x3860F0D4),
        (CLIENT6.packed, "9c400050", 6, 7, 0x447C1E5A),
        (bytes(16), "ffffffff", 255, 0xFFFFFFFF, 0x751E8099),
    ],
)
def test_the_hash_never_changes(
    client: bytes, ports: str, protocol: int, seed: int, expected: int
) -> None:
    """Machines of different versions must agree, or flows break while they are updated."""
    assert flow_hash(client, bytes.fromhex(ports), protocol, seed) == expected


def test_a_row_is_the_hash_of_the_addresses_and_ports() -> None:
    ports = bytes.fromhex("9c400050")
    for client in (CLIENT4, CLIENT6):
        expected = flow_hash(client.packed, ports, 6, 7) % ROWS
        assert flow_row(client, 40_000, 80, 6, 7) == expected


def test_neighbouring_ports_spread_evenly() -> None:
    buckets = Counter(
        flow_row(CLIENT4, port, 80, 6, 7) * 16 // ROWS for port in range(32_768, 49_152)
    )
    assert len(buckets) == 16
    assert max(buckets.values()) < 1.15 * min(buckets.values())
