"""Count the TCP connections of an instance, from the tables that the kernel shows."""

import asyncio
import sys
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from pltfrms.drivers.workload.ports import CONNECTIONS_UNKNOWN
from pltfrms.model.addresses import Address

_TABLES: Final = ("tcp", "tcp6")
_BYTES_AT_ONCE: Final = 1 << 17
"""An instance may have 100 000 connections: others get their turn in between."""
_WORD_BYTES: Final = 4
_LOCAL, _REMOTE, _STATE, _INODE = 1, 2, 3, 9
_FIN_WAIT2: Final = "05"
_OPEN: Final = frozenset(
    {
        "01",  # ESTABLISHED
        "03",  # SYN_RECV: it came before new flows went elsewhere
        "04",  # FIN_WAIT1: the end of an answer may still be on its way
        "08",  # CLOSE_WAIT
        "09",  # LAST_ACK
        "0B",  # CLOSING
    }
)
_NO_FILE: Final = "0"
_TRACKED: Final = frozenset(
    ("SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK")  # as the kernel tracks it
)


async def count_connections(
    pid: int, addresses: Sequence[Address], proc: Path = Path("/proc")
) -> int:
    """Return how many TCP connections with others have one of these local addresses.

    Those in the network namespace of process `pid`; CONNECTIONS_UNKNOWN if it is gone.
    """
    wanted = {word for address in addresses for word in kernel_words(address)}
    count = 0
    try:
        for table in _TABLES:
            with (proc / str(pid) / "net" / table).open(encoding="ascii") as file:
                next(file)  # the names of the columns
                while lines := file.readlines(_BYTES_AT_ONCE):
                    count += count_open(lines, wanted)
                    await asyncio.sleep(0)
    except (OSError, StopIteration):
        return CONNECTIONS_UNKNOWN
    return count


async def count_led_on(addresses: Sequence[Address], proc: Path = Path("/proc")) -> int:
    """Return how many TCP connections with these addresses this machine leads elsewhere.

    By the state that the kernel keeps of them for their way back; CONNECTIONS_UNKNOWN if it
    keeps some and shows none.
    """
    words, count = {f"dst={each.exploded}" for each in addresses}, 0
    try:
        with (proc / "net" / "nf_conntrack").open(encoding="ascii") as file:
            while lines := file.readlines(_BYTES_AT_ONCE):
                count += sum(_is_led_on(line.split(), words) for line in lines)
                await asyncio.sleep(0)
    except OSError:
        keeps = (proc / "sys" / "net" / "netfilter" / "nf_conntrack_count").exists()
        return CONNECTIONS_UNKNOWN if keeps else 0
    return count


def _is_led_on(fields: list[str], words: set[str]) -> bool:
    """Whether a line is of an open connection whose answers come from another address."""
    if "tcp" not in fields[2:3] or _TRACKED.isdisjoint(fields[5:6]):
        return False
    ends = [each for each in fields if each.startswith(("src=", "dst="))]
    asker, to, answers = (each[4:] for each in ends[:3])
    return ends[1] in words and to not in {asker, answers}


def count_open(lines: Iterable[str], local: set[str]) -> int:
    """Return how many of these lines are connections of others with addresses in `local`."""
    return sum(_is_open(line.split(), local) for line in lines)


def kernel_words(address: Address) -> tuple[str, ...]:
    """Return how the kernel may write a local address: words of 4 bytes in its own order.

    IPv4 connections of an IPv6 socket are written as IPv6.
    """
    if isinstance(address, IPv6Address):
        return (_words(address.packed),)
    return (_words(address.packed), _words(_mapped(address).packed))


def _mapped(address: IPv4Address) -> IPv6Address:
    return IPv6Address((0xFFFF << 32) | int(address))


def _words(packed: bytes) -> str:
    starts = range(0, len(packed), _WORD_BYTES)
    words = (packed[start : start + _WORD_BYTES] for start in starts)
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


def _is_open(fields: list[str], local: set[str]) -> bool:
    if fields[_LOCAL].partition(":")[0] not in local:
        return False
    if fields[_REMOTE].partition(":")[0] in local:
        return False  # with itself
    state = fields[_STATE]
    # Closed by us, and all is acknowledged: alive only while the instance has it open to read.
    return state in _OPEN or (state == _FIN_WAIT2 and fields[_INODE] != _NO_FILE)
