"""What others start on a machine: we ask it, and give it an address there."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from pltfrms.drivers.kernel.devices import here_end
from pltfrms.errors import UnavailableError
from pltfrms.model.running.machine import InstanceSpec, NetworkState, Nexthop, Route, Rule
from pltfrms.model.services.container import Adopted
from pltfrms.model.services.service import Probe, ProbeKind
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
