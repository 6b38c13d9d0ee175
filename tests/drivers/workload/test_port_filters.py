"""What answers on the addresses of a service, and whom: asked with real packets."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pltfrms.drivers import tool
from pltfrms.drivers.descriptors import readable
from pltfrms.drivers.kernel.netlink import KernelNetwork
from pltfrms.drivers.workload.instance import port_filters
from pltfrms.drivers.workload.process import LINGER_SECONDS, ProcessRuntime
from pltfrms.errors import UnavailableError
from pltfrms.model.running.machine import Instance, InstanceSpec, PortRules
from pltfrms.model.services.service import PortClients
from pltfrms.render.ports import render_ports
from tests.contracts.test_workload import DEAF, SERVICE, directories_below, spec
from tests.drivers.workload.test_process import shell
from tests.namespaces import in_machine
from tests.strategies import make_platform, make_service, make_spec

pytestmark = pytest.mark.root
PLATFORM = make_platform({"fra": 1})
V4, V6 = map(str, SERVICE)
INTERNET = ("192.0.2.9", "2001:db8:9::9")
INSIDE = ("10.9.9.9", "fd00:0:1:9::9")
API, OTHER = "fd00:0:1:1001:7:2::5", "fd00:0:1:1001:7:3::5"
"""Instances of the services with the ids 2 and 3, on some other node."""
IDS = {"web": 1, "api": 2, "other": 3}
TCP, UDP = (80, 22, 443, 5432), (53, 54)
SERVES = (
    "python3",
    "-c",
    f"""
import select, socket
def at(kind, port, address):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    s.bind((address, port))
    return s
tcp = [at(socket.SOCK_STREAM, port, "::") for port in {TCP}]
udp = [at(socket.SOCK_DGRAM, port, where) for port in {UDP} for where in ("{V4}", "{V6}")]
for s in tcp: s.listen()
kept = []
while True:
    for s in select.select(tcp + udp + kept, [], [])[0]:
        if s in tcp:
            kept.append(s.accept()[0])
        elif s in udp:
            s.sendto(*s.recvfrom(9999))
        else:
            s.send(s.recv(99)) or kept.remove(s)
""",
)


def rules(*ports: str, **clients: tuple[str, ...]) -> PortRules | None:
    """Return what a service with these ports has; of `tcp5432=...`, only these may ask."""
    said = make_spec("web")
    limited = tuple(
        PortClients(port=f"{word.removeprefix('tcp')}/tcp", clients=some)
        for word, some in clients.items()
    )
    said = replace(said, ports=(*ports, *(each.port for each in limited)), clients=limited)
    return render_ports(PLATFORM, make_service(said), IDS)


def asking(wanted: PortRules | None, process: tuple[str, ...] = SERVES) -> InstanceSpec:
    return replace(spec(process), ports=wanted)


def settle(*sources: str) -> None:
    """Give the machine the addresses that ask, and the way to the service."""
    lines = ["link set lo up"]
    for each in (*INTERNET, *INSIDE, *sources):
        nodad = " nodad" if ":" in each else ""
        lines.append(f"address replace {each} dev lo{nodad}")
    lines += [
        f"route replace {V4}/32 via inet6 fe80::2 dev i1 mtu 1500",
        f"-6 route replace {V6}/128 via fe80::2 dev i1 mtu 1500",
    ]
    for line in lines:
        subprocess.run(("ip", *line.split()), check=True)


@contextmanager
def connected(port: int, source: str) -> Iterator[socket.socket]:
    where = (V6 if ":" in source else V4, port)
    with socket.create_connection(where, timeout=5, source_address=(source, 0)) as open_:
        yield open_


def echoes(open_: socket.socket) -> bool:
    open_.send(b"still there?")
    return open_.recv(99) == b"still there?"


def answers(port: int, source: str) -> bool:
    try:
        with connected(port, source) as open_:
            return echoes(open_)
    except ConnectionRefusedError:  # at once, as by a port where nobody listens
        return False


def echoed(port: int, source: str, size: int) -> bool:
    """Return whether a datagram comes back, whole."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asker:
        asker.settimeout(5)
        asker.bind((source, 0))
        asker.connect((V6 if ":" in source else V4, port))
        try:
            asker.send(b"x" * size)
            return len(asker.recv(9999)) == size
        except ConnectionRefusedError:
            return False


def pinged(source: str) -> bool:
    """Return whether an echo comes back that needs more than one packet."""
    where = V6 if ":" in source else V4
    words = ("ping", "-c1", "-W5", "-s", "3000", "-I", source, where)
    return not subprocess.run(words, check=False, stdout=subprocess.DEVNULL).returncode


async def serving(runtime: ProcessRuntime, wanted: InstanceSpec) -> Instance:
    instance = await runtime.start(wanted)
    settle(API, OTHER)
    async with asyncio.timeout(20):
        while not answers(80, INTERNET[0]):  # noqa: ASYNC110 - outside
            await asyncio.sleep(0.02)
    return instance


def runtime_in(root: Path) -> ProcessRuntime:
    return ProcessRuntime(directories_below(root), KernelNetwork())


def test_nothing_answers_on_a_port_that_nobody_declared(tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = runtime_in(tmp_path)
        open_to_all = asking(None)
        instance = await serving(runtime, open_to_all)
        assert all(answers(22, source) for source in INTERNET)
        assert all(echoed(54, source, 9) for source in INTERNET)
        (tmp_path / "run/instances/web.fra.1-1.ports").unlink()  # as a release before
        await runtime.answer_on(instance, asking(rules("80/tcp")))
        assert all(answers(22, source) for source in INTERNET)
        await runtime.stop(instance, 0)

        wanted = asking(rules("80/tcp", "53/udp"))
        await asyncio.sleep(2 * LINGER_SECONDS)
        instance = await serving(runtime, wanted)
        for source in (*INTERNET, *INSIDE):
            assert answers(80, source)
            assert not answers(22, source)
            assert not echoed(54, source, 9)
            assert echoed(53, source, 9)
            assert echoed(53, source, 4000), "in parts"
            assert pinged(source)
        refused = await runtime.refused(instance)
        assert refused == {"not-declared": 8, "not-a-client": 0}
        await runtime.stop(instance, 0)

    in_machine(scenario)


def test_only_clients_are_answered(tmp_path: Path) -> None:
    clients = {"tcp5432": ("service:api", "10.0.0.0/8"), "tcp443": ("internet",)}

    async def scenario() -> None:
        runtime = runtime_in(tmp_path)
        instance = await serving(runtime, asking(rules("80/tcp", **clients)))
        everybody = (*INTERNET, *INSIDE, API, OTHER)
        assert all(answers(80, source) for source in everybody)
        assert [each for each in everybody if answers(5432, each)] == [INSIDE[0], API]
        assert [each for each in everybody if answers(443, each)] == [*INTERNET]
        assert await runtime.refused(instance) == {"not-declared": 0, "not-a-client": 8}
        await runtime.stop(instance, 0)

    in_machine(scenario)


def test_another_spec_takes_hold_at_once_and_breaks_no_connection(tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = runtime_in(tmp_path)
        instance = await serving(runtime, asking(rules("80/tcp", "22/tcp")))
        with connected(80, INTERNET[1]) as open_:
            assert answers(22, INTERNET[0])
            await runtime.answer_on(instance, asking(rules("80/tcp")))
            assert not answers(22, INTERNET[0])
            assert echoes(open_)
            seen = await runtime.refused(instance)
            assert seen["not-declared"]
            # The next life of the agent finds all as it is, counters too.
            after = runtime_in(tmp_path)
            (again,) = (await after.running()).values()
            await after.answer_on(again, asking(rules("80/tcp")))
            assert await after.refused(again) == seen
            await after.answer_on(again, asking(None))
            assert answers(22, INTERNET[0])
            assert await after.refused(again) == {}
            assert echoes(open_)
        await runtime.stop(instance, 0)
        await asyncio.sleep(2 * LINGER_SECONDS)
        assert not list((tmp_path / "run/instances").glob("*.ports"))

    in_machine(scenario)


def test_the_table_is_there_before_the_command(tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = runtime_in(tmp_path)
        looks = shell("nft list table inet pltfrms_ports")
        await runtime.wait(await runtime.start(asking(rules("80/tcp"), looks)))
        log = tmp_path / "log/instances/web.fra.1-1.log"
        assert "tcp dport 80 accept" in log.read_text()

    in_machine(scenario)


def test_without_nft_who_answers_everybody_runs_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tool.run_tool

    async def absent(*_words: str, **_said: object) -> str:
        raise UnavailableError("nft is not installed")

    async def scenario() -> None:
        runtime = runtime_in(tmp_path)
        monkeypatch.setattr(port_filters, "run_tool", absent)
        strict = asking(rules("80/tcp", tcp5432=("internet",)), DEAF)
        with pytest.raises(UnavailableError, match="did not start: nft is not installed"):
            await runtime.start(strict)
        assert await runtime.running() == {}
        wanted = asking(rules("80/tcp"), DEAF)
        instance = await runtime.start(wanted)
        with pytest.raises(UnavailableError, match="nft is not installed"):
            await runtime.answer_on(instance, wanted)
        monkeypatch.setattr(port_filters, "run_tool", real)
        await runtime.answer_on(instance, wanted)
        assert await runtime.refused(instance) == {"not-declared": 0, "not-a-client": 0}
        await runtime.stop(instance, 0)

    in_machine(scenario)


def test_a_refused_text_changes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = runtime_in(tmp_path)
        instance = await serving(runtime, asking(rules("80/tcp")))
        with pytest.raises(UnavailableError):
            await runtime.answer_on(instance, asking(PortRules(text="table inet x { nonsense")))
        assert answers(80, INTERNET[0])
        assert not answers(22, INTERNET[0])
        await runtime.stop(instance, 0)

    in_machine(scenario)


def test_who_has_just_ended_refuses_nothing_and_is_no_problem(tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = runtime_in(tmp_path)
        instance = await runtime.start(asking(rules("80/tcp"), DEAF))
        end = os.pidfd_open(instance.pid)
        signal.pidfd_send_signal(end, signal.SIGKILL)
        await readable(end)
        os.close(end)
        assert (tmp_path / "run/instances/web.fra.1-1.ports").exists()
        assert await runtime.refused(instance) == {}
        await runtime.stop(instance, 0)

    in_machine(scenario)


def test_a_note_of_an_instance_that_has_ended_is_no_table_of_the_next(tmp_path: Path) -> None:
    async def scenario() -> None:
        runtime = runtime_in(tmp_path)
        instance = await serving(runtime, asking(None))
        strict = asking(rules("80/tcp", tcp5432=("internet",)))
        assert strict.ports is not None
        note = tmp_path / "run/instances/web.fra.1-1.ports"
        note.write_text(f"1\n{strict.ports.text}")  # a release before left it
        assert await runtime.refused(instance) == {}
        await runtime.answer_on(instance, strict)
        assert answers(5432, INTERNET[0])
        assert not answers(5432, INSIDE[0])
        await runtime.stop(instance, 0)

    in_machine(scenario)
