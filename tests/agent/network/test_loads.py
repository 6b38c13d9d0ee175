"""What an edge's ports and links carry: averaged, rounded, told rarely, and from the kernel."""

import asyncio
import os
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pltfrms.agent.network.loads import SMALL_BPS, rounded, steady_bps
from pltfrms.drivers.kernel.counters import ByteCounts, byte_counts
from pltfrms.model.running.state import Load
from tests.agent.bench import Bench, make_target
from tests.namespaces import in_machine
from tests.simulation.virtual import run_virtual

LINK = "bb-ams-e1"
FILE = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop
    lo:     100       1    0    0    0     0          0         0      100       1    0    0
bb-ams-e1:18446744073709551615 9 0 0 0 0 0 0 12345 1 4 5 0 0 0 0
"""


def test_the_kernels_table_is_read(tmp_path: Path) -> None:
    file = tmp_path / "dev"
    file.write_text(FILE)
    assert byte_counts(file) == {
        "lo": ByteCounts(received=100, sent=100),
        LINK: ByteCounts(received=2**64 - 1, sent=12345, sent_lost=9),
    }


# ---- an agent ------------------------------------------------------------------------------


async def carry(bench: Bench, seconds: int, received_bps: int, sent_bps: int) -> None:
    """Let the link carry traffic for a while, counted every second."""
    for _ in range(seconds):
        old = bench.byte_counts.get(LINK, ByteCounts(received=0, sent=0))
        bench.byte_counts = {
            "eth7": ByteCounts(received=10**12, sent=10**12),
            LINK: ByteCounts(
                received=old.received + received_bps // 8, sent=old.sent + sent_bps // 8
            ),
        }
        await bench.passes(1)


def test_half_a_minute_is_measured_before_anything_is_said() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        async with bench.life():
            await bench.order(make_target(1, machine="fra-e1"))
            await carry(bench, 15, 80_000_000, 6_240_000_000)
            assert bench.status.loads == {}
            await carry(bench, 45, 80_000_000, 6_240_000_000)
            told = bench.status.loads
            assert told == {LINK: Load(received_bps=80_000_000, sent_bps=6_200_000_000)}
            await carry(bench, 60, 80_500_000, 7_000_000_000)
            assert bench.status.loads == told, "a change of less than a fifth"
            await carry(bench, 60, 80_500_000, 8_000_000_000)
            # While the average rises it is told as soon as it is a fifth away.
            assert 7_400_000_000 < bench.status.loads[LINK].sent_bps <= 8_000_000_000
            assert bench.status.loads[LINK].received_bps == 80_000_000

    run_virtual(story())


def test_a_device_that_is_gone_made_anew_or_unreadable_is_not_known() -> None:
    async def story() -> None:
        bench = Bench("fra-e1")
        async with bench.life():
            await bench.order(make_target(1, machine="fra-e1"))
            await carry(bench, 60, 0, 8_000_000)
            assert bench.status.loads == {LINK: Load(received_bps=0, sent_bps=8_000_000)}
            bench.byte_counts = {LINK: ByteCounts(received=0, sent=0)}
            await carry(bench, 15, 0, 8_000_000)
            assert bench.status.loads == {}, "its counters began anew"
            await carry(bench, 45, 0, 8_000_000)
            assert LINK in bench.status.loads
            bench.byte_counts = {}
            await bench.passes(15)
            assert bench.status.loads == {}

    run_virtual(story())


def test_nodes_measure_nothing() -> None:
    async def story() -> None:
        bench = Bench("fra-n1")
        bench.byte_counts = {"fab-a": ByteCounts(received=1, sent=1)}
        async with bench.life():
            await bench.order(make_target(1))
            await bench.passes(60)
            assert bench.status.loads == {}

    run_virtual(story())


# ---- rounding ------------------------------------------------------------------------------

_BPS = st.integers(0, 10**12)


@given(_BPS, _BPS)
def test_what_is_told_is_near_what_is_and_stays_while_it_is_near(was: int, bps: int) -> None:
    before = steady_bps(None, was)
    told = steady_bps(before, bps)
    assert steady_bps(told, bps) == told, "the same again changes nothing"
    if told == before:
        assert abs(bps - told) <= max(told // 5, SMALL_BPS, bps // 20)
    else:
        assert abs(bps - told) <= bps // 20
        assert len(str(told).rstrip("0")) <= 2


def test_both_directions_are_told_apart() -> None:
    first = rounded(None, Load(received_bps=1_234_000_000, sent_bps=55_555_555))
    assert first == Load(received_bps=1_200_000_000, sent_bps=56_000_000)
    again = rounded(first, Load(received_bps=2_000_000_000, sent_bps=60_000_000))
    assert again == Load(received_bps=2_000_000_000, sent_bps=56_000_000)


# ---- a kernel ------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")
def test_a_kernel_counts_what_passes_in_this_namespace_alone() -> None:
    outside = byte_counts()

    async def scenario() -> None:
        def ip(words: str) -> None:
            subprocess.run(["ip", *words.split()], check=True, timeout=10)

        assert set(byte_counts()) == {"lo"}, "not those of the machine around it"
        ip("link add bb-far type veth peer name far")
        for name in ("bb-far", "far"):
            ip(f"link set {name} up")
        ip("addr add 192.0.2.1/30 dev bb-far")
        ip("neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev bb-far")
        await asyncio.sleep(0.1)
        before = byte_counts()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(100):
                sender.sendto(bytes(1000), ("192.0.2.2", 9))
        after = byte_counts()
        sent = after["bb-far"].sent - before["bb-far"].sent
        heard = after["far"].received - before["far"].received
        # 1000 bytes and headers of UDP, IPv4 and Ethernet; the kernel may speak besides.
        assert 104_200 <= sent < 110_000
        assert 104_200 <= heard < 110_000

    in_machine(scenario)
    assert "bb-far" not in outside
