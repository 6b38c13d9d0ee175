"""The looking glass of a machine: a real BIRD, `birdc`, and other machines over the network."""

import asyncio
import stat
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from pltfrms.agent.glass import SOCKET_NAME, GlassNetwork, run_glass
from pltfrms.drivers.glass.client import GlassClient, GlassMachine, RouteQuestion
from pltfrms.drivers.workload.measuring.log_reading import LogReader
from pltfrms.errors import UnavailableError, UsageError
from pltfrms.model.network.topology import GLASS_PORT
from tests.namespaces import in_machine

OURS = IPv6Network("2001:db8:f000::/48")
ADDRESS = IPv6Address("2001:db8:f000::1:e:1")
PLACE = GlassMachine(machine="fra-e1", address=ADDRESS, asn=64500)
CONFIG = """
router id 192.0.2.1;
protocol device {}
protocol static one { ipv6 {}; route 2001:db8:1::/48 unreachable; }
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=10)


def wait_for(*paths: Path) -> None:
    for _ in range(500):
        if all(path.exists() for path in paths):
            return
        time.sleep(0.02)
    raise AssertionError(f"not all are there: {paths}")


def have_address(address: str) -> None:
    """Wait until the kernel has come to it: before, nothing leads there or comes from there."""
    # Without `nodad` it would be tentative, too.
    assert run("ip", "addr", "add", f"{address}/128", "dev", "lo", "nodad").returncode == 0
    for _ in range(500):
        if run("ip", "-6", "route", "get", address).returncode == 0:
            return
        time.sleep(0.02)
    raise AssertionError(f"nothing leads to {address}")


async def birdc(control: Path, command: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(run, "birdc", "-s", str(control), *command.split())


@asynccontextmanager
async def machine() -> AsyncIterator[Path]:
    """Run BIRD and the looking glass; yield the runtime directory."""
    with tempfile.TemporaryDirectory() as name:
        runtime = Path(name)
        config, control = runtime / "bird.conf", runtime / "bird.ctl"
        config.write_text(CONFIG)
        run("ip", "link", "set", "lo", "up")
        network = GlassNetwork(address=ADDRESS, clients=OURS)
        (runtime / "web.fra.1-1.log").write_text("first\nlast\n")
        (runtime / "backup@7.log").write_text("done\n")
        logs = LogReader(runtime)
        glass = asyncio.ensure_future(run_glass(runtime, network, control, logs=logs))
        process = await asyncio.create_subprocess_exec(
            "bird", "-f", "-c", str(config), "-s", str(control)
        )
        await asyncio.to_thread(wait_for, control, runtime / SOCKET_NAME)
        await asyncio.to_thread(have_address, str(ADDRESS))
        try:
            yield runtime
        finally:
            glass.cancel()
            with suppress(asyncio.CancelledError):
                await glass
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@pytest.mark.root
def test_everybody_may_look_and_nobody_may_touch() -> None:
    async def scenario() -> None:
        async with machine() as runtime:
            glass = runtime / SOCKET_NAME
            assert stat.S_IMODE(glass.stat().st_mode) == 0o666
            assert stat.S_IMODE((runtime / "bird.ctl").stat().st_mode) == 0o660
            shown = await birdc(glass, "show route all")
            assert shown.returncode == 0
            assert "2001:db8:1::/48" in shown.stdout
            for command in ("configure", "disable one", "down"):
                denied = await birdc(glass, command)
                assert "Access denied" in denied.stdout
            shown = await birdc(runtime / "bird.ctl", "show protocols one")
            assert " up " in shown.stdout
            restricted = await asyncio.to_thread(
                run, "birdc", "-r", "-s", str(glass), "show", "status"
            )
            assert "up and running" in restricted.stdout

    in_machine(scenario)


@pytest.mark.root
def test_our_machines_look_over_the_network_and_others_do_not() -> None:
    async def scenario() -> None:
        async with machine():
            (route,) = await GlassClient().routes(PLACE, RouteQuestion(prefix="2001:db8:1::1"))
            assert (route.session, route.via) == ("one", ("unreachable",))
            await asyncio.to_thread(have_address, "2001:db8:bad::1")
            reader, writer = await asyncio.open_connection(
                str(ADDRESS), GLASS_PORT, local_addr=("2001:db8:bad::1", 0)
            )
            assert await reader.read() == b""
            writer.close()

    in_machine(scenario)


@pytest.mark.root
def test_logs_are_shown_over_the_network_and_not_to_everybody_here() -> None:
    async def scenario() -> None:
        async with machine() as runtime:
            (log,) = await GlassClient().logs(PLACE, "web", 1)
            assert (log.allocation, log.lines, log.machine) == (
                "web.fra.1-1",
                ("last",),
                "fra-e1",
            )
            (log,) = await GlassClient().logs(PLACE, "backup@7", 1)
            assert (log.allocation, log.lines) == ("backup@7", ("done",))
            with pytest.raises(UsageError):
                await GlassClient().logs(PLACE, "web; down", 1)
            # Not with birdc, which reads commands itself.
            reader, writer = await asyncio.open_unix_connection(runtime / SOCKET_NAME)
            await reader.readline()
            writer.write(b"show logs web lines 1\n")
            assert (await reader.readline()).startswith(b"9001 ")
            writer.close()

    in_machine(scenario)


@pytest.mark.root
def test_the_glass_outlives_bird() -> None:
    async def scenario() -> None:
        async with machine() as runtime:
            await birdc(runtime / "bird.ctl", "down")
            assert "no answer from BIRD" in await silence()
            denied = await birdc(runtime / SOCKET_NAME, "configure")
            assert "Access denied" in denied.stdout

    in_machine(scenario)


async def silence() -> str:
    """Ask until the machine does not answer any more; return its words."""
    for _ in range(100):
        try:
            await GlassClient().routes(PLACE, RouteQuestion(prefix="2001:db8:1::1"))
        except UnavailableError as error:
            return str(error)
        await asyncio.sleep(0.02)
    return ""
