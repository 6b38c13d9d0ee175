"""What RPKI says, from the ROA tables of a real BIRD through its looking glass."""

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv6Address, ip_network
from pathlib import Path

import pytest

from pltfrms.drivers.glass.client import GlassMachine
from pltfrms.drivers.glass.origins import AT_ONCE, OriginClient
from pltfrms.drivers.glass.server import LookingGlass
from pltfrms.errors import UnavailableError
from pltfrms.model.network.peering import OriginQuestion, Validity

PLACE = GlassMachine(machine="fra-e1", address=IPv6Address("::1"), asn=64500)
TABLES = """
router id 192.0.2.1;
roa4 table rpki4;
roa6 table rpki6;
protocol device {}
"""
STATIC = """
protocol static { roa4 { table rpki4; };
  route 198.51.100.0/24 max 24 as 64500;
  route 198.18.0.0/16 max 20 as 64500;
}
protocol static { roa6 { table rpki6; }; route 2001:db8::/32 max 48 as 64500; }
"""


def ask(prefix: str, asn: int = 64500) -> OriginQuestion:
    return OriginQuestion(ip_network(prefix), asn)


@contextlib.contextmanager
def bird(directory: Path, text: str) -> Iterator[Path]:
    """Run a BIRD that touches nothing of this machine."""
    control, config = directory / "bird.ctl", directory / "bird.conf"
    config.write_text(text)
    words = ("bird", "-f", "-c", str(config), "-s", str(control))
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        assert eventually(lambda: "Daemon is up" in birdc(control, "show status"))
        yield control
    finally:
        process.kill()
        process.wait()


def birdc(control: Path, words: str) -> str:
    command = ["birdc", "-s", str(control), *words.split()]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def eventually(condition: object, seconds: float = 15) -> bool:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@contextlib.asynccontextmanager
async def client(control: Path) -> AsyncIterator[OriginClient]:
    """Open a looking glass, and yield who asks it."""
    glass = LookingGlass(control)
    limit = glass.limits.command_bytes
    async with await asyncio.start_server(glass.serve, "::1", 0, limit=limit) as server:
        yield OriginClient(server.sockets[0].getsockname()[1], 30)


def test_a_bird_answers_as_rfc_6811_does(tmp_path: Path) -> None:
    wanted = {
        ask("198.51.100.0/24"): Validity.VALID,
        ask("198.51.100.0/24", 64999): Validity.INVALID,
        ask("198.51.100.0/25"): Validity.INVALID,
        ask("198.18.4.0/24"): Validity.INVALID,
        ask("198.18.0.0/20"): Validity.VALID,
        ask("192.0.2.0/24"): Validity.NOT_FOUND,
        ask("2001:db8:100::/48"): Validity.VALID,
        ask("2001:db9::/48"): Validity.NOT_FOUND,
    }
    many = {ask(f"10.{n}.0.0/16"): Validity.NOT_FOUND for n in range(AT_ONCE)}

    async def story(control: Path) -> None:
        async with client(control) as origins:
            assert await origins.validities(PLACE, tuple(wanted)) == wanted
            both = {**many, **wanted}
            assert await origins.validities(PLACE, tuple(both)) == both

    with bird(tmp_path, TABLES + STATIC) as control:
        asyncio.run(story(control))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TABLES, "fra-e1 has no ROAs: no RPKI cache has told it anything"),
        ("router id 192.0.2.1;\nprotocol device {}\n", "fra-e1 has no ROAs: "),
    ],
)
def test_no_roas_at_all_is_not_the_same_as_none_that_covers(
    tmp_path: Path, text: str, says: str
) -> None:
    async def story(control: Path) -> None:
        async with client(control) as origins:
            with pytest.raises(UnavailableError, match=says):
                await origins.validities(PLACE, (ask("198.51.100.0/24"),))

    with bird(tmp_path, text) as control:
        asyncio.run(story(control))


def test_nobody_there_is_no_answer() -> None:
    with pytest.raises(UnavailableError, match="no answer"):
        asyncio.run(OriginClient(1, 5).validities(PLACE, (ask("198.51.100.0/24"),)))


# ---- with a real cache ---------------------------------------------------------------------


def free_port() -> int:
    with socket.socket(socket.AF_INET6) as one:
        one.bind(("::1", 0))
        port: int = one.getsockname()[1]
    return port


@pytest.mark.skipif(shutil.which("stayrtr") is None, reason="needs stayrtr")
def test_what_a_cache_tells_is_what_is_answered(tmp_path: Path) -> None:
    roas = tmp_path / "roas.json"
    said = {"prefix": "198.51.100.0/24", "maxLength": 24, "asn": 64500}
    roas.write_text(json.dumps({"metadata": {}, "roas": [said]}))
    port = free_port()
    words = f"stayrtr -bind [::1]:{port} -cache {roas} -checktime=false -metrics.addr"
    cache = subprocess.Popen([*words.split(), ""], stderr=subprocess.DEVNULL)
    protocol = f"protocol rpki {{ roa4 {{ table rpki4; }}; remote ::1 port {port}; retry 1; }}"

    async def story(control: Path) -> None:
        async with client(control) as origins:
            wanted = {
                ask("198.51.100.0/24"): Validity.VALID,
                ask("198.51.100.0/24", 64999): Validity.INVALID,
                ask("192.0.2.0/24"): Validity.NOT_FOUND,
            }
            assert await origins.validities(PLACE, tuple(wanted)) == wanted

    try:
        with bird(tmp_path, f"{TABLES}{protocol}\n") as control:
            assert eventually(
                lambda: "1 of 1" in birdc(control, "show route table rpki4 count")
            )
            asyncio.run(story(control))
    finally:
        cache.kill()
        cache.wait()
