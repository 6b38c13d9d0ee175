"""Members of the store that lose their disk, come and go: no write is lost, no client notices.

The example of three servers, with two controllers beside them.
"""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.rig import Rig, running_rig
from pltfrms.drivers.controlplane.operator_client import OperatorClient
from pltfrms.model.messages.store import StoreState

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(500)]

EXAMPLE = Path(__file__).parents[2] / "examples/three-servers"
FIVE = ["ams1", "fra1", "fra-c2", "lon1", "lon-c2"]
DATA = "/var/lib/pltfrms/etcd"


def platform_text(*left: str) -> str:
    """Return the platform's file with these controllers; else it stays as it is."""
    lines = []
    for line in (EXAMPLE / "platform.yaml").read_text().splitlines():
        for name in ("fra", "lon"):
            if line.startswith(f"  {name}: {{"):
                extra = f"{name}-c2"
                more = f", controllers: [{extra}]" if extra in left else ""
                line = line.replace("machines:", "fabrics: [a], machines:")  # noqa: PLW2901
                line = line.removesuffix("}") + more + "}"  # noqa: PLW2901
        for name in ("fra1", "ams1", "lon1"):
            if name not in left and line.startswith(f"  {name[:3]}: {{"):
                line = line.replace(  # noqa: PLW2901
                    "memory: 8GiB}", "memory: 8GiB, roles: [edge, node]}"
                )
        lines.append(line)
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    directory = tmp_path_factory.mktemp("members") / "five"
    shutil.copytree(EXAMPLE, directory)
    (directory / "platform.yaml").write_text(platform_text(*FIVE))
    with running_rig(f"members-{os.getpid()}", directory) as running:
        yield running


@pytest.fixture
def healthy(rig: Rig) -> Iterator[Rig]:
    rig.restore()
    yield rig
    rig.client.heal(None)


def store(rig: Rig) -> StoreState:
    with OperatorClient(rig.client.controller_endpoints()) as operator:
        state = operator.snapshot().store
    assert state
    return state


def voters(rig: Rig) -> set[str]:
    return {member.name for member in store(rig).look.voters if not member.trouble}


def apply_controllers(rig: Rig, directory: Path, *names: str) -> float:
    """Apply a platform with these controllers; return after how long they are the members."""
    path = directory / "platform.yaml"
    path.write_text(platform_text(*names))
    rig.cli("apply", str(path), "--yes")
    return rig.wait(
        f"members are {names}",
        lambda: voters(rig) == set(names) and not store(rig).problems,
        120,
    )


def applied_hosts(rig: Rig) -> int:
    return rig.snapshot().revision


def test_a_member_that_lost_its_disk_comes_back_by_itself(healthy: Rig, tmp_path: Path) -> None:
    apply_controllers(healthy, tmp_path, "fra1", "ams1", "lon1")
    before = applied_hosts(healthy)
    began = int(time.time() * 1000)
    healthy.client.fault("daemon/fra1/etcd", "kill")
    healthy.run("fra1", "rm", "-rf", DATA)
    healthy.wait("it is missed", lambda: "fra1" not in voters(healthy), 30)
    healthy.wait(
        "status says that redundancy is lost",
        lambda: any("one more failure stops changes" in p for p in store(healthy).problems),
        30,
    )
    with healthy.asking(rate=100) as report:
        healthy.client.heal("daemon/fra1/etcd")
        healthy.wait("it is back", lambda: voters(healthy) == {"fra1", "ams1", "lon1"}, 80)
    assert report["lost"] == 0, report
    assert healthy.snapshot().revision >= before
    what = [event.what for event in healthy.events(began) if event.about == "store"]
    for word in ("member gone", "member removed", "member is being added", "member has a vote"):
        assert word in what


def test_controllers_come_and_go_by_apply_from_five_to_one_and_back(
    healthy: Rig, tmp_path: Path
) -> None:
    for names in (("fra1",), FIVE, ("fra1", "ams1", "lon1")):
        seconds = apply_controllers(healthy, tmp_path, *names)
        assert seconds < 120
        report = healthy.probe("berlin", "--duration", "3s")
        assert report["lost"] == 0
        present = healthy.snapshot().machines
        assert {view.contact.value for view in present.values()} == {"present"}
