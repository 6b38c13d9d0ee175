"""Machines, links and datacenters that come, go and are renamed, while clients ask.

The three datacenters of the example, with the controllers of fra elsewhere.
Each step is what docs/network/changes.md says; `lab rewire` is who installs and switches off.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.rig import EXAMPLE, Rig, running_rig
from pltfrms.cli.shared.confirming import progress
from pltfrms.lab.client.ready import missing_parts
from pltfrms.model.network.topology import Role
from pltfrms.model.running.state import RoutingState

pytestmark = [pytest.mark.live, pytest.mark.root, pytest.mark.timeout(600)]

EYEBALLS = ("berlin", "rotterdam", "reading")
_PLATFORM = (
    (EXAMPLE / "platform.yaml")
    .read_text()
    .replace("    controllers: [fra-c1]\n", "")
    .replace("controllers: [lon-c1]", "controllers: [lon-c1, lon-c2]")
    .replace("timers: {", "timers: {drain_wait: 3s, confirm: 10s, ")
)
_LAB = (EXAMPLE / "lab.yaml").read_text()
_PAR = """\
  par:
    id: 4
    city: Paris
    fabrics: [a, b]
    edges: [par-e1]
    nodes:
      par-n1: {cpu: 4, memory: 8GiB}
      par-n2: {cpu: 4, memory: 8GiB}

# Each"""
_PAR_LINKS = """\
  - {link: [par-e1, ams-e1], kind: direct, capacity: 10Gbit}
  - {link: [par-e1, lon-e1], kind: direct, capacity: 10Gbit}
"""
_PAR_SESSION = """\
      - {edge: par-e1, ours: [203.0.113.13/31, "2001:db8:f000:7::1/127"], \
theirs: [203.0.113.12, "2001:db8:f000:7::"], bfd: true}
  transit2:"""


class Site:
    """The operator's directory, and the lab that follows it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.platform, self.lab = _PLATFORM, _LAB
        shutil.copy(EXAMPLE / "web.yaml", directory)
        self.write()

    def write(self) -> None:
        (self.directory / "platform.yaml").write_text(self.platform)
        (self.directory / "lab.yaml").write_text(self.lab)

    def replace(self, old: str, new: str) -> None:
        """Change both files; the platform must have had it."""
        assert old in self.platform
        self.platform = self.platform.replace(old, new)
        self.lab = self.lab.replace(old, new)
        self.write()

    def apply(self, rig: Rig) -> float:
        """Apply it, and return how long it took until every edge had confirmed it."""
        began = time.monotonic()
        rig.cli("apply", str(self.directory / "platform.yaml"), "--yes", "--wait")
        return time.monotonic() - began


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("names"))


@pytest.fixture(scope="module")
def rig(site: Site) -> Iterator[Rig]:
    with running_rig(f"names-{os.getpid()}", site.directory) as running:
        yield running


@contextmanager
def asking(rig: Rig) -> Iterator[dict[str, dict[str, Any]]]:
    """Ask from every eyeball in both families until the end; the reports are complete then."""
    with ExitStack() as stack:
        # As patient as a person's browser at least: machines start meanwhile, on the same
        # processors, and who has none for a second has broken nothing.
        asked = {name: rig.asking(name, rate=67, patience_ms=3000) for name in EYEBALLS}
        reports = {name: stack.enter_context(each) for name, each in asked.items()}
        yield reports
    print({name: _brief(each) for name, each in reports.items()})  # noqa: T201 - shown when a test fails


def _brief(report: dict[str, Any]) -> str:
    return (
        f"{report['lost']} of {report['sent']}, {report['gap_max_ms']} ms, {report['errors']}"
    )


def lost(reports: dict[str, dict[str, Any]]) -> dict[str, int]:
    return {name: report["lost"] for name, report in reports.items()}


NOTHING = dict.fromkeys(EYEBALLS, 0)


def all_well(rig: Rig) -> None:
    """Wait until everybody is in contact and two replicas are ready in each datacenter."""

    def well() -> bool:
        snapshot = rig.snapshot()
        wanted = 2 * len(snapshot.platform.datacenters)
        return not missing_parts(snapshot) and len(snapshot.allocations) == wanted

    rig.wait("all well", well, 90)


def apply_before_it_comes(rig: Rig, site: Site, new: str) -> None:
    """Apply it while nobody has installed the new edge yet: that holds up no other one."""
    rig.cli("apply", str(site.directory / "platform.yaml"), "--yes")
    others = {each.name for each in rig.snapshot().platform.machines_of(Role.EDGE)} - {new}

    def confirmed() -> bool:
        rows = progress(rig.snapshot(), rig.snapshot().revision)
        return {row.edge for row in rows if row.state == RoutingState.CONFIRMED} >= others

    rig.wait("all others have it", confirmed, 120)


def test_a_node_is_renamed(rig: Rig, site: Site) -> None:
    node = rig.node_of("fra")
    was = rig.snapshot().platform.machine(node)
    name = node.replace("-n", "-w")
    with asking(rig) as reports:
        rig.cli("node", "drain", node)
        site.replace(node, name)
        site.apply(rig)
        rig.client.rewire(site.directory)
        rig.cli("node", "undrain", node)
        all_well(rig)
    assert lost(reports) == NOTHING
    now = rig.snapshot().platform.machine(name)
    platform = rig.snapshot().platform
    assert (now.id, platform.loopback6(now)) == (was.id, platform.loopback6(was))


def test_an_edge_is_renamed(rig: Rig, site: Site) -> None:
    with asking(rig) as reports:
        rig.cli("edge", "drain", "fra-e1")
        site.replace("fra-e1", "fra-r1")
        apply_before_it_comes(rig, site, "fra-r1")
        rig.client.rewire(site.directory)
        rig.cli("edge", "undrain", "fra-e1")
        all_well(rig)
    assert lost(reports) == NOTHING
    assert "to-fra-r1" in rig.aggregate_paths("transit1")
    report = rig.probe("berlin", "--duration", "3s")
    assert set(report["answered_by"]["before"]) == {"fra"}


def neighbors(rig: Rig) -> str:
    words = ("show", "ospf", "neighbors")
    return rig.run("ams-e1", "birdc", "-s", "/run/pltfrms/bird.ctl", *words)


def test_a_link_alone_is_added_and_removed(rig: Rig, site: Site) -> None:
    link = "  - {link: [ams-e1, lon-e1], kind: direct, capacity: 10Gbit}\n"
    with asking(rig) as reports:
        site.replace("backbone:\n", f"backbone:\n{link}")
        rig.client.rewire(site.directory)
        site.apply(rig)
        all_well(rig)
        rig.wait("it is used", lambda: "bb-lon-e1" in neighbors(rig), 30)
        site.replace(link, "")
        site.apply(rig)
        rig.client.rewire(site.directory)
        all_well(rig)
    assert lost(reports) == NOTHING


def test_a_new_datacenter_comes_and_serves(rig: Rig, site: Site) -> None:
    site.platform = (
        site.platform.replace("\n# Each", _PAR)
        .replace("  transit2:", _PAR_SESSION)
        .replace("backbone:\n", f"backbone:\n{_PAR_LINKS}")
    )
    site.write()
    with asking(rig) as reports:
        apply_before_it_comes(rig, site, "par-e1")
        rig.cli("datacenter", "drain", "par", "--detach")
        rig.client.rewire(site.directory)
        all_well(rig)
        rig.cli("datacenter", "undrain", "par")
        paths = partial(rig.aggregate_paths, "transit1")
        rig.wait("transit1 hears of it", lambda: "to-par-e1" in paths(), 60)
        time.sleep(5)  # clients of transit1 are nearest to it, and bring open connections
    assert lost(reports) == NOTHING
    assert reports["berlin"]["answered_by"]["before"].get("par")


def test_a_datacenter_is_renamed_with_its_machines_and_controllers(
    rig: Rig, site: Site
) -> None:
    before = rig.snapshot()
    with asking(rig) as reports:
        site.platform = site.platform.replace("  lon:\n", "  ldn:\n")
        site.lab = site.lab.replace("nearest: lon", "nearest: ldn")
        site.write()
        file = str(site.directory / "platform.yaml")
        refused = rig.cli("apply", file, "--yes", expect=4)
        assert "2 replicas would end at once and begin anew as those of ldn" in refused
        rig.cli("datacenter", "drain", "lon")
        site.apply(rig)
        rig.cli("datacenter", "undrain", "lon")
        rig.client.rewire(site.directory)
        all_well(rig)
    assert lost(reports) == NOTHING
    now = rig.snapshot()
    there = {each.datacenter for each in now.allocations.values()}
    assert "ldn" in there
    assert "lon" not in there
    assert now.interventions.drains == ()
    for machine in now.platform.machines:
        same = before.platform.machine(machine.name)
        assert now.platform.loopback6(machine) == before.platform.loopback6(same)
    report = rig.probe("reading", "--duration", "3s")
    assert set(report["answered_by"]["before"]) == {"ldn"}
