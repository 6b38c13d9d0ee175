"""The controller daemon as a process, over a real etcd, in a machine of its own."""

import asyncio
import gc
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pltfrms.api.main import collect_garbage, main
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.errors import UnavailableError
from pltfrms.model.messages.api import Change, SnapshotView
from pltfrms.model.network.topology import CONTROLLER_PORT
from pltfrms.specfile import load_platform
from tests.namespaces import in_machine
from tests.strategies import make_spec

EXAMPLE = Path(__file__).parents[2] / "examples" / "three-datacenters" / "platform.yaml"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    shutil.copy(EXAMPLE, tmp_path / "platform.yaml")
    (tmp_path / "machine").write_text("fra-c1\n")
    return tmp_path


@pytest.mark.root
def test_the_daemon_serves_and_ends_when_told(config: Path) -> None:
    async def scenario() -> None:
        _serve_and_end(config)

    in_machine(scenario)


def _serve_and_end(config: Path) -> None:
    platform = load_platform(EXAMPLE)
    address = platform.loopback6(platform.machine("fra-c1"))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    controller = subprocess.Popen(
        [sys.executable, "-m", "pltfrms.api.main", f"--config={config}", f"--runtime={config}"]
    )
    local = f"unix:{config / 'controller.sock'}"
    _start_etcd(config)
    with OperatorClient([local]) as client:
        view = _wait_for_snapshot(client)
        assert view.controller == "fra-c1"
        assert view.snapshot.platform == platform
        preview = client.apply(Change(services=(make_spec(),)))
        assert [line.about for line in preview.changes] == ["service/web"]
        assert client.health() == {local: ""}
        _wait_for_event(client, "cannot be done now")
        assert "no-node-in-contact" in {note.reason for note in client.snapshot().notes}
    # The address comes late: the daemon has bound it already, or tries again.
    subprocess.run(["ip", "-6", "address", "add", f"{address}/128", "dev", "lo"], check=True)
    with OperatorClient([f"http://[{address}]:{CONTROLLER_PORT}"]) as client:
        assert _wait_for_snapshot(client).snapshot.services.keys() == {"web"}
    assert (config / "controller.sock").stat().st_mode & 0o777 == 0o600
    controller.terminate()
    assert controller.wait(timeout=15) == 0
    assert not (config / "controller.sock").exists()


def _start_etcd(config: Path) -> None:
    client, peer = "http://[::1]:2379", "http://[::1]:2380"
    log = (config / "etcd.log").open("w")
    subprocess.Popen(
        [
            "etcd",
            f"--data-dir={config / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
        ],
        stdout=log,
        stderr=log,
    )


def _wait_for_snapshot(client: OperatorClient) -> SnapshotView:
    deadline = time.monotonic() + 30
    while True:
        try:
            return client.snapshot()
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _wait_for_event(client: OperatorClient, what: str) -> None:
    deadline = time.monotonic() + 30
    while what not in {event.what for event in client.events(0)}:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_wrong_machine_name_is_a_usage_error(
    config: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (config / "machine").write_text("fra-n1\n")
    assert main(["--config", str(config), "--runtime", str(config)]) == 2
    assert "'fra-n1' is not a controller of example" in capfd.readouterr().err


def test_the_garbage_collector_does_not_look_at_all_that_is_known_while_machines_report() -> (
    None
):
    """That takes a tenth of a second at 300 machines, whatever is asked just then."""
    before = gc.get_threshold()

    async def scenario() -> None:
        collecting = asyncio.create_task(collect_garbage())
        await asyncio.sleep(0.01)
        looked = gc.get_stats()[2]["collections"]
        known = [[number] for number in range(1_000_000)]
        assert len(known) == 1_000_000
        assert gc.get_stats()[2]["collections"] == looked
        collecting.cancel()

    try:
        asyncio.run(scenario())
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
