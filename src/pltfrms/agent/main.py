"""`pltfrms agent run`: the real drivers, and the agent on them until SIGTERM."""

import argparse
import asyncio
import contextlib
import functools
import resource
import signal
import ssl
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import structlog

from pltfrms.agent.commands import CommandRunner
from pltfrms.agent.control.targets import TARGET_FILE, Targets
from pltfrms.agent.freeze import FROZEN_FILE
from pltfrms.agent.glass import BalancerEye, GlassNetwork, run_glass
from pltfrms.agent.identity import Conversations, conversations
from pltfrms.agent.loop import Agent
from pltfrms.agent.network.clearing import clear_kernel, end_adopted
from pltfrms.agent.scraped.exposition import exposition
from pltfrms.agent.scraped.listening import MetricsDoor, MetricsServer
from pltfrms.agent.scraped.machine_metrics import AgentUsage, machine_metrics
from pltfrms.agent.world import World
from pltfrms.drivers.aside import SMALL, Forked
from pltfrms.drivers.balancer.kernel import KernelBalancer
from pltfrms.drivers.bird.archive import MrtArchive
from pltfrms.drivers.bird.daemon import BirdDaemon
from pltfrms.drivers.clock import SystemClock
from pltfrms.drivers.disk import DirectoryDisk
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.kernel.checked.echo import IcmpPinger
from pltfrms.drivers.kernel.counters import byte_counts
from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.kernel.nftables import NftTable
from pltfrms.drivers.log import log_to_stderr
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.private import replace_file
from pltfrms.drivers.sealing import NodeKey
from pltfrms.drivers.units import follow_role
from pltfrms.drivers.wireguard.kernel import WireGuard
from pltfrms.drivers.workload.inside import said_inside
from pltfrms.drivers.workload.measuring.log_reading import LogReader
from pltfrms.drivers.workload.probes.from_here import FromHere
from pltfrms.drivers.workload.probes.probe import NamespaceProber
from pltfrms.drivers.workload.process import ProcessRuntime
from pltfrms.errors import PltfrmsError, UsageError
from pltfrms.model.network.topology import Platform
from pltfrms.model.network.tunnels import BACKBONE_FILE
from pltfrms.render.egress import EGRESS_TABLE
from pltfrms.render.filter import FILTER_TABLE
from pltfrms.render.roles import ROLES_TABLE

MACHINE_FILE = "machine"
PLATFORM_FILE = "platform.yaml"
BOOT_FILE = "boot"
_log = structlog.get_logger()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the agent of this machine until SIGTERM or SIGINT; return the exit code.

    Instances, routes and BIRD go on as they are when it ends. Without `argv` the standard
    directories are used.
    """
    directories = _directories(argv or ())
    log_to_stderr()
    try:
        targets = _targets(directories)
        make_key(directories, targets)
        asyncio.run(_run(directories, targets, told_since(directories, targets)))
    except PltfrmsError as error:
        print(f"pltfrms agent: {error}", file=sys.stderr)  # noqa: T201 - to whoever started us
        return error.exit_code
    return 0


def clear(argv: Sequence[str] | None = None) -> int:
    """Take from the kernel what agents of this machine have made; return the exit code."""
    directories = _directories(argv or ())
    log_to_stderr()
    asyncio.run(_clear(directories, _targets(directories)))
    return 0


def boot_word(runtime: Path) -> str:
    """Return a word that stays the same until the machine boots, which empties `runtime`.

    On a disk that does not keep it, every agent has another: as if the machine had booted.
    """
    path = runtime / BOOT_FILE
    with contextlib.suppress(FileNotFoundError):
        if word := path.read_text():
            return word
    word = uuid.uuid4().hex[:12]
    try:
        runtime.mkdir(parents=True, exist_ok=True)
        replace_file(path, word.encode())
    except OSError as error:
        _log.warning("boot not remembered", path=str(path), why=str(error))
    return word


async def _run(directories: Directories, targets: Targets, told: Platform | None) -> None:
    talk = conversations(
        IdentityFile(directories.state),
        targets.current.platform,
        targets.machine,
        told,
    )
    world = _world(directories, talk)
    parts = Agent(world, targets)
    eye = BalancerEye(view=parts.director.view, row=parts.director.row)
    inside = functools.partial(said_inside, directories.runtime)
    commands = CommandRunner(world.workload, inside, lambda: targets.current.platform)
    agent = asyncio.ensure_future(parts.run())
    glass = asyncio.ensure_future(_glass(directories, targets, eye, talk.glass, commands))
    scraped = asyncio.ensure_future(_metrics(targets, parts, talk.metrics))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, agent.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await agent
    finally:
        glass.cancel()
        scraped.cancel()
        await world.control_plane.close()
        await world.network.close()


async def _clear(directories: Directories, targets: Targets) -> None:
    network = KernelNetwork()
    balancer = KernelBalancer(directories.runtime / "bpf", network)
    try:
        await end_adopted(ProcessRuntime(directories, network))
        await clear_kernel(balancer, targets.current.platform, targets.machine)
    finally:
        await network.close()


async def _glass(
    directories: Directories,
    targets: Targets,
    eye: BalancerEye,
    tls: ssl.SSLContext | None,
    commands: CommandRunner,
) -> None:
    platform = targets.current.platform
    address = platform.loopback6(platform.machine(targets.machine))
    bird = directories.runtime / "bird.ctl"
    network = GlassNetwork(
        address=address,
        clients=platform.infrastructure6,
        tls=tls,
        platform=lambda: targets.current.platform,
    )
    logs = LogReader(directories.log / "instances")
    await run_glass(directories.runtime, network, bird, eye, logs, commands.run)


async def _metrics(targets: Targets, agent: Agent, tls: ssl.SSLContext | None) -> None:
    platform = targets.current.platform
    door = MetricsDoor(
        address=platform.loopback6(platform.machine(targets.machine)),
        readers=lambda: targets.current.platform.readers,
        tls=tls,
    )
    server = MetricsServer(door, lambda: exposition(machine_metrics(agent.figures(_usage()))))
    await server.run()


def _usage() -> AgentUsage:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return AgentUsage(
        cpu_seconds=time.process_time(),
        memory_bytes=int(pages) * resource.getpagesize(),
    )


def _targets(directories: Directories) -> Targets:
    name_file = directories.config / MACHINE_FILE
    try:
        machine = name_file.read_text().strip()
    except OSError as error:
        raise UsageError(f"{name_file} must have the name of this machine: {error}") from error
    platform_file = directories.config / PLATFORM_FILE
    disk = DirectoryDisk(directories.state)
    targets = Targets(machine, disk, lambda: _platform(platform_file))
    try:
        targets.current.platform.machine(machine)
    except KeyError:
        raise UsageError(f"{platform_file} has no machine {machine} ({name_file})") from None
    return targets


def make_key(directories: Directories, targets: Targets) -> None:
    """Make the key that secrets of this machine are sealed to, unless it has one.

    Also where nothing runs: who becomes a node may be given secrets at once. What was sealed
    to another one is asked for again. In a copy of us, for its library.
    """
    key = NodeKey(directories.state)
    if key.public:
        return
    try:
        asyncio.run(Forked().run(SMALL + 1, key.make))
    except (OSError, PltfrmsError) as error:
        _log.warning("no key for secrets", why=str(error))
    else:
        targets.ask_again()


def told_since(directories: Directories, targets: Targets) -> Platform | None:
    """Return what the platform file says if it is younger than the last target; else None.

    A machine that was away while all controllers were replaced finds the new ones by it. An
    older file is not asked: it may name controllers that were taken out.
    """
    written, heard = directories.config / PLATFORM_FILE, directories.state / TARGET_FILE
    if not heard.exists():
        return None  # it was told nothing: the file is all that there is
    try:
        if written.stat().st_mtime_ns <= heard.stat().st_mtime_ns:
            return None
        platform = _platform(written)
        platform.machine(targets.machine)
    except (OSError, PltfrmsError, KeyError) as error:
        _log.warning("platform file not used", path=str(written), why=str(error))
        return None
    return platform


def _platform(path: Path) -> Platform:
    """Read a platform file in a copy of us: what that imports would stay with us for good."""

    def load() -> Platform:
        from pltfrms.specfile import load_platform  # noqa: PLC0415

        return load_platform(path)

    return asyncio.run(Forked().run(SMALL + 1, load))


def _world(directories: Directories, talk: Conversations) -> World:
    network = KernelNetwork()
    return World(
        boot=boot_word(directories.runtime),
        clock=SystemClock(),
        control_plane=talk.control_plane,
        certificate=talk.certificate,
        roots=functools.partial(_roots, IdentityFile(directories.state)),
        follow_controllers=talk.follow,
        follow_role=functools.partial(follow_role, directories.state),
        network=network,
        workload=ProcessRuntime(directories, network),
        prober=NamespaceProber(directories.runtime),
        asker=FromHere(),
        bird=BirdDaemon(directories.state / "bird", directories.runtime / "bird.ctl"),
        disk=DirectoryDisk(directories.state),
        pinger=IcmpPinger(),
        archive=MrtArchive(directories.state / "mrt"),
        tunnels=WireGuard(directories.config / BACKBONE_FILE),
        packet_filter=NftTable(FILTER_TABLE),
        egress_filter=NftTable(EGRESS_TABLE),
        role_filter=NftTable(ROLES_TABLE),
        balancer=KernelBalancer(directories.runtime / "bpf", network),
        byte_counts=byte_counts,
        frozen_here=(directories.runtime / FROZEN_FILE).exists,
    )


def _roots(identity: IdentityFile) -> str:
    return identity.read().roots if identity.there else ""


def _directories(argv: Sequence[str]) -> Directories:
    parser = argparse.ArgumentParser(prog="pltfrms agent run", description=main.__doc__)
    default = Directories()
    for name in ("config", "state", "runtime", "log"):
        parser.add_argument(f"--{name}", type=Path, default=getattr(default, name))
    words = parser.parse_args(argv)
    return Directories(
        config=words.config, state=words.state, runtime=words.runtime, log=words.log
    )
