"""What others start on a machine: we ask it, and give it an address there."""

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from pltfrms.drivers.kernel.devices import here_end
from pltfrms.drivers.tool import run_tool
from pltfrms.errors import UnavailableError
from pltfrms.model.running.machine import InstanceSpec, NetworkState, Nexthop, Route, Rule
from pltfrms.model.services.container import Adopted
from pltfrms.model.services.service import Probe, ProbeKind
from pltfrms.render.detour import render_detour
from tests.contracts.test_network import FAR_END, V4, V6, ip
from tests.contracts.test_workload import (
    HTTP,
    SERVES,
    SERVICE,
    Machine,
    healthy,
    real_machine,
    spec,
)
from tests.drivers.workload.test_process import as_another_agent
from tests.namespaces import in_machine
from tests.strategies import make_spec

pytestmark = pytest.mark.root


def theirs(unit: str = "") -> InstanceSpec:
    return replace(spec(()), adopted=Adopted(unit=unit))


@contextmanager
def serving() -> Iterator["subprocess.Popen[bytes]"]:
    """Start what others start."""
    with subprocess.Popen(SERVES) as server:
        try:
            yield server
        finally:
            server.kill()


async def failure(machine: Machine, probe: Probe = HTTP) -> str:
    (instance,) = (await machine.workload.running()).values()
    return (await machine.prober.probe(instance, probe, SERVICE)).failure


async def until_it_answers(machine: Machine) -> None:
    (instance,) = (await machine.workload.running()).values()
    await healthy(machine, instance)


def test_it_is_asked_on_the_machine_and_outlives_all_that_we_do(tmp_path: Path) -> None:
    async def first_agent() -> None:
        await real_machine(tmp_path).workload.start(theirs())

    async def scenario() -> None:
        ip("link set lo up")
        assert as_another_agent(first_agent) == 0
        machine = real_machine(tmp_path)
        assert "refused" in (await failure(machine)).lower()
        with serving() as server:
            await until_it_answers(machine)
            (instance,) = (await machine.workload.running()).values()
            assert instance.pid == os.getpid()
            ran = Probe(kind=ProbeKind.EXEC, command=("test", "-d", f"/proc/{server.pid}"))
            assert await failure(machine, ran) == ""
            assert await machine.workload.start(theirs()) == instance
            await machine.workload.stop(instance, 0)
            assert server.poll() is None, "it was stopped"
            assert await machine.devices("i1", here_end("i1")) == set()
            assert await machine.workload.running() == {}

    in_machine(scenario)


def test_the_kernel_leads_to_it_by_the_routes_that_are_told(tmp_path: Path) -> None:
    """From another machine, also with routes of the service table in place."""

    async def scenario() -> None:
        machine = real_machine(tmp_path)
        await machine.workload.start(theirs())
        routes = (V4, V6, _unicast("fd00::1"))
        await machine.network.apply_state(
            NetworkState(rules=(Rule(preference=100, table=100),))
        )
        assert len(await machine.network.apply_routes([100], routes)) == len(routes)
        assert ip(f"route get {SERVICE[0]}").startswith("local ")

    in_machine(scenario)


def test_a_device_that_is_taken_away_is_an_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        machine = real_machine(tmp_path)
        instance = await machine.workload.start(theirs())
        ip(f"link del {here_end('i1')}")
        assert await machine.workload.wait(instance) == "its device i1 is gone"
        assert await machine.workload.running() == {}
        await machine.workload.start(theirs())
        assert await machine.devices("i1") == {"i1"}

    in_machine(scenario)


def behind(port: int = 80) -> InstanceSpec:
    """Return what is in a pod at these addresses, on that port."""
    found = replace(theirs(), elsewhere=(ip_address("10.9.0.2"), ip_address("fd09::2")))
    ports = render_detour(replace(make_spec(), ports=(f"{port}/tcp",)), found)
    return replace(found, ports=ports)


@contextmanager
def pod(number: int, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run something in a network namespace with addresses of its own, behind a device here."""
    pipe = subprocess.PIPE
    with subprocess.Popen(("unshare", "-n", *words), stdin=pipe, stdout=pipe) as inside:
        try:
            ours = Path("/proc/self/ns/net").readlink()
            while Path(f"/proc/{inside.pid}/ns/net").readlink() == ours:
                time.sleep(0.01)
            here = f"nsenter -t {inside.pid} -n ip"
            for line in (
                f"ip link add pod{number} type veth peer name eth0 netns {inside.pid}",
                f"ip link set pod{number} up",
                f"ip address add 10.{number}.0.1/24 dev pod{number}",
                f"ip address add fd0{number}::1/64 dev pod{number} nodad",
                f"{here} link set eth0 up",
                f"{here} address add 10.{number}.0.2/24 dev eth0",
                f"{here} address add fd0{number}::2/64 dev eth0 nodad",
                f"{here} route add default via 10.{number}.0.1",
                f"{here} route add default via fd0{number}::1",
            ):
                subprocess.run(line.split(), check=True)
            yield inside
        finally:
            inside.kill()


_CLIENT = f"""
import socket, sys
sys.stdin.readline()
held = [socket.create_connection((each, 80), timeout=3) for each in {tuple(map(str, SERVICE))}]
print("held", flush=True)
sys.stdin.readline()
"""


def says(client: "subprocess.Popen[bytes]") -> bytes:
    """Let it go on, and return its next line."""
    assert client.stdin
    assert client.stdout
    client.stdin.write(b"\n")
    client.stdin.flush()
    return client.stdout.readline()


def serves(address: str) -> bool:
    with suppress(ConnectionError), socket.create_connection((address, 80), timeout=3):
        return True
    return False


def test_a_pod_with_its_own_address_is_asked_and_reached_and_nothing_else_answers(
    tmp_path: Path,
) -> None:
    async def first_agent() -> None:
        await real_machine(tmp_path).workload.start(behind())

    async def scenario() -> None:
        ip("link set lo up")
        for sysctl in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            await run_tool("sysctl", "-qw", f"net.{sysctl}=1")
        own = socket.create_server(("0.0.0.0", 8080))
        with own, pod(9, *SERVES), pod(8, "python3", "-c", _CLIENT) as client:
            assert as_another_agent(first_agent) == 0
            machine = real_machine(tmp_path)
            await until_it_answers(machine)
            (instance,) = (await machine.workload.running()).values()
            assert await machine.prober.connections(instance, SERVICE) == 0
            assert says(client) == b"held\n"
            assert await machine.prober.connections(instance, SERVICE) == len(SERVICE)
            client.communicate(b"\n")
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((str(SERVICE[0]), 8080), timeout=3)
            await machine.workload.answer_on(instance, behind(81))
            assert "refused" in (await failure(machine)).lower()
            await machine.workload.answer_on(instance, behind())
            await until_it_answers(machine)
            ip("link del pod9")
            assert await failure(machine), "something else answered"
            await machine.workload.stop(instance, 0)
        assert await run_tool("nft", "list", "tables") == ""

    in_machine(scenario)


def test_no_gateway_gets_what_was_for_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        ip("link set lo up")
        machine = real_machine(tmp_path)
        with pod(8, *SERVES) as other:
            instance = await machine.workload.start(behind())
            inside = ("nsenter", "-t", str(other.pid), "-n", "ip")
            await run_tool(*inside, "address", "add", "10.9.0.2/32", "dev", "eth0")
            ip("route add 10.9.0.2 via 10.8.0.2")
            tcp = Probe(kind=ProbeKind.TCP, port=80, timeout_ms=500)
            # It is there, and it is not what was meant.
            while not serves("10.9.0.2"):  # noqa: ASYNC110 - outside
                await asyncio.sleep(0.05)
            assert (await machine.prober.probe(instance, tcp, SERVICE[:1])).failure
            ip("route replace 10.9.0.2 dev pod8")
            assert not (await machine.prober.probe(instance, tcp, SERVICE[:1])).failure

    in_machine(scenario)


def test_the_state_of_a_unit_counts_before_any_question(tmp_path: Path) -> None:
    async def scenario() -> None:
        tool = tmp_path / "bin" / "systemctl"
        tool.parent.mkdir()
        tool.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\ncat {tmp_path}/state\n')
        tool.chmod(0o755)
        os.environ["PATH"] = f"{tool.parent}:{os.environ['PATH']}"
        ip("link set lo up")
        machine = real_machine(tmp_path)
        await machine.workload.start(theirs("dns.service"))
        with serving():
            for state, said in (
                ("active", ""),
                ("reloading", ""),
                ("failed", "dns.service is failed"),
                ("", "dns.service is not known to systemd"),
            ):
                (tmp_path / "state").write_text(f"{state}\n")
                another = real_machine(tmp_path)
                if not said:
                    await until_it_answers(another)
                assert await failure(another) == said
        asked = (tmp_path / "asked").read_text().splitlines()
        assert set(asked) == {"show --property=ActiveState --value -- dns.service"}
        tool.write_text("#!/bin/sh\nexit 1\n")
        with pytest.raises(UnavailableError, match="systemctl"):
            await failure(real_machine(tmp_path))

    in_machine(scenario)


def _unicast(address: str) -> Route:
    hop = Nexthop("i1", FAR_END)
    return Route(prefix=ip_network(address), table=100, proto=181, metric=10, nexthops=(hop,))
