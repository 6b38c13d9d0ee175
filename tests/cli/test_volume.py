"""What replicas keep on disks: listed, and released only after a question."""

import json
from dataclasses import replace

import pytest

from pltfrms.model.running.state import Contact, MachineView
from pltfrms.model.running.volumes import Volume, VolumeState, VolumeStatus
from tests.cli.conftest import Run
from tests.cli.world import HEALTHY, FakeController


def volume(replica: int, node: str, state: VolumeState = VolumeState.HELD) -> Volume:
    return Volume(
        id=f"web.fra.{replica}@1",
        service="web",
        datacenter="fra",
        replica=replica,
        generation=1,
        node=node,
        state=state,
        why="fra-n3 was lost for too long" if state is VolumeState.GIVEN_UP else "",
    )


VOLUMES = (
    volume(1, "fra-n1"),
    volume(2, "fra-n3", VolumeState.GIVEN_UP),
    volume(3, "fra-n2"),
)
USED = replace(HEALTHY.allocations["web.fra.1-1"], volume="web.fra.1@1")
STATUS = replace(
    HEALTHY.statuses["fra-n1"],
    volumes=(VolumeStatus(volume="web.fra.1@1", bytes=3 * 2**29),),
)


@pytest.fixture(autouse=True)
def known(controller: FakeController) -> None:
    controller.snapshots = [
        replace(
            HEALTHY,
            volumes={each.id: each for each in VOLUMES},
            allocations={**HEALTHY.allocations, USED.id: USED},
            statuses={**HEALTHY.statuses, "fra-n1": STATUS},
        )
    ]


def test_all_are_listed_with_whose_they_are(run: Run) -> None:
    lines = run("volume", "list").out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["web.fra.1@1", "fra-n1", "in"],
        ["web.fra.2@1", "fra-n3", "given-up"],
        ["web.fra.3@1", "fra-n2", "kept"],
    ]
    assert "1.5 GiB, no quota" in lines[1]
    assert "fra-n3 was lost for too long" in lines[2]
    assert len(json.loads(run("volume", "list", "--json").out)) == 3
    assert json.loads(run("volume", "list", "api", "--json").out) == []


def test_what_nobody_uses_is_released(run: Run, controller: FakeController) -> None:
    assert run("volume", "release", "web.fra.3@1").code == 2  # nobody can be asked
    said = run("volume", "release", "web.fra.3@1", "--yes", "--why", "two are enough")
    assert said.code == 0
    assert "web.fra.3@1 is released: fra-n2 deletes it" in said.out
    assert "release web.fra.3@1: two are enough" in controller.asked
    found = json.loads(run("volume", "release", "web.fra.2@1", "--yes", "--json").out)
    assert found["state"] == "released"


def test_what_is_used_is_not(run: Run, controller: FakeController) -> None:
    said = run("volume", "release", "web.fra.1@1", "--yes")
    assert (said.code, "in use by web.fra.1-1" in said.err) == (4, True)
    said = run("volume", "release", "web.fra.1@1", "--give-up", "--yes")
    assert (said.code, "fra-n1 is not lost" in said.err) == (4, True)
    assert run("volume", "release", "web.fra.9@1", "--yes").code == 2
    assert not [each for each in controller.asked if each.startswith(("release", "give"))]


def test_what_a_dead_node_has_is_given_up(run: Run, controller: FakeController) -> None:
    (snapshot,) = controller.snapshots
    lost = MachineView(contact=Contact.LOST, since_seconds=60)
    machines = {**snapshot.machines, "fra-n1": lost}
    controller.snapshots = [replace(snapshot, machines=machines)]
    assert "in use, node lost" in run("volume", "list").out
    said = run("volume", "release", "web.fra.1@1", "--give-up", "--yes")
    assert (said.code, "stays on fra-n1 until it is released" in said.out) == (0, True)
    again = run("volume", "release", "web.fra.2@1", "--give-up", "--yes")
    assert "no change: web.fra.2@1 is given-up already" in again.out
