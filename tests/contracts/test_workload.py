"""What every `ports.Workload` with its prober does: real processes, and the twin in memory."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any, cast

import pytest

from pltfrms.drivers.kernel.memory import MemoryNetwork
from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.kernel.ports import Network
from pltfrms.drivers.ports import Directories
from pltfrms.drivers.workload.images.fetched import Images
from pltfrms.drivers.workload.instance.hosts import MARK
from pltfrms.drivers.workload.memory import Behaviour, MemoryProber, MemoryWorkload
from pltfrms.drivers.workload.ports import CONNECTIONS_UNKNOWN, Prober, Workload
from pltfrms.drivers.workload.probes.probe import NamespaceProber
from pltfrms.drivers.workload.process import ProcessRuntime
from pltfrms.errors import ConflictError, UnavailableError
from pltfrms.model.running.machine import (
    DeviceState,
    Instance,
    InstanceSpec,
    NetworkState,
    Outgoing,
)
from pltfrms.model.services.container import Container
from pltfrms.model.services.service import Probe, ProbeKind
from tests.namespaces import in_machine
from tests.registry import (
    busybox,
    push,
    registries_conf,
    registry,
    short_directory,
    tiny_server,
)

SERVICE = (ip_address("198.51.100.1"), ip_address("2001:db8:100::1"))
# Not `-m http.server`: that asks the DNS for its own name, and there is none in a test.
SERVES = (
    "python3",
    "-c",
    """
import http.server, socket, socketserver
class Server(socketserver.TCPServer):
    address_family = socket.AF_INET6
Server(("::", 80), http.server.SimpleHTTPRequestHandler).serve_forever()
""",
)
DEAF = ("sh", "-c", "trap '' TERM; while true; do sleep 1; done")
CRASHES = ("sh", "-c", "sleep 0.2; exit 1")
BUSY = ("sh", "-c", "while :; do :; done")
CANNOT_START = ("no-such-command",)
IN_A_BOX: dict[tuple[str, ...], tuple[str, ...]] = {SERVES: ("/serve", "hello")}
BEHAVIOURS = {
    SERVES: Behaviour(healthy_after_ms=20),
    DEAF: Behaviour(ignores_sigterm=True),
    CRASHES: Behaviour(crash_after_ms=200),
    BUSY: Behaviour(),
    CANNOT_START: Behaviour(refuses="cannot execute no-such-command"),
}
HTTP = Probe(kind=ProbeKind.HTTP, port=80, timeout_ms=3000)


def spec(process: tuple[str, ...] = SERVES, slot: int = 1) -> InstanceSpec:
    return InstanceSpec(
        allocation=f"web.fra.{slot}-1",
        process=process,
        files=(),
        environment=(),
        device=f"i{slot}",
        service_addresses=tuple(ip_interface(address) for address in SERVICE),
        unicast_addresses=(ip_interface(f"10.1.1.{slot}"), ip_interface(f"fd00::{slot}")),
        cpu=0.1,
        memory_bytes=64 * 1024 * 1024,
        stop_grace_ms=300,
    )


@dataclass(frozen=True)
class Machine:
    network: Network
    workload: Workload
    prober: Prober

    async def devices(self, *names: str) -> set[str]:
        """Return which of these devices exist."""
        found = set()
        for name in names:
            state = NetworkState(devices=(DeviceState(name=name),))
            said = await self.network.apply_state(state)
            if f"missing device {name}" not in said:
                found.add(name)
        return found

    def addresses(self, instance: Instance) -> set[str]:
        """Return the addresses of an instance towards the internet, and from before."""
        if isinstance(self.workload, MemoryWorkload):
            outgoing = self.workload.outgoing(instance.allocation) or Outgoing()
            return {str(each.ip) for each in (*outgoing.addresses, *outgoing.lasting)}
        words = ("nsenter", "-t", str(instance.pid), "-n", "ip", "-j", "address", "show")
        shown = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
        return {each["local"] for device in shown for each in device["addr_info"]}

    def names(self, instance: Instance) -> list[str]:
        """Return the lines for services in the hosts file that an instance sees."""
        if isinstance(self.workload, MemoryWorkload):
            return list(self.workload.names(instance.allocation))
        command = Path(f"/proc/{instance.pid}/task/{instance.pid}/children").read_text().split()
        text = Path(f"/proc/{command[0]}/root/etc/hosts").read_text()
        below = text.partition(f"{MARK}\n")[2].splitlines()
        return [line for line in below if not line.startswith("#")]

    def live(self, instance: Instance) -> dict[str, str]:
        """Return the files of an instance that change, as it sees them."""
        if isinstance(self.workload, MemoryWorkload):
            return dict(self.workload.live(instance.allocation))
        command = Path(f"/proc/{instance.pid}/task/{instance.pid}/children").read_text().split()
        places = Path(f"/proc/{command[0]}/cwd"), Path(f"/proc/{command[0]}/root/run/pltfrms")
        return {
            str(each.relative_to(here)): each.read_text()
            for here in places
            for each in here.glob("zones/*")
        }

    @contextlib.contextmanager
    def connections(self, instance: Instance) -> Iterator[list[socket.socket]]:
        """Connect to both addresses of the service, from the machine."""
        if isinstance(self.workload, MemoryWorkload):
            self.workload.connect(instance.allocation, 2)
            yield []
            self.workload.connect(instance.allocation, 0)
            return
        for words in (
            "link set lo up",
            "address add 192.0.2.9/32 dev lo",
            "address add 2001:db8:9::9/128 dev lo",
            f"route add {SERVICE[0]}/32 via inet6 fe80::2 dev {instance.device} src 192.0.2.9",
            f"-6 route add {SERVICE[1]}/128 via fe80::2 dev {instance.device}",
        ):
            subprocess.run(("ip", *words.split()), check=True)
        with contextlib.ExitStack() as stack:
            yield [
                stack.enter_context(socket.create_connection((str(address), 80), timeout=5))
                for address in SERVICE
            ]


class RealClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def unix_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def real_machine(root: Path) -> Machine:
    network = KernelNetwork()
    directories = directories_below(root)
    prober = NamespaceProber(directories.runtime)
    return Machine(network, ProcessRuntime(directories, network), prober)


class Boxed:
    """`ports.Workload` whose instances are containers that do the same."""

    def __init__(self, workload: Workload, image: str) -> None:
        self._workload, self._image = workload, image

    def __getattr__(self, name: str) -> Any:
        return getattr(self._workload, name)

    async def start(self, spec: InstanceSpec) -> Instance:
        return await self._workload.start(self._boxed(spec))

    async def renumber(self, instance: Instance, spec: InstanceSpec) -> None:
        await self._workload.renumber(instance, self._boxed(spec))

    def _boxed(self, spec: InstanceSpec) -> InstanceSpec:
        container = Container(
            image=self._image, command=IN_A_BOX.get(spec.process, spec.process)
        )
        return replace(spec, process=(), container=container)


@pytest.fixture(scope="session")
def image_store() -> Iterator[tuple[Path, str]]:
    """Return a root with an image in its store, and its name; there is no registry any more."""
    with short_directory() as root:
        yield root, _filled(root)


def _filled(root: Path) -> str:
    name = root / "name"

    async def fetch() -> None:
        os.environ["CONTAINERS_REGISTRIES_CONF"] = str(registries_conf(root))
        with registry(root / "registry"):
            files = busybox("sleep", "id") | {"serve": tiny_server(root), "zero": (1, 5)}
            name.write_text(push("shop/web", files))
            await Images(directories_below(root)).get(name.read_text())

    in_machine(fetch)
    return name.read_text()


def directories_below(root: Path) -> Directories:
    return Directories(
        config=root / "etc", state=root / "lib", runtime=root / "run", log=root / "log"
    )


def imagined_machine() -> Machine:
    network = MemoryNetwork()
    workload = MemoryWorkload(RealClock(), network, lambda spec: BEHAVIOURS[spec.process])
    return Machine(network, workload, MemoryProber(workload))


Play = Callable[[Callable[[Machine], Coroutine[Any, Any, None]]], None]


def boxed_machine(root: Path, image: str) -> Machine:
    machine = real_machine(root)
    return replace(machine, workload=cast("Workload", Boxed(machine.workload, image)))


@pytest.fixture(
    params=[
        "memory",
        pytest.param("process", marks=pytest.mark.root),
        pytest.param("container", marks=pytest.mark.root),
    ]
)
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    def run(scenario: Callable[[Machine], Coroutine[Any, Any, None]]) -> None:
        make: dict[str, Callable[[], Machine]] = {
            "memory": imagined_machine,
            "process": lambda: real_machine(tmp_path),
            "container": lambda: boxed_machine(*request.getfixturevalue("image_store")),
        }
        if request.param == "container":
            request.getfixturevalue("image_store")  # before the fork

        async def whole() -> None:
            await scenario(make[request.param]())

        if request.param != "memory":
            in_machine(whole)
        else:
            asyncio.run(whole())

    return run


async def healthy(machine: Machine, instance: Instance) -> None:
    async with asyncio.timeout(20):
        while (await machine.prober.probe(instance, HTTP, SERVICE)).failure:  # noqa: ASYNC110 - outside
            await asyncio.sleep(0.02)


def test_an_instance_starts_answers_and_stops(play: Play) -> None:
    async def scenario(machine: Machine) -> None:
        workload = machine.workload
        instance = await workload.start(spec())
        assert instance.allocation == "web.fra.1-1"
        assert await workload.running() == {"web.fra.1-1": instance}
        assert instance.stop_grace_ms == spec().stop_grace_ms, "whoever ends it knows"
        assert await workload.start(spec()) == instance
        assert await machine.devices("i1") == {"i1"}
        await healthy(machine, instance)
        assert await workload.stop(instance, 1000) == ""
        assert await workload.running() == {}
        assert await machine.devices("i1") == set()
        assert "gone" in (await machine.prober.probe(instance, HTTP, SERVICE)).failure
        await workload.stop(instance, 1000)
        assert isinstance(await workload.wait(instance), str)

    play(scenario)


def test_a_different_spec_needs_a_stop_first(play: Play) -> None:
    async def scenario(machine: Machine) -> None:
        instance = await machine.workload.start(spec())
        with pytest.raises(ConflictError, match="stop it first"):
            await machine.workload.start(replace(spec(), cpu=0.2))
        await machine.workload.stop(instance, 1000)
        again = await machine.workload.start(replace(spec(), cpu=0.2))
        assert again.fingerprint != instance.fingerprint
        await machine.workload.stop(instance, 1000)
        assert await machine.workload.running() == {"web.fra.1-1": again}

    play(scenario)


def test_waiting_ends_with_the_instance(play: Play) -> None:
    async def scenario(machine: Machine) -> None:
        instance = await machine.workload.start(spec(CRASHES))
        async with asyncio.timeout(20):
            assert await machine.workload.wait(instance) == "exited with status 1"
        assert await machine.workload.running() == {}
        assert await machine.devices("i1") == set()
        assert await machine.workload.wait(instance) == "exited with status 1"

    play(scenario)


def test_what_has_a_lifetime_ends_after_it(play: Play) -> None:
    async def scenario(machine: Machine) -> None:
        instance = await machine.workload.start(replace(spec(), lifetime_ms=300))
        async with asyncio.timeout(20):
            assert (await machine.workload.wait(instance)).startswith("killed by signal 15")
        assert await machine.workload.running() == {}

    play(scenario)


def test_who_does_not_listen_is_killed_after_the_grace(play: Play) -> None:
    async def scenario(machine: Machine) -> None:
        instance = await machine.workload.start(spec(DEAF))
        waiting = asyncio.create_task(machine.workload.wait(instance))
        await asyncio.sleep(0.5)
        start = time.monotonic()
        how = await machine.workload.stop(instance, 200)
        assert how == "did not end within 0.2 s of SIGTERM, and was killed"
        assert 0.2 <= time.monotonic() - start < 10
        assert await waiting == "killed together with its init process"
        assert await machine.workload.running() == {}

    play(scenario)


def test_what_cannot_start_says_why_and_leaves_nothing(play: Play) -> None:
    async def scenario(machine: Machine) -> None:
        with pytest.raises(UnavailableError, match=r"web\.fra\.1-1 did not start: cannot exec"):
            await machine.workload.start(spec(CANNOT_START))
        assert await machine.workload.running() == {}
        assert await machine.devices("i1") == set()
        await machine.workload.start(spec())
        assert await machine.devices("i1") == {"i1"}

    play(scenario)


def test_what_an_instance_computes_is_counted(play: Play) -> None:
    async def scenario(machine: Machine) -> None:
        workload = machine.workload
        idle, busy = await workload.start(spec(DEAF, 1)), await workload.start(spec(BUSY, 2))
        if isinstance(workload, MemoryWorkload):
            workload.cores = {busy.allocation: 1.0}
        async with asyncio.timeout(20):
            while (workload.cpu_seconds(busy) or 0.0) < 0.2:  # noqa: ASYNC110 - outside
                await asyncio.sleep(0.05)
        little = workload.cpu_seconds(idle)
        assert little is not None, "nothing is known to be nothing"
        assert little < (workload.cpu_seconds(busy) or 0.0)
        await workload.stop(busy, 1000)
        assert workload.cpu_seconds(busy) is None
        await workload.stop(idle, 100)

    play(scenario)


def test_what_an_instance_accepts_is_counted(play: Play) -> None:
    async def scenario(machine: Machine) -> None:
        workload = machine.workload
        idle, serving = await workload.start(spec(DEAF, 1)), await workload.start(spec(slot=2))
        await healthy(machine, serving)
        before, heard = workload.accepted(serving), workload.arrived(serving)
        assert before is not None
        assert heard is not None
        if isinstance(workload, MemoryWorkload):
            workload.rates = {serving.allocation: 100.0}
        with machine.connections(serving):
            async with asyncio.timeout(20):
                while (workload.accepted(serving) or 0) < before + 2:  # noqa: ASYNC110 - outside
                    await asyncio.sleep(0.02)
            if not isinstance(workload, MemoryWorkload):
                assert workload.accepted(serving) == before + 2, "one of each address family"
            assert (workload.arrived(serving) or 0) >= heard + 2
        assert workload.accepted(idle) == 0
        await workload.stop(serving, 1000)
        assert workload.accepted(serving) is workload.arrived(serving) is None
        await workload.stop(idle, 100)

    play(scenario)


def test_instances_do_not_disturb_each_other(play: Play) -> None:
    async def scenario(machine: Machine) -> None:
        first, second = await asyncio.gather(
            machine.workload.start(spec(slot=1)), machine.workload.start(spec(slot=2))
        )
        await healthy(machine, first)
        await healthy(machine, second)
        await machine.workload.stop(first, 1000)
        assert await machine.workload.running() == {second.allocation: second}
        assert await machine.devices("i1", "i2") == {"i2"}
        assert not (await machine.prober.probe(second, HTTP, SERVICE)).failure

    play(scenario)


def test_connections_with_the_service_are_counted_until_they_end(play: Play) -> None:
    async def scenario(machine: Machine) -> None:
        instance = await machine.workload.start(spec())
        await healthy(machine, instance)

        async def becomes(wanted: int) -> None:
            async with asyncio.timeout(20):
                while await machine.prober.connections(instance, SERVICE) != wanted:  # noqa: ASYNC110 - outside
                    await asyncio.sleep(0.02)

        await becomes(0)
        with machine.connections(instance) as sockets:
            await becomes(2)
            for each in sockets[1:]:  # the instance works on the first one, and hears nothing
                each.shutdown(socket.SHUT_WR)
            assert await machine.prober.connections(instance, SERVICE) == 2
            assert await machine.prober.connections(instance, ()) == 0
        await becomes(0)
        await machine.workload.stop(instance, 1000)
        gone = await machine.prober.connections(instance, SERVICE)
        assert gone == CONNECTIONS_UNKNOWN

    play(scenario)


def test_a_running_instance_is_given_addresses_towards_the_internet(play: Play) -> None:
    async def scenario(machine: Machine) -> None:
        inside = (ip_network("10.0.0.0/8"), ip_network("fd00::/48"))
        instance = await machine.workload.start(spec())
        for wanted in (("192.0.2.7", "2001:db8:a::7"), ("192.0.2.8",), ("192.0.2.8",), ()):
            addresses = tuple(map(ip_interface, wanted))
            outgoing = Outgoing(addresses=addresses, inside=inside) if wanted else None
            await machine.workload.renumber(instance, replace(spec(), outgoing=outgoing))
            assert {*wanted} <= machine.addresses(instance)
        assert await machine.workload.running() == {instance.allocation: instance}
        await machine.workload.stop(instance, 0)
        with pytest.raises(UnavailableError, match="does not run"):
            await machine.workload.renumber(instance, spec())

    play(scenario)


def test_a_running_instance_is_given_the_addresses_of_its_replica(play: Play) -> None:
    async def scenario(machine: Machine) -> None:
        instance = await machine.workload.start(spec())
        own = ("10.1.0.1", "fd00::1001:0:1:0:1")
        lasting, near = tuple(map(ip_interface, own)), (ip_network("10.0.0.0/8"),)
        outgoing = Outgoing(lasting=lasting, near=near)
        for _ in range(2):
            await machine.workload.renumber(instance, replace(spec(), outgoing=outgoing))
            assert {*own} <= machine.addresses(instance)
        await machine.workload.stop(instance, 0)
        again = await machine.workload.start(replace(spec(), outgoing=outgoing))
        assert {*own} <= machine.addresses(again)
        await machine.workload.stop(again, 0)

    play(scenario)


def test_files_that_change_are_there_at_the_start_and_while_it_runs(play: Play) -> None:
    async def scenario(machine: Machine) -> None:
        begin = replace(spec(DEAF), live=(("zones/a", "one"), ("zones/b", "b")))
        instance = await machine.workload.start(begin)
        assert machine.live(instance) == dict(begin.live)
        later = replace(begin, live=(("zones/a", "two"), ("zones/b", "b")))
        await machine.workload.rewrite(later)
        assert machine.live(instance) == dict(later.live)
        assert await machine.workload.start(later) == instance, "it is the same"
        await machine.workload.stop(instance, 0)

    play(scenario)


def test_names_of_services_are_known_at_the_start_and_told_to_who_runs(play: Play) -> None:
    async def scenario(machine: Machine) -> None:
        first, second = "2001:db8:100::7 db.test.internal db", "192.0.2.7 mq.test.internal mq"
        machine.workload.know([first])
        instance = await machine.workload.start(spec(DEAF))
        assert machine.names(instance) == [first]
        machine.workload.know([first, second])
        assert machine.names(instance) == [first]
        await machine.workload.tell()
        assert machine.names(instance) == [first, second]
        machine.workload.know([second])
        await machine.workload.tell()
        assert machine.names(instance) == [second]
        await machine.workload.stop(instance, 0)

    play(scenario)
