"""Daemons with an identity, over a real etcd, in a machine of their own."""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from pltfrms.api.store.member import read_place
from pltfrms.codec import read
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.drivers.glass.client import GlassMachine
from pltfrms.drivers.glass.running import CommandClient
from pltfrms.drivers.identity.files import IdentityFile
from pltfrms.drivers.identity.tls import client_context, trusting_context
from pltfrms.drivers.kept_http import TlsEnd
from pltfrms.drivers.ports import Directories
from pltfrms.errors import ForbiddenError, PltfrmsError, UnavailableError
from pltfrms.model.identity.words import (
    StoreAuthority,
    TokenReply,
    controllers_server_name,
    machine_server_name,
    machines_server_name,
)
from pltfrms.model.messages.commands import WantedCommand
from pltfrms.model.messages.glass import RouteAnswers
from pltfrms.model.network.readers import METRICS_PORT
from pltfrms.model.network.topology import CONTROLLER_PORT, GLASS_PORT
from pltfrms.planner.identity.access import why_unsigned
from pltfrms.specfile import load_platform
from tests.api.test_main import EXAMPLE, _wait_for_snapshot
from tests.namespaces import in_machine

PLATFORM = load_platform(EXAMPLE)
ADDRESS = PLATFORM.loopback6(PLATFORM.machine("fra-c1"))
SECONDS = 30.0
AWAY = "pltfrms_agent_session_up"
"""What an agent says alone."""


def pltfrms(*words: str) -> str:
    """Run a command to its end."""
    command = [sys.executable, "-m", "pltfrms", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def places(directory: Path) -> list[str]:
    return [f"--config={directory}", f"--state={directory / 'state'}"]


@contextlib.contextmanager
def daemon(module: str, directory: Path) -> Iterator[None]:
    """Have a daemon run meanwhile; it must end well."""
    words = [*places(directory), f"--runtime={directory}"]
    script = f"import sys; from {module} import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen([sys.executable, "-c", script, *words])
    yield
    process.terminate()
    assert process.wait(timeout=15) == 0


@contextlib.contextmanager
def member(directory: Path) -> Iterator[None]:
    """Have the store made meanwhile, as its first member does that was told to."""
    place = read_place(Directories(config=directory, state=directory / "state"))
    with (directory / "etcd.log").open("wb") as log:
        process = subprocess.Popen(place.begin(), stdout=log, stderr=log)
    yield
    process.terminate()
    process.wait(timeout=15)


def until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def secure(state: Path) -> OperatorClient:
    context = client_context(
        IdentityFile(state), lambda shown: why_unsigned(shown.issuer, PLATFORM)
    )
    name = controllers_server_name(PLATFORM.name)
    return OperatorClient(
        [f"https://[{ADDRESS}]:{CONTROLLER_PORT}"],
        tls=lambda plain: context.wrap_socket(plain, server_hostname=name),
        patience_seconds=0,
    )


def metrics_of(state: Path, port: int, token: str) -> str:
    """Return the answer to who trusts the roots and shows no certificate."""
    context = trusting_context(IdentityFile(state).read().roots)
    head = f"GET /metrics HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer {token}\r\n"
    with (
        socket.create_connection((str(ADDRESS), port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=machines_server_name(PLATFORM.name)) as line,
    ):
        line.sendall(f"{head}Connection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: line.recv(1 << 16), b"")).decode()


def said_by(address: IPv6Address, port: int) -> bytes:
    """Return what is said to who connects plainly."""
    with socket.create_connection((str(address), port), timeout=5) as line:
        line.sendall(b"show status\n\n")
        with contextlib.suppress(OSError):
            return line.recv(1000)
    return b""


@pytest.mark.root
def test_a_controller_and_its_agent_begin_by_tls_and_a_machine_joins(tmp_path: Path) -> None:
    async def scenario() -> None:
        _live(tmp_path / "fra-c1", tmp_path / "fra-n1")

    in_machine(scenario)


def _live(first: Path, node: Path) -> None:
    first.mkdir()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "-6", "address", "add", f"{ADDRESS}/128", "dev", "lo"], check=True)
    (first / "passphrase").write_text("correct horse\n")
    root = ["--root-key", str(first / "root.pem")]
    root += ["--passphrase-file", str(first / "passphrase")]
    made = pltfrms("metrics", "token", "p", "--file", str(first / "token"), "--json")
    spec = first / "spec.yaml"
    readers = f"metrics: {{readers: {{p: {json.loads(made)['sha256']}}}}}\n"
    spec.write_text(EXAMPLE.read_text() + readers)
    pltfrms("bootstrap", str(spec), "--machine", "fra-c1", *root, *places(first))
    with (
        member(first),
        daemon("pltfrms.api.main", first),
        daemon("pltfrms.agent.main", first),
    ):
        local = f"unix:{first / 'controller.sock'}"
        with OperatorClient([local]) as client:
            _wait_for_snapshot(client)
            until(lambda: "fra-c1" in client.snapshot().snapshot.statuses)
            made = pltfrms("machine", "token", "fra-n1", "--json", "--controller", local)
            token = read(TokenReply, made).token
            joined = pltfrms(
                "join", token, "--controller", str(ADDRESS), "--json", *places(node)
            )
            assert json.loads(joined)["machine"] == "fra-n1"
            _who_may(first / "state", node / "state")
            _look_into(client)
            _read_metrics(first)
        with ThreadPoolExecutor(1) as pool:  # we are in a loop already
            pool.submit(asyncio.run, _command(first / "state")).result()


def _read_metrics(directory: Path) -> None:
    """See that the token reads metrics of the controller and of its agent, and another not."""
    token = (directory / "token").read_text()
    for port, name in ((CONTROLLER_PORT, "pltfrms_store_up 1"), (METRICS_PORT, AWAY)):
        assert name in metrics_of(directory / "state", port, token)
        refused = metrics_of(directory / "state", port, f"{token[:-1]}x")
        assert refused.startswith("HTTP/1.1 403 ")
        assert "pltfrms_" not in refused
    assert b"pltfrms" not in said_by(ADDRESS, METRICS_PORT)


def _who_may(controller: Path, node: Path) -> None:
    with secure(controller) as client:
        assert client.snapshot().controller == "fra-c1"
    with secure(node) as client:
        for path in ("/v1/snapshot", "/v1/identity/store"):
            with pytest.raises(ForbiddenError, match="its own target"):
                client.get(path, {}, StoreAuthority)
    plain = OperatorClient([f"http://[{ADDRESS}]:{CONTROLLER_PORT}"], patience_seconds=0)
    with pytest.raises(UnavailableError, match="no controller answers"):
        plain.snapshot()


async def _command(state: Path) -> None:
    """See that its agent hears a controller who shows himself, and what it says of commands."""
    context = client_context(IdentityFile(state), lambda _: "")
    name = machine_server_name(PLATFORM.name, "fra-c1")
    runner = CommandClient(lambda _machine: TlsEnd(context, name))
    place = GlassMachine(machine="fra-c1", address=ADDRESS, asn=PLATFORM.asn)
    command = WantedCommand(allocation="web.fra.1-1", words=("true",))
    [part] = [each async for each in runner.run(place, command)]
    assert "this platform does not allow it" in part.failure


def _look_into(client: OperatorClient) -> None:
    """See that the controller looks into its machine, and nobody who comes plainly."""
    question = {"prefix": "2001:db8::1", "machine": "fra-c1"}

    def answered() -> bool:
        with contextlib.suppress(PltfrmsError):
            found = client.get("/v1/routes", question, RouteAnswers)
            return "BIRD on fra-c1 says" in found.silent.get("fra-c1", "")
        return False

    until(answered)
    assert b"ready" not in said_by(ADDRESS, GLASS_PORT)
