"""What of the kernel's tables of sockets is a connection of a service."""

import asyncio
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from pltfrms.drivers.workload.measuring.connections import (
    count_connections,
    count_led_on,
    kernel_words,
)
from pltfrms.drivers.workload.ports import CONNECTIONS_UNKNOWN

V4, V6 = ip_address("198.51.100.1"), ip_address("2001:db8:100::1")
NAMES = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  inode\n"
)
pytestmark = pytest.mark.skipif(
    sys.byteorder == "big", reason="the lines below are of a machine with the other byte order"
)


def line(local: str, state: str, inode: str = "4711", remote: str = "0A01A8C0:9C41") -> str:
    zeros = "00000000:00000000 00:00000000 00000000     0        0"
    return f"   0: {local}:0050 {remote} {state} {zeros} {inode} 1 0 20 4 30 10 -1\n"


OURS4, OTHER4 = "016433C6", "0101010A"
OURS6 = "B80D0120000000010000000001000000"
MAPPED = "0000000000000000FFFF0000016433C6"


def count(directory: Path, tcp: str, tcp6: str = "") -> int:
    tables = directory / "7" / "net"
    tables.mkdir(parents=True, exist_ok=True)
    (tables / "tcp").write_text(NAMES + tcp)
    (tables / "tcp6").write_text(NAMES + tcp6)
    return asyncio.run(count_connections(7, (V4, V6), directory))


def test_addresses_are_written_as_the_kernel_does() -> None:
    assert kernel_words(V4) == (OURS4, MAPPED)
    assert kernel_words(V6) == ("B80D0120000000010000000001000000",)


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        ("01", True),
        ("02", False),
        ("03", True),
        ("04", True),
        ("05", True),
        ("06", False),
        ("07", False),
        ("08", True),
        ("09", True),
        ("0A", False),
        ("0B", True),
    ],
)
def test_what_may_still_carry_something_counts(
    state: str, tmp_path: Path, *, counts: bool
) -> None:
    assert count(tmp_path, line(OURS4, state)) == counts


def test_whose_it_is(tmp_path: Path) -> None:
    assert count(tmp_path, line(OTHER4, "01")) == 0
    assert count(tmp_path, "", line(OURS6, "01") + line(MAPPED, "08")) == 2
    itself = line(OURS4, "01", remote=f"{OURS4}:9C41")
    assert count(tmp_path, itself + line(OURS4, "01")) == 1
    assert count(tmp_path, line(OURS4, "05", inode="0")) == 0
    assert count(tmp_path, line(OURS4, "04", inode="0")) == 1


def test_many_connections(tmp_path: Path) -> None:
    assert count(tmp_path, line(OURS4, "01") * 5000) == 5000


def test_without_the_process_it_is_not_known(tmp_path: Path) -> None:
    assert asyncio.run(count_connections(8, (V4,), tmp_path)) == CONNECTIONS_UNKNOWN


def tracked(state: str, to: str, answers: str, protocol: str = "tcp      6") -> str:
    ends = (
        f"src=192.0.2.9 dst={to} sport=4 dport=80 src={answers} dst=192.0.2.9 sport=80 dport=4"
    )
    return f"ipv4     2 {protocol} 431999 {state} {ends} [ASSURED] mark=0 zone=0 use=2\n"


def led_on(directory: Path, text: str) -> int:
    (directory / "net").mkdir(exist_ok=True)
    (directory / "net" / "nf_conntrack").write_text(text)
    return asyncio.run(count_led_on((V4, V6), directory))


def test_what_is_led_on_to_others_counts_while_it_is_open(tmp_path: Path) -> None:
    there, ours6 = "10.9.0.2", V6.exploded
    assert led_on(tmp_path, tracked("ESTABLISHED", str(V4), there) * 3000) == 3000
    assert led_on(tmp_path, tracked("CLOSE_WAIT", ours6, "fd09:0000::0002")) == 1
    for other in (
        tracked("TIME_WAIT", str(V4), there),
        tracked("SYN_SENT", str(V4), there),
        tracked("ESTABLISHED", "198.51.100.2", there),
        tracked("ESTABLISHED", str(V4), str(V4)),
        tracked("ESTABLISHED", str(V4), there).replace("192.0.2.9", str(V4)),
        tracked("", str(V4), there, protocol="udp      17"),
    ):
        assert led_on(tmp_path, other) == 0, other


def test_a_kernel_that_keeps_them_and_shows_none_says_nothing(tmp_path: Path) -> None:
    assert asyncio.run(count_led_on((V4,), tmp_path)) == 0
    keeps = tmp_path / "sys" / "net" / "netfilter" / "nf_conntrack_count"
    keeps.parent.mkdir(parents=True)
    keeps.write_text("3")
    assert asyncio.run(count_led_on((V4,), tmp_path)) == CONNECTIONS_UNKNOWN
